-- Subscriptions of standing endpoints, which get the events of all jobs and batches of their tenant that name no webhook
-- of their own. The tenant's record lists them, so that one read shows that there are none.
local keys, util = ... -- requires

local M = {}

local function read(tenant) return redis.call('HGET', keys.tenant(tenant), 'subscriptions') or '' end

-- Return whether a tenant has a standing endpoint.
function M.any(tenant) return redis.call('HEXISTS', keys.tenant(tenant), 'subscriptions') == 1 end

-- Return the endpoints of a tenant that get events of a type.
function M.to(tenant, kind)
  local found = {}
  for endpoint, events in string.gmatch(read(tenant), '(%S+) ([^\n]+)') do
    if util.has_word(kind, events) then found[#found + 1] = endpoint end
  end
  return found
end

-- Return the lines of all other endpoints of a tenant.
local function others(tenant, endpoint)
  local lines = {}
  for line in string.gmatch(read(tenant), '[^\n]+') do
    if not util.has_word(endpoint, line) then lines[#lines + 1] = line end
  end
  return lines
end

-- Return whether a tenant may have this standing endpoint besides its others.
function M.may_add(tenant, endpoint, most) return #others(tenant, endpoint) < tonumber(most) end

-- Subscribe an endpoint to events, separated by spaces.
function M.set(tenant, endpoint, events)
  local lines = others(tenant, endpoint)
  lines[#lines + 1] = endpoint .. ' ' .. events
  redis.call('HSET', keys.tenant(tenant), 'subscriptions', table.concat(lines, '\n'))
  redis.call('HSET', keys.endpoint(endpoint), 'events', events)
  redis.call('ZREM', keys.endpoint_expiries, endpoint)
end

-- End the subscription of an endpoint, with what was set for it.
function M.remove(tenant, endpoint)
  local lines = others(tenant, endpoint)
  if #lines > 0 then
    redis.call('HSET', keys.tenant(tenant), 'subscriptions', table.concat(lines, '\n'))
  else
    redis.call('HDEL', keys.tenant(tenant), 'subscriptions')
  end
  redis.call('HDEL', keys.endpoint(endpoint), 'events', 'query', 'description', 'headers', 'payload', 'format')
end

return M
