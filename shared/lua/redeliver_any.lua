#!lua flags=allow-oom
-- Sends one delivery again for an operator, whosesoever it is: with its id, and the secret of then.
-- KEYS  1 the delivery
-- ARGV  1 word  2 by  3 request  4 id
-- Gives 'ok' | 'missing' | 'sending' | 'off'
local before = dr.replay(ARGV)
if before then return before[1] end
local delivery = dr.delivery(ARGV[4])
if not delivery or delivery.test then return 'missing' end
if delivery.state == 'sending' then return 'sending' end
if redis.call('HEXISTS', dr.endpoint_key(delivery.endpoint), 'off') == 1 then return 'off' end
redis.call('HSET', KEYS[1], 'redelivery', ARGV[1], 'forced', 1)
dr.redeliver(delivery, dr.now())
return dr.audit(ARGV, 'delivery.redeliver', ARGV[4], '{}', { 'ok' })[1]
