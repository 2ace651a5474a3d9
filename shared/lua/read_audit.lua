#!lua flags=no-writes
-- Reads what operators did, newest first.
-- KEYS  1 the audit
-- ARGV  1 upper bound of ids ('+' or '(id')  2 most
-- Gives { id, { field, value, ... } } for each
return redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])
