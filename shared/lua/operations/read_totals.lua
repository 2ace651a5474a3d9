#!lua flags=no-writes
-- Read the other totals of the operators' overview: outcomes of all jobs ever, and failed jobs by code.
-- Returns { name, value, ... } of the first, { how many failed jobs are kept with each code }
local args, keys = ... -- requires
local failed = {}
for i, code in ipairs(args.codes) do
  failed[i] = redis.call('ZCARD', keys.jobs_by('', 'error', code))
end
return { redis.call('HGETALL', keys.totals), failed }
