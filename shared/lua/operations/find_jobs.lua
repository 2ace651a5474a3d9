#!lua flags=no-writes
-- List jobs, newest first: walk the smallest of the named indexes, and keep what is in all of them. `scan_limit` and
-- the bytes of specs that are read bound the work, so that Redis is never blocked for long: the page is short then.
-- Returns { id to go on before ('' at the end), record or id, ... }, a record as { id, rank, reason,
--       eta, { name, value, ... } }, of which rank to eta as wait_estimate.position has them
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

local wanted_words = {}
for word in string.gmatch(args.words, '[^ ]+') do
  wanted_words[#wanted_words + 1] = word
end

-- Return whether a text contains all wanted words, even within other words. This rejects almost every other record,
-- much faster than splitting its prompt.
local function contains_words(text)
  for _, word in ipairs(wanted_words) do
    if not string.find(text, word, 1, true) then return false end
  end
  return true
end

-- Return whether all wanted words are among those of an ASCII prompt, which `shared/words.py` defines.
local function has_ascii_words(prompt)
  local missing, missing_count = {}, #wanted_words
  for _, word in ipairs(wanted_words) do
    missing[word] = true
  end
  local seen, different = {}, 0
  for word in string.gmatch(string.lower(prompt), '%w+') do
    if #word > C.word_characters then word = string.sub(word, 1, C.word_characters) end
    if not seen[word] then
      seen[word], different = true, different + 1
      if missing[word] then missing_count = missing_count - 1 end
      if missing_count == 0 then return true end
      if different == C.words_max then return false end
    end
  end
  return false
end

local function has_words(record, spec)
  if not record.words then return has_ascii_words(spec.input.prompt or '') end
  for _, word in ipairs(wanted_words) do
    if not util.has_word(word, record.words) then return false end
  end
  return true
end

local seed, metadata = tonumber(args.seed), cjson.decode(args.metadata)
local has_wanted_words = #wanted_words > 0
local reads_spec = seed or next(metadata) or has_wanted_words
local bytes_left = C.search_bytes
local function spec_matches(record)
  -- JSON escapes no character of an ASCII word
  if has_wanted_words and not contains_words(record.words or string.lower(record.spec)) then return false end
  local spec = cjson.decode(record.spec)
  if seed and spec.input.seed ~= seed then return false end
  for name, value in pairs(metadata) do
    if (spec.metadata or {})[name] ~= value then return false end
  end
  return not has_wanted_words or has_words(record, spec)
end

-- A record that cannot be read matches nothing, and does not stop the search.
local function spec_fits(record)
  bytes_left = bytes_left - #(record.spec or '') - #(record.words or '')
  local is_readable, matches = pcall(spec_matches, record)
  return is_readable and matches
end

-- Return the model that makes or made the image, as `Job.served_model` does; nil while it may still change.
local function served_model(record)
  local status = jobs.status(record.state)
  local was_called = status ~= 'queued' and tonumber(record.calls or 0) > 0
  local is_known = status == 'running' or record.image or record.answer or record.pending or was_called
  return is_known and record.model or nil
end

local after, before = tonumber(args.created_after), tonumber(args.created_before)
local function fits(record)
  local created = tonumber(record.created)
  local model = record.models and string.match(record.models, '^%S+') or record.model
  return (args.model == '' or model == args.model)
    and (args.served_model == '' or served_model(record) == args.served_model)
    and (not after or created > after)
    and (not before or created < before)
    and (args.tag == '' or string.find('\n' .. (record.tags or '') .. '\n', '\n' .. args.tag .. '\n', 1, true))
    and (not reads_spec or spec_fits(record))
end

local now, wait_states = clock.now(), {}
local function summary(id, record, flat)
  if args.records == '' then return id end
  local rank, reason, eta = wait_estimate.position(id, record, now, wait_states)
  return { id, rank, reason, eta, flat }
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

local function end_at(id)
  if #ids_below('(' .. id, 1) > 0 then reply[1] = id end
  return reply
end

while left > 0 do
  local count = math.min(math.max(most, PIECE), left)
  local ids = ids_below(bound, count)
  for _, id in ipairs(ids) do
    local record, flat
    if in_some(id) and in_rest(id) then
      record, flat = jobs.read(id)
    end
    if record and fits(record) then
      reply[#reply + 1] = summary(id, record, flat)
      if #reply > most then return end_at(id) end
    end
    if bytes_left <= 0 then return end_at(id) end
  end
  if #ids < count then return reply end
  left, bound = left - count, '(' .. ids[count]
end
reply[1] = string.sub(bound, 2)
return reply
