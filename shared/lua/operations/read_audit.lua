#!lua flags=no-writes
-- Reads what operators did, newest first.
-- Returns { id, { field, value, ... } } for each
local args, keys = ... -- requires
return redis.call('XREVRANGE', keys.audit, args.upper, '-', 'COUNT', args.limit)
