#!lua flags=allow-oom
-- Enable an endpoint, or probe a failing one at once; its parked deliveries are sent.
-- Returns 'ok' | 'missing'
local args, clock, endpoint_health, keys = ... -- requires
if redis.call('HGET', keys.endpoint(args.id), 'tenant') ~= args.tenant then return 'missing' end
endpoint_health.enable(args.id, clock.now())
return 'ok'
