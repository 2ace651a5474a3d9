#!lua flags=allow-oom
-- Create a new secret for an endpoint of any tenant, for an operator.
-- Returns its tenant; '' if there is no such endpoint
local args, audit, clock, keys, webhook_secrets = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local tenant = redis.call('HGET', keys.endpoint(args.id), 'tenant')
if not tenant then return '' end
webhook_secrets.rotate_endpoint(keys.tenant(tenant), args.id, args.secret, clock.now())
return audit.record(args, 'endpoint.rotate', args.id, cjson.encode({ tenant = tenant }), { tenant })[1]
