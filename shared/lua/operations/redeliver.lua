#!lua flags=allow-oom
-- Send one delivery again, or a waiting one now: with its id, and the secret of that time.
-- Returns 'ok' | 'missing' | 'sending' | 'off' | 'deleted' (its standing endpoint)
local args, clock, keys, outbox = ... -- requires
local delivery = outbox.load(args.id)
if not delivery or delivery.tenant ~= args.tenant or delivery.test then return 'missing' end
if redis.call('HGET', keys.delivery(args.id), 'redelivery') == args.token then return 'ok' end
if delivery.state == 'sending' then return 'sending' end
if redis.call('HEXISTS', keys.endpoint(delivery.endpoint), 'off') == 1 then return 'off' end
if not outbox.has_target(delivery) then return 'deleted' end
redis.call('HSET', keys.delivery(args.id), 'redelivery', args.token, 'forced', 1)
outbox.redeliver(delivery, clock.now())
return 'ok'
