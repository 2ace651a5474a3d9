#!lua flags=allow-oom
-- Record how many jobs an erasure has deleted so far and renew its lease, or record its end.
local args, clock, keys, util = ... -- requires
local key, now = keys.erasure(args.id), clock.now()
redis.call('HSET', key, 'deleted', args.deleted)
if args.is_done == '' then
  redis.call('ZADD', keys.erasures, 'XX', now + tonumber(args.lease_ms), args.id)
else
  redis.call('HSET', key, 'finished', util.int(now))
  redis.call('ZREM', keys.erasures, args.id)
  redis.call('PEXPIRE', key, C.erasure_kept_ms)
end
return 'ok'
