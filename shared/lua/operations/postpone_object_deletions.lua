#!lua flags=allow-oom
-- Postpone the deletion of objects that the storage refused to delete, so that they do not delay that of others. An
-- object that is in use again is not scheduled any more, and stays so.
-- Returns how many there were
local args, clock, keys = ... -- requires
local due = clock.now() + C.object_refused_ms
for _, object in ipairs(args.objects) do
  redis.call('ZADD', keys.object_deletions, 'XX', due, object)
end
return #args.objects
