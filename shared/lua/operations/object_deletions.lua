#!lua flags=allow-oom
-- Record which objects were deleted, and return the next ones to delete. An object key leaves the set only when
-- storage confirmed its deletion, so others are returned again.
-- Returns object keys
local args, clock, keys = ... -- requires
for _, key in ipairs(args.deleted) do
  redis.call('ZREM', keys.object_deletions, key)
end
return redis.call('ZRANGE', keys.object_deletions, '-inf', clock.now(), 'BYSCORE', 'LIMIT', 0, args.limit)
