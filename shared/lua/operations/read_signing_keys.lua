#!lua flags=no-writes
-- Read the secrets that open image URLs.
-- Returns the current one, earlier ones that are still valid...; nothing before the first is created
local clock, keys = ... -- requires
local current = redis.call('GET', keys.signing_key)
local reply = current and { current } or {}
for _, key in ipairs(redis.call('ZRANGE', keys.old_signing_keys, '(' .. clock.now(), '+inf', 'BYSCORE')) do
  reply[#reply + 1] = key
end
return reply
