#!lua flags=no-writes
-- Lists jobs, newest first: walks the smallest of the indexes named, keeps what is in all of them.
-- KEYS  1... indexes: the job must be in one of the first few, and in each of the rest
-- ARGV  1 upper bound of ids ('+' or '(id')  2 lower bound ('-' or '[id')
--       3 most jobs  4 most looked at  5 model ('' any)  6 created after  7 created before ('' any)
--       8 how many indexes are the first few  9 tag ('' any)  10 '1' for records, '' for ids alone
-- Gives { id to go on before ('' at the end), record or id, ... }, a record as { id, rank, reason,
--       eta, name, value, ... }, of which rank to eta as dr.position has them
local some, rest = {}, {}
for i, index in ipairs(KEYS) do
  local kind = i <= tonumber(ARGV[8]) and some or rest
  kind[#kind + 1] = index
end

local walked, size = some, 0
for _, index in ipairs(some) do size = size + redis.call('ZCARD', index) end
for _, index in ipairs(rest) do
  local other = redis.call('ZCARD', index)
  if other < size then walked, size = { index }, other end
end

local function in_some(id)
  if walked == some then return true end
  for _, index in ipairs(some) do
    if redis.call('ZSCORE', index, id) then return true end
  end
  return false
end

local function in_rest(id)
  for _, index in ipairs(rest) do
    if index ~= walked[1] and not redis.call('ZSCORE', index, id) then return false end
  end
  return true
end

local function tagged(spec)
  for _, tag in ipairs(cjson.decode(spec).tags or {}) do
    if tag == ARGV[9] then return true end
  end
  return false
end

local after, before = tonumber(ARGV[6]), tonumber(ARGV[7])
local function fits(record)
  local created = tonumber(record.created)
  return (ARGV[5] == '' or record.model == ARGV[5])
    and (not after or created > after) and (not before or created < before)
    and (ARGV[9] == '' or tagged(record.spec))
end

local now, outlooks = dr.now(), {}
local function summary(id, record)
  if ARGV[10] == '' then return id end
  local flat = { id, dr.position(id, record, now, outlooks) }
  for name, value in pairs(record) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  return flat
end

-- The next ids of the indexes walked, in one order.
local function ids_below(upper, count)
  local ids = {}
  for _, index in ipairs(walked) do
    local found = redis.call('ZRANGE', index, upper, ARGV[2], 'BYLEX', 'REV', 'LIMIT', 0, count)
    for _, id in ipairs(found) do ids[#ids + 1] = id end
  end
  if #walked > 1 then table.sort(ids, function(a, b) return a > b end) end
  for i = #ids, count + 1, -1 do ids[i] = nil end
  return ids
end

-- In pieces: what lies behind the page is not read.
local PIECE = 50
local most, left, bound = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[1]
local reply = { '' }
while left > 0 do
  local count = math.min(math.max(most, PIECE), left)
  local ids = ids_below(bound, count)
  for _, id in ipairs(ids) do
    local record = in_some(id) and in_rest(id) and dr.record(id)
    if record and fits(record) then
      reply[#reply + 1] = summary(id, record)
      if #reply > most then
        if #ids_below('(' .. id, 1) > 0 then reply[1] = id end
        return reply
      end
    end
  end
  if #ids < count then return reply end
  left, bound = left - count, '(' .. ids[count]
end
reply[1] = string.sub(bound, 2)
return reply
