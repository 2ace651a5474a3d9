#!lua flags=allow-oom
-- Record which jobs were deleted in the history, and return the next ones to delete there.
-- Returns ids
local args, clock, keys = ... -- requires
for _, id in ipairs(args.deleted) do
  redis.call('ZREM', keys.history_deletions, id)
end
return redis.call('ZRANGE', keys.history_deletions, '-inf', clock.now(), 'BYSCORE', 'LIMIT', 0, args.limit)
