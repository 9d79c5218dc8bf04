if obj.spec.serverConfig == nil then
  return { status = "Healthy", message = "Ready for Tasks" }
end
local health = { status = "Progressing", message = "Its server is being made" }
if obj.status == nil or obj.status.conditions == nil then
  return health
end
for _, condition in ipairs(obj.status.conditions) do
  local stale = condition.observedGeneration ~= nil and condition.observedGeneration < obj.metadata.generation
  local words = condition.reason
  if condition.message ~= nil and condition.message ~= "" then
    words = words .. ": " .. condition.message
  end
  if condition.type == "ServerHealthy" and condition.status == "False" and not stale then
    return { status = "Degraded", message = words }
  end
  if condition.type == "ServerReady" and not stale then
    if condition.reason == "NameConflict" then
      return { status = "Degraded", message = words }
    end
    if condition.status == "True" then
      health.status = "Healthy"
    end
    health.message = words
  end
end
return health
