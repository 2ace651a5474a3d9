#!lua flags=allow-oom
-- Remove audit entries that the history has.
-- Returns how many were removed
local args, keys = ... -- requires
return redis.call('XDEL', keys.audit, unpack(args.ids))
