#!lua flags=allow-oom
-- Discard a staged batch: it can no longer be committed, and is deleted in chunks (`advance_batch`).
-- Returns 1 if it will be deleted, 0 if there is no such stage
local args, clock, keys = ... -- requires
if redis.call('HGET', keys.batch(args.id), 'state') ~= 'staged' then return 0 end
redis.call('HSET', keys.batch(args.id), 'state', 'dropped')
redis.call('ZADD', keys.batch_work, clock.now() + C.batch_work_delay_ms, args.id)
return 1
