#!lua flags=allow-oom
-- Enable an endpoint of any tenant for an operator, as `enable_endpoint` does.
-- Returns its tenant; '' if there is no such endpoint
local args, audit, clock, endpoint_health, keys = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local tenant = redis.call('HGET', keys.endpoint(args.id), 'tenant')
if not tenant then return '' end
endpoint_health.enable(args.id, clock.now())
return audit.record(args, 'endpoint.enable', args.id, cjson.encode({ tenant = tenant }), { tenant })[1]
