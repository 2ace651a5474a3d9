#!lua flags=no-writes
-- Lists the keys of a tenant, or of the operators ('@operators'), the oldest first, with those that
-- ended lately.
-- KEYS  1 the tenant's keys  2 the tenant
-- ARGV  1 tenant
-- Gives 'missing' | 'ok' { id, 'state', state, field, value, ... } for each
if not dr.has_keys(ARGV[1]) then return { 'missing' } end
local reply, now = { 'ok' }, dr.now()
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = dr.hash(dr.api_key_key(id))
  if key then
    local one = { id, 'state', dr.key_state(key, now) }
    for field, value in pairs(key) do
      if field ~= 'hash' then
        one[#one + 1] = field
        one[#one + 1] = value
      end
    end
    reply[#reply + 1] = one
  end
end
return reply
