#!lua
-- Create a tenant.
-- Returns 'ok' | 'exists' its webhook secret | 'deleting'
local args, audit, clock, credits, keys, tenants, util = ... -- requires
local before = audit.replay(args)
if before then return before end
if tenants.erasure_of(args.tenant) then return { 'deleting' } end
local secret = redis.call('HGET', keys.tenant(args.tenant), 'webhook_secret')
if secret then return { 'exists', secret } end
redis.call('HSET', keys.tenant(args.tenant), 'webhook_secret', args.webhook_secret, 'created', util.int(clock.now()))
redis.call('PERSIST', keys.tenant(args.tenant)) -- where one of this name was deleted
for i = 1, #args.limits, 2 do
  redis.call('HSET', keys.tenant(args.tenant), args.limits[i], args.limits[i + 1])
end
redis.call('ZADD', keys.tenants, 0, args.tenant)
credits.start(args.tenant, clock.now())
return audit.record(args, 'tenant.create', args.tenant, args.detail, { 'ok' })
