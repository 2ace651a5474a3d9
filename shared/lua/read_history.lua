#!lua flags=no-writes
-- Reads the counters as they stood in the last hours, the oldest first, and as they stand.
-- KEYS  1 the history of one step
-- ARGV  1 how far back (ms)
-- Gives 'ms value value ...' for each sample, in the order of C.sampled; the last is of now
local now, lines = dr.now(), {}

local function line(at, flat)
  local words = { at }
  for i = 2, #flat, 2 do words[#words + 1] = flat[i] == '' and '-' or flat[i] end
  lines[#lines + 1] = table.concat(words, ' ')
end

for _, entry in ipairs(redis.call('XRANGE', KEYS[1], dr.int(now - ARGV[1]), '+')) do
  line(string.match(entry[1], '^%d+'), entry[2])
end
line(dr.int(now), dr.sample(now))
return lines
