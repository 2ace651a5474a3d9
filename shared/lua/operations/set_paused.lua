#!lua flags=allow-oom
-- Pause or resume a queue, the calls of a model or the use of a provider key. Jobs that a worker already holds continue
-- in all cases.
-- Returns 'ok' | 'unknown': there is no such provider key
local args, audit, clock, keys, permits, provider_keys, queue, util = ... -- requires
local before = audit.replay(args)
if before then return before end
local kind, subject = string.match(args.subject, '^(%l+):(.*)$')
if kind == 'key' and not provider_keys.is_known(util.read_hash(keys.gate) or {}, subject) then return { 'unknown' } end
local field = 'paused:' .. args.subject
if args.action == 'pause' then
  redis.call('HSETNX', keys.gate, field, util.int(clock.now()))
else
  redis.call('HDEL', keys.gate, field)
  if kind == 'key' then redis.call('HDEL', keys.gate, 'no_key') end
  local q = args.subject == 'deliver' and queue.deliveries or queue.jobs
  while permits.push(q) do
  end
end
local of = ({ model = 'model.', key = 'provider_key.' })[kind] or 'queue.'
return audit.record(args, of .. args.action, subject or args.subject, '{}', { 'ok' })
