#!lua flags=no-writes
-- Read the state of the service as a whole: a few counters, whatever the backlog.
-- Returns now, counts..., and by queue { depth, oldest arrival ('' none), in flight, groups that wait,
--       most that wait in one of them }, then the gate, why it is closed ('' where it is not), when
--       the last sweep was ('' never), for hosts that have not responded recently how many deliveries are
--       being sent to them and how many tenants wait to send to one, since when the first
--       job waits for the history ('' none), since when the history has been failing ('' where it is not),
--       how many jobs the history could not store, the record of the provider's models, and the stored provider keys
local clock, gate, hosts, keys, queue, stats, util = ... -- requires
local now = clock.now()

-- Return how many members wait in the fullest of some groups.
local function deepest(q)
  local most = 0
  for _, key in ipairs(queue.next_ready(q, 50)) do
    most = math.max(most, redis.call('ZCARD', key))
  end
  return most
end

local function depth(q)
  if q == queue.jobs then
    return (tonumber(redis.call('HGET', q.state, 'claimable')) or 0) + redis.call('ZCARD', q.due)
  end
  local counts = redis.call('HMGET', keys.counts, 'webhook_pending', 'webhook_parked')
  local waiting = (tonumber(counts[1]) or 0) - (tonumber(counts[2]) or 0) - redis.call('ZCARD', q.leases)
  return math.max(0, waiting) -- test events are under a lease, and not counted as pending
end

local function facts(q)
  return { depth(q), stats.oldest(q, now), redis.call('ZCARD', q.leases), queue.backlogged_groups(q), deepest(q) }
end

return {
  util.int(now),
  redis.call('HGETALL', keys.counts),
  facts(queue.jobs),
  facts(queue.deliveries),
  redis.call('HGETALL', keys.gate),
  gate.why_closed(now),
  redis.call('HGET', keys.sweep, 'at') or '',
  hosts.unproven(),
  redis.call('ZRANGE', keys.archive_due, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')[2] or '',
  redis.call('GET', keys.history_failing) or '',
  redis.call('ZCARD', keys.archive_refused),
  redis.call('HGETALL', keys.provider_models),
  redis.call('HGETALL', keys.provider_keys),
}
