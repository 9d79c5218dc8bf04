local health = { status = "Progressing", message = "The operator has not reconciled it yet" }
if obj.status == nil or obj.status.conditions == nil then
  return health
end
for _, condition in ipairs(obj.status.conditions) do
  local stale = condition.observedGeneration ~= nil and condition.observedGeneration < obj.metadata.generation
  if not stale then
    local words = condition.type .. " is " .. condition.status .. " (" .. condition.reason .. ")"
    if condition.message ~= nil and condition.message ~= "" then
      words = words .. ": " .. condition.message
    end
    -- also when Ready is True: then the last good version serves, and the new one does not
    if condition.status == "False" then
      return { status = "Degraded", message = words }
    end
    if condition.type == "Ready" then
      if condition.status == "True" then
        health.status = "Healthy"
      end
      health.message = words
    end
  end
end
return health
