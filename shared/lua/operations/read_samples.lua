#!lua flags=no-writes
-- Read the counters of the last hours, oldest first, and the current ones.
-- Returns 'ms value value ...' for each sample, in the order of C.sampled; the last is of now
local args, clock, keys, stats, util = ... -- requires
local now, lines = clock.now(), {}

local function line(at, flat)
  local words = { at }
  for i = 2, #flat, 2 do
    words[#words + 1] = flat[i] == '' and '-' or flat[i]
  end
  lines[#lines + 1] = table.concat(words, ' ')
end

for _, entry in ipairs(redis.call('XRANGE', keys.samples(args.step_ms), util.int(now - args.back_ms), '+')) do
  line(string.match(entry[1], '^%d+'), entry[2])
end
line(util.int(now), stats.sample(now))
return lines
