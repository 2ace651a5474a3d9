#!lua flags=allow-oom
-- Delete an endpoint of the operators, as `delete_endpoint` does.
-- Returns 'ok' | 'more' (the call is to be repeated) | 'missing'
local args, audit, clock, endpoint_settings = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local result = endpoint_settings.delete(C.operators, args.id, tonumber(args.limit), clock.now())
if result ~= 'ok' then return result end
return audit.record(args, 'endpoint.delete', args.id, cjson.encode({ tenant = C.operators }), { result })[1]
