#!lua
-- Record an endpoint before it has deliveries, or find it.
-- Returns its id | 'gone' (the tenant is deleted) | 'full'
local args, clock, endpoints, keys, limits = ... -- requires
if limits.is_gone(args.tenant, args.api_key) then return 'gone' end
local now, id = clock.now(), endpoints.id_of(args.tenant, args.url)
if redis.call('EXISTS', keys.endpoint(id)) == 0 then
  if redis.call('ZCARD', keys.endpoints(args.tenant)) >= tonumber(args.max_endpoints) then return 'full' end
  endpoints.ensure(args.tenant, args.url, args.host, now)
  -- an endpoint that is neither used nor given a secret is deleted again
  redis.call('ZADD', keys.endpoint_expiries, now + C.endpoint_ms, id)
end
return id
