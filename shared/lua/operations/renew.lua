#!lua flags=allow-oom
-- Renew the leases that one worker process really holds, and record that the process lives.
-- Returns the ids of those that are no longer its own
local args, clock, keys, queue, util = ... -- requires
local now, lost = clock.now(), {}
local ends = now + tonumber(args.lease_ms)
local is_new = redis.call('HSET', keys.workers, args.worker, util.int(ends) .. ' ' .. args.threads .. ' ' .. args.queue)
  == 1
-- the sweep counts the threads again; until then unproven hosts must not hold all of them
if is_new and args.queue == 'deliver' then redis.call('HINCRBY', queue.deliveries.state, 'threads', args.threads) end
local since = string.match(redis.call('HGET', keys.worker_leases, args.worker) or '', '^%d+') or util.int(now)
local held = { since }
local q = args.queue == 'generate' and queue.jobs or queue.deliveries
for i = 1, #args.held, 2 do -- id, fence
  local fence = redis.call('HGET', q.record(args.held[i]), 'fence')
  if fence == args.held[i + 1] and redis.call('ZSCORE', q.leases, args.held[i]) then
    redis.call('ZADD', q.leases, 'XX', ends, args.held[i])
    held[#held + 1] = args.held[i]
  else
    lost[#lost + 1] = args.held[i]
  end
end
redis.call('HSET', keys.worker_leases, args.worker, table.concat(held, ' '))
return lost
