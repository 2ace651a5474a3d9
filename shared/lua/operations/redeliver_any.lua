#!lua flags=allow-oom
-- Send one delivery of any tenant again for an operator: with its id, and the secret of that time.
-- Returns 'ok' | 'missing' | 'sending' | 'off' | 'deleted' (its standing endpoint)
local args, audit, clock, keys, outbox = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local delivery = outbox.load(args.id)
if not delivery or delivery.test then return 'missing' end
if delivery.state == 'sending' then return 'sending' end
if redis.call('HEXISTS', keys.endpoint(delivery.endpoint), 'off') == 1 then return 'off' end
if not outbox.has_target(delivery) then return 'deleted' end
redis.call('HSET', keys.delivery(args.id), 'redelivery', args.dedup_token, 'forced', 1)
outbox.redeliver(delivery, clock.now())
return audit.record(args, 'delivery.redeliver', args.id, '{}', { 'ok' })[1]
