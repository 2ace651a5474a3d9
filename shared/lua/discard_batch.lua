#!lua flags=allow-oom
-- Gives a staged batch up: it can no longer be committed, and is taken away in chunks (`tend`).
-- KEYS  1 the batch
-- ARGV  1 batch
-- Gives 1 if it is to be taken away, 0 where there is no such stage
if redis.call('HGET', KEYS[1], 'state') ~= 'staged' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'dropped')
redis.call('ZADD', '{dr}:batch_work', dr.now() + C.tend_ms, ARGV[1])
return 1
