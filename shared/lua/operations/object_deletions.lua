#!lua flags=allow-oom
-- Records which objects were deleted, and returns what is to be deleted next. What is not recorded is returned
-- again: an object key leaves the set only when the storage confirmed its deletion.
-- Returns object keys
local args, clock, keys = ... -- requires
for _, key in ipairs(args.deleted) do
  redis.call('ZREM', keys.object_deletions, key)
end
return redis.call('ZRANGE', keys.object_deletions, '-inf', clock.now(), 'BYSCORE', 'LIMIT', 0, args.limit)
