#!lua flags=allow-oom
-- Record that a key was used.
local args, clock, keys, util = ... -- requires
if redis.call('EXISTS', keys.api_key(args.id)) == 1 then
  redis.call('HSET', keys.api_key(args.id), 'used', util.int(clock.now()))
end
return 'ok'
