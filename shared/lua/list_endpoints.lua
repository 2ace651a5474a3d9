#!lua flags=no-writes
-- Lists a tenant's endpoints, the newest first, or reads one.
-- KEYS  1 the index
-- ARGV  1 tenant  2 one id ('' all)  3 below this time (ms, '' none)  4 and this id  5 most
-- Gives { time, id to go on below ('' at the end), { id, parked, record... }, ... }
local most, reply = tonumber(ARGV[5]), { '', '' }
local ids = { ARGV[2] }
if ARGV[2] == '' then
  local from = ARGV[3] ~= '' and ARGV[3] or '+inf'
  -- those of one time come again: few, since each is a new address
  ids = redis.call('ZRANGE', KEYS[1], from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, most + 200)
end
for i, id in ipairs(ids) do
  local record = dr.hash(dr.endpoint_key(id))
  local below = ARGV[3] == '' or (record and (tonumber(record.created) < tonumber(ARGV[3]) or id < ARGV[4]))
  if record and record.tenant == ARGV[1] and below then
    local flat = { id, redis.call('ZCARD', '{dr}:parked:' .. id) }
    record.webhook_secret = record.webhook_secret and '1'
    record.webhook_old = nil
    for name, value in pairs(record) do
      flat[#flat + 1] = name
      flat[#flat + 1] = value
    end
    reply[#reply + 1] = flat
    if #reply == most + 2 then
      if i < #ids then reply[1], reply[2] = record.created, id end
      return reply
    end
  end
end
return reply
