----------------------------------------------------------------------------------------------
-- What operators are shown of the service as a whole.
--   totals         how many jobs were ever accepted, reused, and came to each status
--   history:<step> the counters as they stood every so many milliseconds
----------------------------------------------------------------------------------------------

-- How long the oldest has waited of those that are next, in milliseconds ('' none waits): over all
-- groups up to 50, then over some of them.
function dr.oldest(q, now)
  local found
  local function look(key)
    local first = redis.call('ZRANGE', key, 0, 0)[1]
    local created = first and tonumber(redis.call('HGET', q.record(first), 'created'))
    if created and (not found or created < found) then found = created end
  end
  look(q.paid)
  look(q.isolated)
  for _, key in ipairs(dr.next_ready(q, 50)) do look(key) end
  return found and dr.int(math.max(now - found, 0)) or ''
end

local SEEN = { 'accepted', 'reused', 'queued', 'running', 'succeeded', 'failed', 'canceled' }

-- The counters as they stand, as name, value, ...: those of C.sampled, in that order.
function dr.sample(now)
  local known, total = redis.call('HMGET', '{dr}:totals', unpack(SEEN)), {}
  for i, name in ipairs(SEEN) do total[name] = tonumber(known[i]) or 0 end
  local counts = redis.call('HMGET', '{dr}:counts', 'queued', 'running', 'webhook_pending')
  local oldest = dr.oldest(dr.jobs, now)
  local seen = {
    accepted = total.accepted + total.reused, started = total.running, again = total.queued,
    succeeded = total.succeeded + total.reused, failed = total.failed, canceled = total.canceled,
    waiting = counts[1] or 0, running = counts[2] or 0, webhooks = counts[3] or 0,
    oldest = oldest == '' and 0 or oldest, closed = dr.why_closed(now),
  }
  local flat = {}
  for _, name in ipairs(C.sampled) do
    flat[#flat + 1], flat[#flat + 2] = name, seen[name]
  end
  return flat
end
