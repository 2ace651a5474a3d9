#!lua flags=no-writes
-- Reads what else operators see at a glance: what ever came of jobs, and the failed ones by code.
-- Returns { name, value, ... } of the first, { how many failed jobs are kept with each code }
local args, keys = ... -- requires
local failed = {}
for i, code in ipairs(args.codes) do
  failed[i] = redis.call('ZCARD', keys.jobs_by('', 'error', code))
end
return { redis.call('HGETALL', keys.totals), failed }
