#!lua flags=allow-oom
-- Pauses a queue or the calls of a model, or lets them go on. Who holds something goes on with it either way.
-- KEYS  1 the gate
-- ARGV  1 word  2 by  3 request  4 `generate`, `deliver` or `model:<id>`  5 'pause' or 'resume'
-- Gives 'ok'
local before = dr.replay(ARGV)
if before then return before end
local field, model = 'paused:' .. ARGV[4], string.match(ARGV[4], '^model:(.*)$')
if ARGV[5] == 'pause' then
  redis.call('HSETNX', KEYS[1], field, dr.int(dr.now()))
else
  redis.call('HDEL', KEYS[1], field)
  local q = ARGV[4] == 'deliver' and dr.deliveries or dr.jobs
  while dr.permit(q) do end
end
return dr.audit(ARGV, (model and 'model.' or 'queue.') .. ARGV[5], model or ARGV[4], '{}', { 'ok' })
