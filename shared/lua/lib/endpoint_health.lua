-- The health of endpoints. After some failed attempts in a row an endpoint is failing and is probed with one delivery
-- at a time. After long enough it is disabled. When an attempt succeeds, its parked deliveries are sent.
local endpoints, episodes, index, keys, outbox, tenant_events, util = ... -- requires

local M = {}

-- Deliveries sent at once when an endpoint recovers; the sweep and each further success send more.
local BACKLOG_CHUNK = 50

-- Send parked deliveries, the newest first.
local function send_backlog(endpoint, most, now)
  local popped = redis.call('ZPOPMAX', keys.parked(endpoint), most)
  for i = 1, #popped, 2 do
    index.count('webhook_parked', -1)
    -- all of them now, and among them by age: a week is 0.6 s
    outbox.enqueue(outbox.load(popped[i]), now, now + math.max(now - popped[i + 1], 0) / 1000000)
  end
  if redis.call('ZCARD', keys.parked(endpoint)) > 0 then
    redis.call('ZADD', keys.endpoint_backlogs, now, endpoint)
  else
    redis.call('ZREM', keys.endpoint_backlogs, endpoint)
  end
end

-- Disable an endpoint that failed, and notify the others of its tenant, and the operators; return why.
local function disable(endpoint, known, why, now)
  if known.tenant ~= C.operators then
    local data = { endpoint_id = endpoint, url = known.url, reason = why, disabled_at = now }
    tenant_events.add(known.tenant, 'endpoint.disabled', endpoint .. ' ' .. util.int(now), data, now)
  end
  episodes.watch_endpoint(endpoint, known, why, now)
  return endpoints.disable(endpoint, known, why, now)
end

-- Record a failed attempt. After some in a row the endpoint is failing and is probed ever more rarely. It is disabled
-- after long enough, or when it returned 410. Return why.
function M.failed(delivery, gone, now)
  local endpoint, key = delivery.endpoint, keys.endpoint(delivery.endpoint)
  local fails = redis.call('HINCRBY', key, 'fails', 1)
  redis.call('HSETNX', key, 'since', util.int(now))
  redis.call('HSET', key, 'failed_at', util.int(now))
  local known = endpoints.health(endpoint)
  if tonumber(known.since) > now then -- Redis' clock was set back
    known.since = now
    redis.call('HSET', key, 'since', util.int(now))
  end
  if known.off then return nil end
  if gone then return disable(endpoint, known, 'gone', now) end
  if fails < C.endpoint_failures then return nil end
  if now - known.since >= C.endpoint_patience_ms then return disable(endpoint, known, 'failing', now) end
  if known.next and known.probe ~= delivery.id then return nil end
  if not known.next then
    index.count('endpoints_failing', 1)
    endpoints.announce(endpoint, known, 'webhook.failing', now)
  end
  -- a quarter of the time for which it has been failing, so its recovery is noticed that much later at most
  local wait = math.min(math.max((now - known.since) / 4, 1000), C.endpoint_probe_ms)
  known.next, known.probe = now + wait, nil
  redis.call('HSET', key, 'next', util.int(known.next))
  redis.call('HDEL', key, 'probe')
  if redis.call('ZCARD', keys.parked(endpoint)) > 0 then endpoints.await_probe(endpoint, known, now) end
end

-- Record a successful attempt: the endpoint is healthy, and its parked deliveries are sent.
function M.recovered(delivery, now)
  local endpoint = delivery.endpoint
  redis.call('HSET', keys.endpoint(endpoint), 'ok_at', util.int(now))
  local known = endpoints.health(endpoint)
  if known.off then return end
  if known.fails then endpoints.stop_failing(endpoint, known) end
  if known.next then endpoints.announce(endpoint, known, 'webhook.recovered', now) end
  send_backlog(endpoint, BACKLOG_CHUNK, now)
end

-- Enable an endpoint again, and send its parked deliveries.
function M.enable(endpoint, now)
  local known = endpoints.health(endpoint)
  if known.off then
    redis.call('HDEL', keys.endpoint(endpoint), 'off', 'why', 'uncounted', 'fails', 'since')
    endpoints.uncount_disabled(known)
    endpoints.announce(endpoint, known, 'webhook.enabled', now)
  end
  endpoints.stop_failing(endpoint, known)
  send_backlog(endpoint, BACKLOG_CHUNK, now)
end

-- Do what is due for endpoints: probe failing ones, and send more parked deliveries of recovered ones.
function M.tick(now, most)
  for _, endpoint in ipairs(redis.call('ZRANGE', keys.endpoint_probes, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)) do
    redis.call('ZREM', keys.endpoint_probes, endpoint)
    local known = endpoints.health(endpoint)
    local oldest = known.next and not known.probe and redis.call('ZPOPMIN', keys.parked(endpoint))[1]
    if oldest then
      index.count('webhook_parked', -1)
      redis.call('HSET', keys.endpoint(endpoint), 'probe', oldest)
      outbox.enqueue(outbox.load(oldest), now)
    end
  end
  for _, endpoint in ipairs(redis.call('ZRANGE', keys.endpoint_backlogs, 0, 4)) do
    local known = endpoints.health(endpoint)
    if known.next or known.off then
      redis.call('ZREM', keys.endpoint_backlogs, endpoint)
      endpoints.await_probe(endpoint, known, now)
    else
      send_backlog(endpoint, most, now)
    end
  end
end

return M
