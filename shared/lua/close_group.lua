#!lua flags=allow-oom
-- Notes how a try that waited for its jobs ended.
-- KEYS  1 the tries of its body that have no answer yet
-- ARGV  1 the ids of its jobs  2 'answered' (no retry comes) or 'left' (the next retry joins it)
if ARGV[2] == 'answered' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[1])
end
return 'ok'
