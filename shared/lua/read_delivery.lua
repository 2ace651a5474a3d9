#!lua flags=no-writes
-- Reads one delivery with its endpoint's address.
-- KEYS  1 the delivery
-- ARGV  1 tenant ('' any)
-- Gives {} where there is none of this tenant, else { url, record... }
local record = dr.hash(KEYS[1])
if not record or (ARGV[1] ~= '' and record.tenant ~= ARGV[1]) then return {} end
local url = redis.call('HGET', dr.endpoint_key(record.endpoint), 'url') or ''
local reply = { url .. (record.query or '') }
for name, value in pairs(record) do
  if name ~= 'snapshot' and name ~= 'hook' then
    reply[#reply + 1] = name
    reply[#reply + 1] = value
  end
end
return reply
