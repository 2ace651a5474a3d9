#!lua flags=allow-oom
-- Cancel a batch: from now on none of its jobs is claimed; they end in chunks (`advance_batch`).
-- Returns 'ok' | 'missing' | 'state'
local args, clock, keys, util = ... -- requires
local batch = redis.call('HMGET', keys.batch(args.id), 'tenant', 'committed', 'cancel', 'queued', 'running')
if batch[1] ~= args.tenant or not batch[2] then return 'missing' end
if batch[3] == args.token then return 'ok' end
if batch[4] + batch[5] == 0 then return 'state' end
local now = clock.now()
redis.call('HDEL', keys.batch(args.id), 'at') -- its jobs are ended as they are written out
redis.call('HSET', keys.batch(args.id), 'cancel', args.token, 'canceling', util.int(now), 'canceled_at', util.int(now))
redis.call('ZADD', keys.batch_work, now + C.batch_work_delay_ms, args.id)
return 'ok'
