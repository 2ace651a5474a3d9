#!lua flags=allow-oom
-- Delete an endpoint: its subscription at once, then its unsettled deliveries, `limit` in one call, and at last its
-- secret and state. Settled deliveries stay, and so do those that jobs requested by a webhook of their own.
-- Returns 'ok' | 'more' (the call is to be repeated) | 'missing'
local args, clock, endpoint_settings = ... -- requires
return endpoint_settings.delete(args.tenant, args.id, tonumber(args.limit), clock.now())
