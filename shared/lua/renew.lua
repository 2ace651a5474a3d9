#!lua flags=allow-oom
-- Renews the leases of all that one worker process really holds, and says that the process lives.
-- KEYS  1 the living workers  2 what they hold
-- ARGV  1 worker  2 queue  3 threads  4 lease (ms)  5... id, fence of each held member
-- Gives the ids of those that are no longer its own
local now, lost = dr.now(), {}
local ends = now + tonumber(ARGV[4])
local is_new = redis.call('HSET', KEYS[1], ARGV[1], dr.int(ends) .. ' ' .. ARGV[3] .. ' ' .. ARGV[2]) == 1
-- the sweep counts them again; until then unproven hosts shall not hold all of them
if is_new and ARGV[2] == 'deliver' then redis.call('HINCRBY', dr.deliveries.state, 'threads', ARGV[3]) end
local since = string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^%d+') or dr.int(now)
local held = { since }
local q = ARGV[2] == 'generate' and dr.jobs or dr.deliveries
for i = 5, #ARGV, 2 do
  local fence = redis.call('HGET', q.record(ARGV[i]), 'fence')
  if fence == ARGV[i + 1] and redis.call('ZSCORE', q.leases, ARGV[i]) then
    redis.call('ZADD', q.leases, 'XX', ends, ARGV[i])
    held[#held + 1] = ARGV[i]
  else
    lost[#lost + 1] = ARGV[i]
  end
end
redis.call('HSET', KEYS[2], ARGV[1], table.concat(held, ' '))
return lost
