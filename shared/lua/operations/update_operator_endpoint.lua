#!lua flags=allow-oom
-- Set what is given of an endpoint of the operators (see `endpoint_settings`).
-- Returns 'ok' | 'missing' | 'full_standing'
local args, audit, clock, endpoint_settings = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local set = { events = args.events, enabled = args.enabled, fields = args.fields, max_standing = args.max_standing }
local result = endpoint_settings.update(C.operators, args.id, set, clock.now())
if result ~= 'ok' then return result end
return audit.record(args, 'endpoint.update', args.id, args.audited, { result })[1]
