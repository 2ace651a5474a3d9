-- The service as a whole, as operators see it.
local gate, keys, queue, util = ... -- requires

local M = {}

-- Return how long the oldest of the next jobs has waited, in milliseconds ('' none waits): over all groups up to 50,
-- then over some of them.
function M.oldest(q, now)
  local found
  local function look(key)
    local first = redis.call('ZRANGE', key, 0, 0)[1]
    local known = first and redis.call('HMGET', q.record(first), 'enqueued', 'created') or {}
    local since = tonumber(known[1] or known[2])
    if since and (not found or since < found) then found = since end
  end
  look(q.paid)
  look(q.isolated)
  for _, key in ipairs(queue.next_ready(q, 50)) do
    look(key)
  end
  return found and util.int(math.max(now - found, 0)) or ''
end
local SEEN = { 'accepted', 'reused', 'queued', 'running', 'succeeded', 'failed', 'canceled' }

-- Return the current counters as name, value, ...: those of C.sampled, in that order.
function M.sample(now)
  local known, total = redis.call('HMGET', keys.totals, unpack(SEEN)), {}
  for i, name in ipairs(SEEN) do
    total[name] = tonumber(known[i]) or 0
  end
  local counts = redis.call('HMGET', keys.counts, 'queued', 'running', 'webhook_pending')
  local oldest = M.oldest(queue.jobs, now)
  local seen = {
    accepted = total.accepted + total.reused,
    started = total.running,
    requeued = total.queued,
    succeeded = total.succeeded + total.reused,
    failed = total.failed,
    canceled = total.canceled,
    waiting = counts[1] or 0,
    running = counts[2] or 0,
    webhooks = counts[3] or 0,
    oldest = oldest == '' and 0 or oldest,
    closed = gate.why_closed(now),
  }
  local flat = {}
  for _, name in ipairs(C.sampled) do
    flat[#flat + 1], flat[#flat + 2] = name, seen[name]
  end
  return flat
end

-- Record the counters in the samples of each interval, by the first sweep of an interval. An interval without a
-- sweep has no sample.
function M.record_samples(now)
  local seen, sample = redis.call('HMGET', keys.sweep, unpack(C.sample_steps)), nil
  for i, step in ipairs(C.sample_steps) do
    local slot = util.int(math.floor(now / step))
    if seen[i] ~= slot then
      sample = sample or M.sample(now)
      redis.call('HSET', keys.sweep, step, slot)
      redis.call('XADD', keys.samples(step), 'MINID', '~', util.int(now - C.samples_kept * step), '*', unpack(sample))
    end
  end
end

return M
