#!lua flags=allow-oom
-- Remove a worker process that has ended: its threads no longer count.
local args, keys = ... -- requires
redis.call('HDEL', keys.worker_leases, args.worker)
return redis.call('HDEL', keys.workers, args.worker)
