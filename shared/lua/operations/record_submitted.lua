#!lua flags=allow-oom
-- Record that the provider processes a job under a record of its own: from now on the outcome is looked up there, and
-- never unknown.
-- Returns 'ok' | 'repeated' (nothing is recorded: it is the record of another job) | 'lost'
local args, answers, clock, keys = ... -- requires
local known = redis.call('HMGET', keys.job(args.id), 'fence', 'state', 'record_id')
if known[1] ~= args.fence or known[2] ~= 'calling' then return 'lost' end
if answers.is_repeated(args.identities, clock.now()) then
  redis.call('HDEL', keys.job(args.id), 'pending', 'record_id')
  return 'repeated'
end
redis.call('HSET', keys.job(args.id), 'pending', args.record_id, 'record_id', args.record_id)
-- as at the checkpoint; but a record that replaces another is no progress, and such a job would never end
if not known[3] then redis.call('HDEL', keys.job(args.id), 'worker_losses_here', 'isolated') end
return 'ok'
