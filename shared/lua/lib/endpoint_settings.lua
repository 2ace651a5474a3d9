-- What a tenant, or an operator, sets of an endpoint: its subscription, and whether it is enabled.
local endpoint_health, endpoints, episodes, keys, outbox, subscriptions = ... -- requires

local M = {}

-- Return whether a tenant may subscribe an endpoint to these events: it has at most `most` standing endpoints.
local function fits(tenant, endpoint, events, most) return events == '' or subscriptions.may_add(tenant, endpoint, most) end

-- Return whether an endpoint is a standing one, or becomes one.
local function is_standing(endpoint, set)
  return set.events ~= '' or redis.call('HEXISTS', keys.endpoint(endpoint), 'events') == 1
end

-- What only a standing endpoint sends: a delivery that a job requested has that of the job's webhook.
local STANDING_ONLY = { headers = true, payload = true }

-- Return whether a field is given that the endpoint would never send.
local function is_unused(endpoint, set)
  if is_standing(endpoint, set) then return false end
  for i = 1, #set.fields, 2 do
    if STANDING_ONLY[set.fields[i]] and set.fields[i + 1] ~= '' then return true end
  end
  return false
end

-- Set what is given of an endpoint: `events` ('': unchanged), `enabled` ('1', '0', or '': unchanged), and `fields` of its
-- record as name, value, name, value ('' removes one). `query` is only kept of a standing endpoint.
local function apply(tenant, endpoint, set, now)
  endpoints.reuse(endpoint)
  local standing = is_standing(endpoint, set)
  for i = 1, #set.fields, 2 do
    if set.fields[i + 1] == '' or (set.fields[i] == 'query' and not standing) then
      redis.call('HDEL', keys.endpoint(endpoint), set.fields[i])
    else
      redis.call('HSET', keys.endpoint(endpoint), set.fields[i], set.fields[i + 1])
    end
  end
  if set.events ~= '' then
    subscriptions.set(tenant, endpoint, set.events)
    if tenant == C.operators then episodes.announce_open(now) end
  end
  local known = endpoints.health(endpoint)
  if set.enabled == '1' and known.off then
    endpoint_health.enable(endpoint, now)
  elseif set.enabled == '0' and not known.off then
    endpoints.disable(endpoint, known, 'requested', now)
  end
end

-- Record an endpoint before it has deliveries, or find it, and set what is given of it: see `apply`. `set` has also `url`,
-- `host`, `max_endpoints` and `max_standing`. Return its id, 'full', 'full_standing' or 'not_standing' (see `is_unused`).
function M.ensure(tenant, set, now)
  local id = endpoints.id_of(tenant, set.url)
  local known = redis.call('HEXISTS', keys.endpoint(id), 'tenant') == 1
  if not known and redis.call('ZCARD', keys.endpoints(tenant)) >= tonumber(set.max_endpoints) then return 'full' end
  if not fits(tenant, id, set.events, set.max_standing) then return 'full_standing' end
  if is_unused(id, set) then return 'not_standing' end
  if not known then
    endpoints.ensure(tenant, set.url, set.host, now)
    -- an endpoint that is neither used, nor subscribed, nor given a secret is deleted again
    redis.call('ZADD', keys.endpoint_expiries, now + C.endpoint_ms, id)
  end
  apply(tenant, id, set, now)
  return id
end

-- Set what is given of an endpoint: see `apply`. Return 'ok', 'missing', 'full_standing' or 'not_standing' (see `is_unused`).
function M.update(tenant, endpoint, set, now)
  if redis.call('HGET', keys.endpoint(endpoint), 'tenant') ~= tenant then return 'missing' end
  if not fits(tenant, endpoint, set.events, set.max_standing) then return 'full_standing' end
  if is_unused(endpoint, set) then return 'not_standing' end
  apply(tenant, endpoint, set, now)
  return 'ok'
end

-- Delete an endpoint: its subscription at once, then its unsettled deliveries, `most` in one call, and at last its secret
-- and state. Return 'ok', 'more' or 'missing'.
function M.delete(tenant, endpoint, most, now)
  if redis.call('HGET', keys.endpoint(endpoint), 'tenant') ~= tenant then return 'missing' end
  subscriptions.remove(tenant, endpoint)
  if tenant == C.operators then episodes.drop_unwatched() end
  local ids = redis.call('ZRANGE', keys.standing_deliveries(endpoint), 0, most - 1)
  for _, id in ipairs(ids) do
    outbox.drop(outbox.load(id), now)
  end
  if #ids == most then return 'more' end
  endpoints.retire(endpoint)
  return 'ok'
end

return M
