#!lua flags=no-writes
-- Read the audit log, newest first.
-- Returns { id, { field, value, ... } } for each
local args, keys = ... -- requires
return redis.call('XREVRANGE', keys.audit, args.upper, '-', 'COUNT', args.limit)
