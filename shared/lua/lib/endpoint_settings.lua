-- What a tenant sets of an endpoint: its subscription, and whether it is enabled.
local endpoint_health, endpoints, keys, subscriptions = ... -- requires

local M = {}

-- Return whether a tenant may subscribe an endpoint to these events: it has at most `most` standing endpoints.
function M.fits(tenant, endpoint, events, most) return events == '' or subscriptions.may_add(tenant, endpoint, most) end

-- Set what is given of an endpoint: `events` ('': unchanged), `enabled` ('1', '0', or '': unchanged), and `fields` of its
-- record as name, value, name, value ('' removes one).
function M.apply(tenant, endpoint, set, now)
  endpoints.reuse(endpoint)
  for i = 1, #set.fields, 2 do
    if set.fields[i + 1] == '' then
      redis.call('HDEL', keys.endpoint(endpoint), set.fields[i])
    else
      redis.call('HSET', keys.endpoint(endpoint), set.fields[i], set.fields[i + 1])
    end
  end
  if set.events ~= '' then subscriptions.set(tenant, endpoint, set.events) end
  local known = endpoints.health(endpoint)
  if set.enabled == '1' and known.off then
    endpoint_health.enable(endpoint, now)
  elseif set.enabled == '0' and not known.off then
    endpoints.disable(endpoint, known, 'requested', now)
  end
end

return M
