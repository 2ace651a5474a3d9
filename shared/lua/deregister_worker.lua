#!lua flags=allow-oom
-- Says that a worker process is gone for good: its threads no longer count.
-- KEYS  1 the living workers  2 what they hold
-- ARGV  1 worker
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
