-- General helpers.
local M = {}

-- Return a whole number as text; Lua's own tostring turns large ones into 1.7e+12.
function M.int(number) return string.format('%.0f', number) end

-- Return a list of name, value, name, value as a table.
function M.fields(flat)
  local found = {}
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  return found
end

-- Return a hash as a table, or nil if there is no such hash.
function M.read_hash(key)
  local flat = redis.call('HGETALL', key)
  return #flat > 0 and M.fields(flat) or nil
end

-- Return whether `state` is one of the words in `allowed`, separated by spaces.
function M.has_word(state, allowed) return string.find(' ' .. allowed .. ' ', ' ' .. state .. ' ', 1, true) ~= nil end

-- Append a line to a log, of which the newest `most` are kept.
function M.append_line(log, line, most)
  if not log then return line end
  local _, newlines = string.gsub(log, '\n', '\n')
  if newlines + 1 >= most then log = string.sub(log, string.find(log, '\n', 1, true) + 1) end
  return log .. '\n' .. line
end

-- Return the fields of a new record as name, value, ..., without those that have their default, to save memory in a
-- million records.
function M.omit_defaults(record)
  local kept = {}
  for name, value in pairs(record) do
    if C.defaults[name] ~= value then
      kept[#kept + 1], kept[#kept + 2] = name, value
    end
  end
  return kept
end

-- Return the words of a text as a list.
function M.words(text)
  local words = {}
  for word in string.gmatch(text, '%S+') do
    words[#words + 1] = word
  end
  return words
end

-- Return the tags of a record, which stores one per line.
function M.tags(lines)
  local tags = {}
  for tag in string.gmatch(lines or '', '[^\n]+') do
    tags[#tags + 1] = tag
  end
  return tags
end

-- Append the fields of a hash to a list, as name, value, name, value.
function M.append_fields(list, hash)
  for name, value in pairs(hash) do
    list[#list + 1], list[#list + 2] = name, value
  end
  return list
end

-- Return a table with the members of both; those of the second count.
function M.merge(first, second)
  local all = {}
  for _, one in ipairs({ first, second }) do
    for name, value in pairs(one) do
      all[name] = value
    end
  end
  return all
end

-- Append values to a list.
function M.append(list, values)
  for _, value in ipairs(values) do
    list[#list + 1] = value
  end
  return list
end

-- Return the values of a list from a position on.
function M.slice(list, from)
  local values = {}
  for i = from, #list do
    values[#values + 1] = list[i]
  end
  return values
end

return M
