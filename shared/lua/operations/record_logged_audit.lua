#!lua
-- Record that the audit entries up to this one are logged; the next may be read at once.
-- Returns '1'
local args, keys = ... -- requires
redis.call('HSET', keys.audit_log, 'logged', args.id)
redis.call('HDEL', keys.audit_log, 'due')
return '1'
