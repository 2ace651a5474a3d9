#!lua flags=allow-oom
-- Delete an endpoint: its subscription at once, then its unsettled deliveries, `limit` in one call, and at last its
-- secret and state. Settled deliveries stay, and so do those that jobs requested by a webhook of their own.
-- Returns 'ok' | 'more' (the call is to be repeated) | 'missing'
local args, clock, endpoints, keys, outbox, subscriptions = ... -- requires
if redis.call('HGET', keys.endpoint(args.id), 'tenant') ~= args.tenant then return 'missing' end
local now = clock.now()
subscriptions.remove(args.tenant, args.id)
local ids = redis.call('ZRANGE', keys.standing_deliveries(args.id), 0, args.limit - 1)
for _, id in ipairs(ids) do
  outbox.drop(outbox.load(id), now)
end
if #ids == tonumber(args.limit) then return 'more' end
endpoints.retire(args.id)
return 'ok'
