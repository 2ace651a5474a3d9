#!lua flags=allow-oom
-- Check that the answer of a look-up belongs to this paid job, before its image is downloaded.
-- Returns 'ok' | 'repeated' (the record or the URL of another job) | 'lost'
local args, answers, clock, keys = ... -- requires
local known = redis.call('HMGET', keys.job(args.id), 'fence', 'state')
if known[1] ~= args.fence or known[2] ~= 'fetching' then return 'lost' end
return answers.is_repeated(args.identities, clock.now()) and 'repeated' or 'ok'
