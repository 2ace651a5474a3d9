#!lua
-- Record an endpoint before it has deliveries, or find it; set what is given of it (see `endpoint_settings`).
-- Returns its id | 'gone' (the tenant is deleted) | 'full' | 'full_standing' | 'not_standing'
local args, clock, endpoint_settings, limits = ... -- requires
if limits.is_gone(args.tenant, args.api_key) then return 'gone' end
local set = {
  url = args.url,
  host = args.host,
  max_endpoints = args.max_endpoints,
  max_standing = args.max_standing,
  events = args.events,
  enabled = args.enabled,
  fields = args.fields,
}
return endpoint_settings.ensure(args.tenant, set, clock.now())
