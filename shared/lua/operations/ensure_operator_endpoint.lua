#!lua
-- Create an endpoint of the operators, or find it; set what is given of it (see `endpoint_settings`). It gets `secret`
-- unless it has one, and `default_events` unless it has any.
-- Returns { its id | 'full' | 'full_standing', '1' where it got the secret }
local args, audit, clock, endpoint_settings, endpoints, keys, webhook_secrets = ... -- requires
local before = audit.replay(args)
if before then return before end
local now, events = clock.now(), args.events
local key = keys.endpoint(endpoints.id_of(C.operators, args.url))
if events == '' and redis.call('HEXISTS', key, 'events') == 0 then events = args.default_events end
local set = {
  url = args.url,
  host = args.host,
  max_endpoints = args.max_endpoints,
  max_standing = args.max_standing,
  events = events,
  enabled = args.enabled,
  fields = args.fields,
}
local id = endpoint_settings.ensure(C.operators, set, now)
if id == 'full' or id == 'full_standing' then return { id, '' } end
local has_secret = redis.call('HEXISTS', key, 'webhook_secret') == 1
if not has_secret then webhook_secrets.rotate_endpoint(keys.tenant(C.operators), id, args.secret, now) end
return audit.record(args, 'endpoint.create', id, args.audited, { id, has_secret and '' or '1' })
