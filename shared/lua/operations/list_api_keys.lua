#!lua flags=no-writes
-- List the keys of a tenant, or of the operators ('@operators'), the oldest first, including those that ended
-- recently.
-- Returns 'missing' | 'ok' { as api_keys.describe } for each
local args, api_keys, clock, keys = ... -- requires
if not api_keys.has_keys(args.tenant) then return { 'missing' } end
local reply, now = { 'ok' }, clock.now()
for _, id in ipairs(redis.call('ZRANGE', keys.api_keys(args.tenant), 0, -1)) do
  reply[#reply + 1] = api_keys.describe(id, now)
end
return reply
