#!lua flags=no-writes
-- Lists tenants by name, or reads one.
-- KEYS  1 the names of all tenants
-- ARGV  1 lower bound of names ('-', '(name' or '[name')  2 upper bound ('+' or '[name')  3 most
-- Gives { name, queued, running, field, value, ... } for each
local reply = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])) do
  local one = {
    name, dr.queued(name),
    redis.call('ZCARD', dr.index_key(name, 'status', 'running')),
  }
  for field, value in pairs(dr.hash(dr.tenant_key(name)) or {}) do
    if field ~= 'webhook_secret' then
      one[#one + 1] = field
      one[#one + 1] = value
    end
  end
  reply[#reply + 1] = one
end
return reply
