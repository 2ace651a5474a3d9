#!lua flags=allow-oom
-- Enables an endpoint, or lets a failing one be asked at once; it gets what it missed.
-- Returns 'ok' | 'missing'
local args, clock, endpoint_health, keys = ... -- requires
if redis.call('HGET', keys.endpoint(args.id), 'tenant') ~= args.tenant then return 'missing' end
endpoint_health.enable(args.id, clock.now())
return 'ok'
