#!lua flags=allow-oom
-- Record that the history has run counts.
-- Returns 'ok'
local args, keys, util = ... -- requires
for _, name in ipairs(args.counted) do
  redis.call('ZADD', keys.counted_days, 'XX', util.int(-string.match(name, '^%d+')), name)
end
return 'ok'
