#!lua flags=no-writes
-- Read the oldest audit entries that are to move to the history: what is to be logged is logged first.
-- Returns { { id, { field, value, ... } }, ... }
local args, clock, keys, util = ... -- requires
local found = redis.call('XRANGE', keys.audit, '-', util.int(clock.now() - args.settle_ms), 'COUNT', args.limit)
if C.audit_log == 0 or #found == 0 then return found end
local logged = redis.call('HGET', keys.audit_log, 'logged') or '0-0'
local until_logged = redis.call('XRANGE', keys.audit, '-', logged, 'COUNT', args.limit)
return #until_logged < #found and until_logged or found
