-- Endpoints: a tenant's URL without its query. Tenants share a host's slots (see `hosts`), but an endpoint belongs to
-- one tenant, so what a tenant does to its URL affects no other tenant at the same host.
local events, index, keys, util = ... -- requires

local M = {}

-- Return a URL without its query, and the query, which only correlates requests.
local function split(url)
  local bare = string.match(url, '^[^?#]*')
  return bare, string.sub(url, #bare + 1)
end

-- Keep an endpoint that was to be deleted with its last unsettled delivery, because it is used again.
function M.reuse(endpoint) redis.call('HDEL', keys.endpoint(endpoint), 'retired') end

function M.id_of(tenant, url) return 'ep_' .. string.sub(redis.sha1hex(tenant .. ' ' .. split(url)), 1, 24) end

-- Record an endpoint if it is new; return its id and the query of the URL.
function M.ensure(tenant, url, host, now)
  local bare, query = split(url)
  local id = M.id_of(tenant, url)
  local key = keys.endpoint(id)
  if redis.call('HSETNX', key, 'tenant', tenant) == 1 then
    redis.call('HSET', key, 'url', bare, 'host', host, 'created', util.int(now))
    redis.call('ZADD', keys.endpoints(tenant), now, id)
  else
    M.reuse(id)
  end
  redis.call('ZREM', keys.endpoint_expiries, id)
  return id, query
end
local HEALTH = { 'fails', 'since', 'next', 'probe', 'off', 'uncounted', 'pending', 'tenant', 'url', 'events' }

-- Return an endpoint's state. It is failing while `next` (the time of the next probe) is set, disabled while `off`
-- is.
function M.health(endpoint)
  local values = redis.call('HMGET', keys.endpoint(endpoint), unpack(HEALTH))
  local found = {}
  for i, name in ipairs(HEALTH) do
    found[name] = values[i] or nil
  end
  found.next = tonumber(found.next)
  return found
end

function M.await_probe(endpoint, known, now)
  if known.next and not known.off and not known.probe then
    -- no wait is longer: if Redis' clock was set back, `next` may be far ahead
    local at = math.min(math.max(known.next, now), now + C.endpoint_probe_ms)
    redis.call('ZADD', keys.endpoint_probes, 'NX', util.int(at), endpoint)
  end
end

-- Append an endpoint's change of state to its tenant's feed, and wake the clients that wait for it.
function M.announce(endpoint, known, kind, now, why)
  events.append(known.tenant, now, 'type', kind, 'endpoint', endpoint, 'url', known.url, 'why', why or '')
  events.notify(endpoint, '', known.tenant)
end

-- End the probing of a failing endpoint, for whatever reason.
function M.stop_failing(endpoint, known)
  redis.call('HDEL', keys.endpoint(endpoint), 'fails', 'since', 'next', 'probe')
  if known.next then
    redis.call('ZREM', keys.endpoint_probes, endpoint)
    index.count('endpoints_failing', -1)
  end
end

-- Take an endpoint that is disabled out of the count of these.
function M.uncount_disabled(known)
  if not known.uncounted then index.count('endpoints_disabled', -1) end
end

function M.disable(endpoint, known, why, now)
  M.stop_failing(endpoint, known)
  redis.call('HSET', keys.endpoint(endpoint), 'off', util.int(now), 'why', why)
  if why == 'requested' then
    -- no operator need act on it; marked, because earlier versions counted such endpoints too
    redis.call('HSET', keys.endpoint(endpoint), 'uncounted', 1)
  else
    index.count('endpoints_disabled', 1)
  end
  M.announce(endpoint, known, 'webhook.disabled', now, why)
  return why
end

-- Record on the endpoint why its last attempt failed; `attempt` is that attempt as JSON.
function M.record_error(endpoint, attempt)
  local made = cjson.decode(attempt)
  local kept = { status = made.status, code = made.code, error = made.error }
  redis.call('HSET', keys.endpoint(endpoint), 'last_error', cjson.encode(kept))
end

function M.delete(endpoint, known)
  known = known or M.health(endpoint)
  M.stop_failing(endpoint, known)
  if known.off then M.uncount_disabled(known) end
  redis.call('ZREM', keys.endpoint_backlogs, endpoint)
  redis.call('ZREM', keys.endpoint_expiries, endpoint)
  if known.tenant then redis.call('ZREM', keys.endpoints(known.tenant), endpoint) end
  redis.call('DEL', keys.endpoint(endpoint))
end

-- Remove an endpoint from its tenant. The record of one with deliveries keeps only their number and their URL, until
-- the last of them is deleted or the URL is used again. One with unsettled deliveries, of webhooks of jobs, stays without
-- its secret until these are settled.
function M.retire(endpoint)
  local key = keys.endpoint(endpoint)
  local kept = redis.call('HMGET', key, 'pending', 'kept', 'url')
  if (tonumber(kept[1]) or 0) > 0 then
    redis.call('HDEL', key, 'webhook_secret', 'webhook_old', 'webhook_rotated')
    redis.call('HSET', key, 'retired', 1)
    return
  end
  M.delete(endpoint)
  if (tonumber(kept[2]) or 0) > 0 then redis.call('HSET', key, 'kept', kept[2], 'url', kept[3]) end
end

-- Retire an endpoint that was deleted while deliveries to it were unsettled, now that none is.
function M.retire_settled(endpoint)
  if redis.call('HEXISTS', keys.endpoint(endpoint), 'retired') == 1 then M.retire(endpoint) end
end

-- Delete an endpoint that no delivery names any more: at once, unless it is subscribed or has a secret of its own. A
-- disabled one is deleted later, so that it stays disabled.
function M.release(endpoint, now)
  local key, known = keys.endpoint(endpoint), M.health(endpoint)
  if known.events or redis.call('HEXISTS', key, 'webhook_secret') == 1 then return end
  if known.off then
    redis.call('ZADD', keys.endpoint_expiries, now + C.endpoint_ms, endpoint)
  else
    M.delete(endpoint, known)
  end
end

return M
