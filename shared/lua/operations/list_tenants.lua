#!lua flags=no-writes
-- List tenants by name, or read one.
-- Returns { name, queued, running, { lines of budgets.describe }, field, value, ... } for each
local args, budgets, clock, index, keys, limits, util = ... -- requires
local reply, now = {}, clock.now()
for _, name in ipairs(redis.call('ZRANGE', keys.tenants, args.lower, args.upper, 'BYLEX', 'LIMIT', 0, args.limit)) do
  local one = {
    name,
    index.count_queued(name),
    redis.call('ZCARD', keys.jobs_by(name, 'status', 'running')),
    budgets.describe_all(limits.load(name, '').budgets, now),
  }
  for field, value in pairs(util.read_hash(keys.tenant(name)) or {}) do
    if field ~= 'webhook_secret' then
      one[#one + 1] = field
      one[#one + 1] = value
    end
  end
  reply[#reply + 1] = one
end
return reply
