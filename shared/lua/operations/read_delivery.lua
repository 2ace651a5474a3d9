#!lua flags=no-writes
-- Read one delivery with its endpoint's URL.
-- Returns {} if there is none of this tenant, else { url, record... }
local args, keys, util = ... -- requires
local record = util.read_hash(keys.delivery(args.id))
if not record or (args.tenant ~= '' and record.tenant ~= args.tenant) then return {} end
local url = redis.call('HGET', keys.endpoint(record.endpoint), 'url') or ''
local reply = { url .. (record.query or '') }
for name, value in pairs(record) do
  if name ~= 'snapshot' and name ~= 'webhook' then
    reply[#reply + 1] = name
    reply[#reply + 1] = value
  end
end
return reply
