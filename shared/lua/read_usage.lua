#!lua flags=no-writes
-- Reads what a tenant may, what it uses now, and what it spent by day.
-- KEYS  1 the tenant
-- ARGV  1 tenant  2 days, today included
-- Gives { now, limits (in the order asked for), running, queued, reserved_credits, { rate... },
--         day, { fields... }, day, ... }, newest first; days without a call are left out
local tenant, now = ARGV[1], dr.now()
local limits = redis.call('HMGET', KEYS[1], 'weight', 'max_running', 'max_queued',
  'requests_per_minute', 'daily_credits', 'budget_action', 'may_disable_safety')
for i = 1, 7 do limits[i] = limits[i] or '' end
local reply = {
  dr.int(now), limits,
  redis.call('HGET', dr.jobs.group .. tenant, 'running') or '0',
  dr.queued(tenant),
  redis.call('HGET', '{dr}:reserved_credits', tenant) or '0',
  dr.with_rate({}, { tenant = tenant, now = now, may = dr.load_limits(tenant) }),
}
for day = dr.day(now), dr.day(now) - ARGV[2] + 1, -1 do
  local fields = redis.call('HGETALL', dr.usage_key(tenant, day))
  if #fields > 0 then
    reply[#reply + 1] = dr.int(day * 86400000)
    reply[#reply + 1] = fields
  end
end
return reply
