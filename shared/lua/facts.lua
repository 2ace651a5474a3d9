#!lua flags=no-writes
-- Reads what the service as a whole looks like: a handful of counters, whatever the backlog.
-- Gives now, counts..., and by queue { depth, oldest arrival ('' none), in flight, groups that wait,
--       most that wait in one of them }, then the gate, why it is closed ('' where it is not), and
--       when was last swept ('' never)
local now = dr.now()

-- How many wait in the fullest of some lines.
local function deepest(lines)
  local most = 0
  for _, line in ipairs(lines) do most = math.max(most, redis.call('ZCARD', line)) end
  return most
end

local function facts(q)
  local ready = tonumber(redis.call('HGET', q.state, 'claimable')) or 0
  local groups, lines = dr.waiting(q)
  return { ready + redis.call('ZCARD', q.due), dr.oldest(q, now), redis.call('ZCARD', q.leases), groups,
    deepest(lines) }
end

return { dr.int(now), redis.call('HGETALL', '{dr}:counts'), facts(dr.jobs), facts(dr.deliveries),
  redis.call('HGETALL', '{dr}:gate'), dr.why_closed(now), redis.call('HGET', '{dr}:sweep', 'at') or '' }
