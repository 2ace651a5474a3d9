#!lua flags=allow-oom
-- Pause or resume a queue or the calls of a model. Jobs that a worker already holds continue in both cases.
-- Returns 'ok'
local args, audit, clock, keys, permits, queue, util = ... -- requires
local before = audit.replay(args)
if before then return before end
local field, model = 'paused:' .. args.subject, string.match(args.subject, '^model:(.*)$')
if args.action == 'pause' then
  redis.call('HSETNX', keys.gate, field, util.int(clock.now()))
else
  redis.call('HDEL', keys.gate, field)
  local q = args.subject == 'deliver' and queue.deliveries or queue.jobs
  while permits.push(q) do
  end
end
return audit.record(args, (model and 'model.' or 'queue.') .. args.action, model or args.subject, '{}', { 'ok' })
