#!lua flags=allow-oom
-- Set what is given of an endpoint (see `endpoint_settings`).
-- Returns 'ok' | 'missing' | 'full_standing'
local args, clock, endpoint_settings, keys = ... -- requires
if redis.call('HGET', keys.endpoint(args.id), 'tenant') ~= args.tenant then return 'missing' end
if not endpoint_settings.fits(args.tenant, args.id, args.events, args.max_standing) then return 'full_standing' end
local set = { events = args.events, enabled = args.enabled, fields = args.fields }
endpoint_settings.apply(args.tenant, args.id, set, clock.now())
return 'ok'
