#!lua flags=no-writes
-- Lists deliveries, the newest first: of a tenant or of all, or of one job.
-- KEYS  1 the index  2 the job (or the index again)
-- ARGV  1 tenant ('' any)  2 job ('' any)  3 status ('' any)  4 below this time (ms, '' none)
--       5 and this id  6 most  7 most looked at  8 host ('' any)
-- Gives { time, id to go on below ('' at the end), { id, url, record... }, ... }; of the log only
--       the last attempt
local most, looked = tonumber(ARGV[6]), tonumber(ARGV[7])

-- The ids to look at, and whether there may be more.
local function candidates()
  if ARGV[2] == '' then
    local from = ARGV[4] ~= '' and ARGV[4] or '+inf'
    local ids = redis.call('ZRANGE', KEYS[1], from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, looked)
    return ids, #ids == looked
  end
  local ids = {}
  if ARGV[1] == '' or redis.call('HGET', KEYS[2], 'tenant') == ARGV[1] then
    for _, id in ipairs(dr.deliveries_of(ARGV[2], KEYS[2])) do table.insert(ids, 1, id) end
  end
  return ids, false
end

local ids, more = candidates()
local reply = { '', '' }
-- Of those of one time, what was told before comes again: it is passed over.
local passed = ARGV[4] == ''
local function is_below(id)
  if passed then return true end
  local at = redis.call('ZSCORE', KEYS[1], id)
  passed = at and tonumber(at) < tonumber(ARGV[4]) or false
  return passed or id < ARGV[5]
end

local function stop_at(id)
  reply[1], reply[2] = redis.call('ZSCORE', KEYS[1], id) or '', id
  return reply
end

local function fits(record)
  return (ARGV[3] == '' or record.state == ARGV[3]) and (ARGV[8] == '' or record.host == ARGV[8])
end

for i, id in ipairs(ids) do
  local record = is_below(id) and dr.hash(dr.delivery_key(id))
  if record and fits(record) then
    local url = redis.call('HGET', dr.endpoint_key(record.endpoint), 'url') or ''
    local flat = { id, url .. (record.query or '') }
    record.snapshot, record.hook = nil, nil
    record.log = record.log and string.match(record.log, '[^\n]*$')
    for name, value in pairs(record) do
      flat[#flat + 1] = name
      flat[#flat + 1] = value
    end
    reply[#reply + 1] = flat
    if #reply == most + 2 then
      if i < #ids or more then return stop_at(id) end
      return reply
    end
  end
end
if more then return stop_at(ids[#ids]) end
return reply
