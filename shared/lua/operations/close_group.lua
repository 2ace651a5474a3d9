#!lua flags=allow-oom
-- Record how a request that waited for its jobs ended.
local args, keys = ... -- requires
if args.outcome == 'answered' then
  redis.call('ZREM', keys.open_groups(args.tenant, args.body), args.ids)
else
  redis.call('ZADD', keys.open_groups(args.tenant, args.body), 'XX', 0, args.ids)
end
return 'ok'
