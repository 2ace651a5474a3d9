#!lua flags=allow-oom
-- Says that a worker process is gone for good: its threads no longer count.
local args, keys = ... -- requires
redis.call('HDEL', keys.worker_leases, args.worker)
return redis.call('HDEL', keys.workers, args.worker)
