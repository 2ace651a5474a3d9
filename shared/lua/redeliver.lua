#!lua flags=allow-oom
-- Sends one delivery again, or one that waits now: with its id, and the secret of then.
-- KEYS  1 the delivery
-- ARGV  1 id  2 tenant  3 a word of this request's own
-- Gives 'ok' | 'missing' | 'sending' | 'off'
local delivery = dr.delivery(ARGV[1])
if not delivery or delivery.tenant ~= ARGV[2] or delivery.test then return 'missing' end
if redis.call('HGET', KEYS[1], 'redelivery') == ARGV[3] then return 'ok' end
if delivery.state == 'sending' then return 'sending' end
if redis.call('HEXISTS', dr.endpoint_key(delivery.endpoint), 'off') == 1 then return 'off' end
redis.call('HSET', KEYS[1], 'redelivery', ARGV[3], 'forced', 1)
dr.redeliver(delivery, dr.now())
return 'ok'
