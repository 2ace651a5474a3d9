#!lua flags=no-writes
-- Read an API key and the tenant it belongs to.
-- Returns {} if there is no such key, else { 'state', 'living' | 'revoked' | 'expired',
--       fields of the key..., 'tenant.' fields... }
local args, api_keys, clock, keys, util = ... -- requires
local key = util.read_hash(keys.api_key(args.id))
if not key then return {} end
local reply = { 'state', api_keys.state(key, clock.now()) }
util.append_fields(reply, key)
for name, value in pairs(util.read_hash(keys.tenant(key.tenant)) or {}) do
  if string.sub(name, 1, 8) ~= 'webhook_' then
    reply[#reply + 1] = 'tenant.' .. name
    reply[#reply + 1] = value
  end
end
return reply
