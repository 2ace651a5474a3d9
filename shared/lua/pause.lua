#!lua flags=allow-oom
-- Pauses a queue, or lets it go on. Who holds something goes on with it either way.
-- KEYS  1 the gate
-- ARGV  1 word  2 by  3 request  4 queue  5 'pause' or 'resume'
-- Gives 'ok'
local before = dr.answered(ARGV)
if before then return before end
local field = 'paused:' .. ARGV[4]
if ARGV[5] == 'pause' then
  redis.call('HSETNX', KEYS[1], field, dr.int(dr.now()))
else
  redis.call('HDEL', KEYS[1], field)
  local q = ARGV[4] == 'generate' and dr.jobs or dr.deliveries
  while dr.permit(q) do end
end
return dr.audit(ARGV, 'queue.' .. ARGV[5], ARGV[4], '{}', { 'ok' })
