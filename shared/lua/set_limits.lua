#!lua flags=allow-oom
-- Sets what a tenant may, and lets its place in the queue follow at once.
-- KEYS  1 the tenant
-- ARGV  1 word ('' where no operator asks)  2 by  3 request  4 tenant  5 what changes (JSON)
--       6... name, value ('' none) of each limit
-- Gives 'ok' | 'missing' (to an operator)
local asked = ARGV[1] ~= ''
local before = asked and dr.replay(ARGV)
if before then return before end
if asked and redis.call('HEXISTS', KEYS[1], 'webhook_secret') == 0 then return { 'missing' } end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
dr.reset_group(dr.jobs, ARGV[4])
dr.reweigh(ARGV[4])
-- a cap that opens lets many at once, and who waits for the next sweep leaves threads idle
while dr.permit(dr.jobs) do end
return asked and dr.audit(ARGV, 'tenant.set', ARGV[4], ARGV[5], { 'ok' }) or { 'ok' }
