#!lua flags=allow-oom
-- Enables an endpoint for an operator, whosesoever it is, as `enable_endpoint` does.
-- Returns its tenant; '' where there is no such endpoint
local args, audit, clock, endpoint_health, keys = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local tenant = redis.call('HGET', keys.endpoint(args.id), 'tenant')
if not tenant then return '' end
endpoint_health.enable(args.id, clock.now())
return audit.record(args, 'endpoint.enable', args.id, cjson.encode({ tenant = tenant }), { tenant })[1]
