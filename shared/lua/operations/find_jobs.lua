#!lua flags=no-writes
-- List jobs, newest first: walk the smallest of the named indexes, and keep what is in all of them.
-- Returns { id to go on before ('' at the end), record or id, ... }, a record as { id, rank, reason,
--       eta, name, value, ... }, of which rank to eta as wait_estimate.position has them
local args, clock, jobs, util, wait_estimate = ... -- requires
local some, rest = {}, {}
for i, index in ipairs(args.indexes) do
  local kind = i <= tonumber(args.any_count) and some or rest
  kind[#kind + 1] = index
end

local walked, size = some, 0
for _, index in ipairs(some) do
  size = size + redis.call('ZCARD', index)
end
for _, index in ipairs(rest) do
  local other = redis.call('ZCARD', index)
  if other < size then
    walked, size = { index }, other
  end
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

-- Return the words of an ASCII prompt as `shared/words.py` does.
local function ascii_words(prompt)
  local found, seen = {}, {}
  for word in string.gmatch(string.lower(prompt), '%w+') do
    word = string.sub(word, 1, C.word_characters)
    if not seen[word] and #found < C.words_max then
      seen[word] = true
      found[#found + 1] = word
    end
  end
  return table.concat(found, ' ')
end

local function has_words(record, spec)
  local own = record.words or ascii_words(spec.input.prompt or '')
  for word in string.gmatch(args.words, '[^ ]+') do
    if not util.has_word(word, own) then return false end
  end
  return true
end

local seed, metadata = tonumber(args.seed), cjson.decode(args.metadata)
local reads_spec = seed or next(metadata) or args.words ~= ''
local function spec_fits(record)
  local spec = cjson.decode(record.spec)
  if seed and spec.input.seed ~= seed then return false end
  for name, value in pairs(metadata) do
    if (spec.metadata or {})[name] ~= value then return false end
  end
  return has_words(record, spec)
end

local after, before = tonumber(args.created_after), tonumber(args.created_before)
local function fits(record)
  local created = tonumber(record.created)
  return (args.model == '' or record.model == args.model)
    and (not after or created > after)
    and (not before or created < before)
    and (args.tag == '' or string.find('\n' .. (record.tags or '') .. '\n', '\n' .. args.tag .. '\n', 1, true))
    and (not reads_spec or spec_fits(record))
end

local now, wait_states = clock.now(), {}
local function summary(id, record)
  if args.records == '' then return id end
  local flat = { id, wait_estimate.position(id, record, now, wait_states) }
  util.append_fields(flat, record)
  return flat
end

-- Return the next ids of the walked indexes, in one order.
local function ids_below(upper, count)
  local ids = {}
  for _, index in ipairs(walked) do
    local found = redis.call('ZRANGE', index, upper, args.lower, 'BYLEX', 'REV', 'LIMIT', 0, count)
    util.append(ids, found)
  end
  if #walked > 1 then table.sort(ids, function(a, b) return a > b end) end
  for i = #ids, count + 1, -1 do
    ids[i] = nil
  end
  return ids
end

-- Read in chunks, so that little beyond the page is read.
local PIECE = 50
local most, left, bound = tonumber(args.limit), tonumber(args.scan_limit), args.upper
local reply = { '' }
while left > 0 do
  local count = math.min(math.max(most, PIECE), left)
  local ids = ids_below(bound, count)
  for _, id in ipairs(ids) do
    local record = in_some(id) and in_rest(id) and jobs.read(id)
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
