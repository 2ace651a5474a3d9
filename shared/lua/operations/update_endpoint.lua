#!lua flags=allow-oom
-- Set what is given of an endpoint (see `endpoint_settings`).
-- Returns 'ok' | 'missing' | 'full_standing' | 'not_standing'
local args, clock, endpoint_settings = ... -- requires
local set = { events = args.events, enabled = args.enabled, fields = args.fields, max_standing = args.max_standing }
return endpoint_settings.update(args.tenant, args.id, set, clock.now())
