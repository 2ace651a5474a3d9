#!lua flags=allow-oom
-- Cancels a batch: from now on none of its jobs is claimed any more; they end in chunks (`tend`).
-- KEYS  1 the batch
-- ARGV  1 batch  2 tenant  3 a word of this request's own, by which it is known when sent again
-- Gives 'ok' | 'missing' | 'state'
local batch = redis.call('HMGET', KEYS[1], 'tenant', 'committed', 'cancel', 'queued', 'running')
if batch[1] ~= ARGV[2] or not batch[2] then return 'missing' end
if batch[3] == ARGV[3] then return 'ok' end
if batch[4] + batch[5] == 0 then return 'state' end
local now = dr.now()
redis.call('HDEL', KEYS[1], 'at') -- whoever lays its jobs out ends them from here on
redis.call('HSET', KEYS[1], 'cancel', ARGV[3], 'canceling', dr.int(now), 'canceled_at', dr.int(now))
redis.call('ZADD', '{dr}:batch_work', now + C.tend_ms, ARGV[1])
return 'ok'
