#!lua flags=allow-oom
-- Says that a worker process is gone for good: its threads no longer count.
-- KEYS  1 the living workers
-- ARGV  1 worker
return redis.call('HDEL', KEYS[1], ARGV[1])
