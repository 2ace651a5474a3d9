#!lua flags=allow-oom
-- Draws a lesson for all workers that no job's move carries.
-- KEYS  1 the gate
-- ARGV  1 lesson
dr.learn(ARGV[1], dr.now(), '')
return redis.call('HGETALL', KEYS[1])
