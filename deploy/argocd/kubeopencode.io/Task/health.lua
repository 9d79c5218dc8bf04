local health = { status = "Progressing", message = "The operator has not reconciled it yet" }
local status = obj.status
if status == nil or status.phase == nil then
  return health
end
-- what the status says is about an older spec
if status.observedGeneration ~= nil and status.observedGeneration < obj.metadata.generation then
  return health
end
health.message = status.phase
if status.reason ~= nil and status.reason ~= "" then
  health.message = health.message .. " (" .. status.reason .. ")"
end
if status.message ~= nil and status.message ~= "" then
  health.message = health.message .. ": " .. status.message
end
if status.phase == "Completed" then
  health.status = "Healthy"
elseif status.phase == "Failed" then
  health.status = "Degraded"
end
return health
