#!lua flags=allow-oom
-- Set a new secret of a tenant or of one of its endpoints; the old one keeps signing for a while.
-- Returns 'ok' | 'missing' | 'gone' (the tenant is deleted)
local args, clock, keys, limits, webhook_secrets = ... -- requires
if limits.is_gone(args.tenant, args.api_key) then return 'gone' end
local now = clock.now()
if args.endpoint_id == '' then
  webhook_secrets.rotate_tenant(keys.tenant(args.tenant), args.secret, now)
elseif redis.call('HGET', keys.endpoint(args.endpoint_id), 'tenant') ~= args.tenant then
  return 'missing'
else
  webhook_secrets.rotate_endpoint(keys.tenant(args.tenant), args.endpoint_id, args.secret, now)
end
return 'ok'
