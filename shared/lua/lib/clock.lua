-- Redis' clock, the only one that decides anything.
local M = {}

M.MINUTE_MS, M.DAY_MS = 60000, 86400000

-- Return the milliseconds since 1970.
function M.now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Return the day since 1970, in UTC.
function M.day(now) return math.floor(now / M.DAY_MS) end

-- Return the milliseconds until the end of the day.
function M.ms_to_midnight(now) return (M.day(now) + 1) * M.DAY_MS - now end

return M
