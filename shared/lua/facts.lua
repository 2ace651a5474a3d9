#!lua flags=no-writes
-- Reads what the service as a whole looks like: a handful of counters, whatever the backlog.
-- Gives now, counts..., and by queue { depth, oldest arrival ('' none), in flight, groups that wait,
--       most that wait in one of them }, then the gate, why it is closed ('' where it is not), and
--       when was last swept ('' never)
local now = dr.now()

-- When the oldest came of those that are next: over all groups up to 50, then over some of them.
local function oldest(q)
  local found
  local function look(key)
    local first = redis.call('ZRANGE', key, 0, 0)[1]
    local created = first and tonumber(redis.call('HGET', q.record(first), 'created'))
    if created and (not found or created < found) then found = created end
  end
  look(q.bought)
  for _, tag in ipairs(redis.call('ZRANGE', q.active, 0, 49)) do look(q.ready .. string.sub(tag, 17)) end
  return found and dr.int(math.max(now - found, 0)) or ''
end

-- How many wait in the fullest of some groups.
local function deepest(q)
  local most = 0
  for _, tag in ipairs(redis.call('ZRANGE', q.active, 0, 49)) do
    most = math.max(most, redis.call('ZCARD', q.ready .. string.sub(tag, 17)))
  end
  return most
end

local function facts(q)
  local ready = tonumber(redis.call('HGET', q.state, 'claimable')) or 0
  return { ready + redis.call('ZCARD', q.due), oldest(q), redis.call('ZCARD', q.leases),
    redis.call('ZCARD', q.active), deepest(q) }
end

return { dr.int(now), redis.call('HGETALL', '{dr}:counts'), facts(dr.jobs), facts(dr.deliveries),
  redis.call('HGETALL', '{dr}:gate'), dr.why_closed(now), redis.call('HGET', '{dr}:sweep', 'at') or '' }
