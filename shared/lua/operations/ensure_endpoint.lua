#!lua
-- Record an endpoint before it has deliveries, or find it; set what is given of it (see `endpoint_settings`).
-- Returns its id | 'gone' (the tenant is deleted) | 'full' | 'full_standing'
local args, clock, endpoint_settings, endpoints, keys, limits = ... -- requires
if limits.is_gone(args.tenant, args.api_key) then return 'gone' end
local now, id = clock.now(), endpoints.id_of(args.tenant, args.url)
local known = redis.call('HEXISTS', keys.endpoint(id), 'tenant') == 1
if not known and redis.call('ZCARD', keys.endpoints(args.tenant)) >= tonumber(args.max_endpoints) then return 'full' end
if not endpoint_settings.fits(args.tenant, id, args.events, args.max_standing) then return 'full_standing' end
if not known then
  endpoints.ensure(args.tenant, args.url, args.host, now)
  -- an endpoint that is neither used, nor subscribed, nor given a secret is deleted again
  redis.call('ZADD', keys.endpoint_expiries, now + C.endpoint_ms, id)
end
local set = { events = args.events, enabled = args.enabled, fields = args.fields }
endpoint_settings.apply(args.tenant, id, set, now)
return id
