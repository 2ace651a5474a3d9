#!lua flags=allow-oom
-- Notes that a key was used.
-- KEYS  1 the key
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'used', dr.int(dr.now())) end
return 'ok'
