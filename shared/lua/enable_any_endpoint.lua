#!lua flags=allow-oom
-- Switches an endpoint on for an operator, whosesoever it is, as `enable_endpoint` does.
-- KEYS  1 the endpoint
-- ARGV  1 word  2 by  3 request  4 id
-- Gives its tenant; '' where there is no such endpoint
local before = dr.replay(ARGV)
if before then return before[1] end
local tenant = redis.call('HGET', KEYS[1], 'tenant')
if not tenant then return '' end
dr.enable_endpoint(ARGV[4], dr.now())
return dr.audit(ARGV, 'endpoint.enable', ARGV[4], cjson.encode({ tenant = tenant }), { tenant })[1]
