#!lua flags=no-writes
-- Reads an API key and the tenant it belongs to.
-- KEYS  1 the key
-- Gives {} where there is no such key, else { 'state', 'living' | 'revoked' | 'expired',
--       fields of the key..., 'tenant.' fields... }
local key = dr.hash(KEYS[1])
if not key then return {} end
local reply = { 'state', dr.key_state(key, dr.now()) }
for name, value in pairs(key) do
  reply[#reply + 1] = name
  reply[#reply + 1] = value
end
for name, value in pairs(dr.hash(dr.tenant_key(key.tenant)) or {}) do
  if string.sub(name, 1, 8) ~= 'webhook_' then
    reply[#reply + 1] = 'tenant.' .. name
    reply[#reply + 1] = value
  end
end
return reply
