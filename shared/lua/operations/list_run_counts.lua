#!lua flags=no-writes
-- List the run counts of a tenant, or of all ('').
-- Returns { now, the first day of which Redis has all counts, 'day tenant', ... }
local args, clock, keys, run_counts, util = ... -- requires
local now = clock.now()

-- Days are by their number, and by the negative one once the history has them.
local function earliest()
  local pending = redis.call('ZRANGE', keys.counted_days, 0, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  local written = redis.call('ZRANGE', keys.counted_days, 0, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')
  local day = math.min(tonumber(pending[2]) or math.huge, -(tonumber(written[2]) or -math.huge), clock.day(now))
  return math.max(day, run_counts.first_day(now))
end

local function of_tenant(first, last)
  local names = {}
  for day = math.max(first, run_counts.first_day(now)), math.min(last, clock.day(now)) do
    local name = util.int(day) .. ' ' .. args.tenant
    if redis.call('ZSCORE', keys.counted_days, name) then names[#names + 1] = name end
  end
  return names
end

local first, last = tonumber(args.first), tonumber(args.last)
local reply = { util.int(now), util.int(earliest()) }
if args.tenant ~= '' then return util.append(reply, of_tenant(first, last)) end
util.append(reply, redis.call('ZRANGE', keys.counted_days, first, last, 'BYSCORE'))
return util.append(reply, redis.call('ZRANGE', keys.counted_days, -last, -first, 'BYSCORE'))
