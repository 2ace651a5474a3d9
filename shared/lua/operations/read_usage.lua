#!lua flags=no-writes
-- Read the limits of a tenant and of the key that asks, what they use now, and what the tenant spent by day.
-- Returns { now, limits (in the order asked for), running, queued, reserved_credits, { rate... },
--         requests per minute of the key ('' no limit), { lines of budgets.describe },
--         day, { fields... }, day, ... }, newest first; days without a call are left out
local args, admission, budgets, clock, index, keys, limits, queue, util = ... -- requires
local tenant, now = args.tenant, clock.now()
local given = redis.call(
  'HMGET',
  keys.tenant(args.tenant),
  'weight',
  'max_running',
  'max_queued',
  'requests_per_minute',
  'daily_credits',
  'monthly_credits',
  'budget_action',
  'may_disable_safety'
)
for i = 1, 8 do
  given[i] = given[i] or ''
end
local may, key_requests = limits.load(tenant, args.api_key), ''
for _, rate in ipairs(may.rates) do
  if rate.scope == 'key' then key_requests = util.int(rate.limit) end
end
local reply = {
  util.int(now),
  given,
  redis.call('HGET', queue.jobs.group .. tenant, 'running') or '0',
  index.count_queued(tenant),
  redis.call('HGET', keys.reserved_credits, tenant) or '0',
  admission.with_rate({}, { now = now, may = may }),
  key_requests,
  budgets.describe_all(may.budgets, now),
}
for day = clock.day(now), clock.day(now) - args.days + 1, -1 do
  local fields = redis.call('HGETALL', keys.usage(tenant, util.int(day)))
  if #fields > 0 then
    reply[#reply + 1] = util.int(day * 86400000)
    reply[#reply + 1] = fields
  end
end
return reply
