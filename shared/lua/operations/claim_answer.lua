#!lua flags=allow-oom
-- Sees that what a look-up gave a paid job is the job's own, before it is fetched.
-- Returns 'ok' | 'repeated' (the record or the URL of another job) | 'lost'
local args, answers, clock, keys = ... -- requires
local known = redis.call('HMGET', keys.job(args.id), 'fence', 'state')
if known[1] ~= args.fence or known[2] ~= 'fetching' then return 'lost' end
return answers.is_repeated(args.identities, clock.now()) and 'repeated' or 'ok'
