#!lua flags=allow-oom
-- Schedule the deletion of objects whose retention has ended.
local args, clock, keys = ... -- requires
local now = clock.now()
for _, object in ipairs(args.objects) do
  redis.call('ZADD', keys.object_deletions, now, object)
end
return #args.objects
