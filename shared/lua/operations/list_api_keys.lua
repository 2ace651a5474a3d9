#!lua flags=no-writes
-- List the keys of a tenant, or of the operators ('@operators'), the oldest first, including those that ended
-- recently.
-- Returns 'missing' | 'ok' { id, 'state', state, field, value, ... } for each
local args, api_keys, clock, keys, util = ... -- requires
if not api_keys.has_keys(args.tenant) then return { 'missing' } end
local reply, now = { 'ok' }, clock.now()
for _, id in ipairs(redis.call('ZRANGE', keys.api_keys(args.tenant), 0, -1)) do
  local key = util.read_hash(keys.api_key(id))
  if key then
    local one = { id, 'state', api_keys.state(key, now) }
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
