#!lua flags=allow-oom
-- Gives an endpoint a new secret of its own for an operator, whosesoever it is.
-- KEYS  1 the endpoint
-- ARGV  1 word  2 by  3 request  4 id  5 secret
-- Gives its tenant; '' where there is no such endpoint
local before = dr.replay(ARGV)
if before then return before[1] end
local tenant = redis.call('HGET', KEYS[1], 'tenant')
if not tenant then return '' end
dr.rotate_endpoint_secret(dr.tenant_key(tenant), ARGV[4], ARGV[5], dr.now())
return dr.audit(ARGV, 'endpoint.rotate', ARGV[4], cjson.encode({ tenant = tenant }), { tenant })[1]
