#!lua flags=no-writes
-- Reads what else operators see at a glance: what ever came of jobs, and the failed ones by code.
-- KEYS  1 what ever came of jobs
-- ARGV  1... error codes
-- Gives { name, value, ... } of the first, { how many failed jobs are kept with each code }
local failed = {}
for i, code in ipairs(ARGV) do failed[i] = redis.call('ZCARD', dr.index_key('', 'error', code)) end
return { redis.call('HGETALL', KEYS[1]), failed }
