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

-- Days from 1 March of the year 0 to 1 January 1970, and in 400 years of the Gregorian calendar. A year that begins in
-- March ends with its leap day, and its months before the m-th (0: March) have (153 * m + 2) / 5 days.
local TO_1970, DAYS_400 = 719468, 146097

local function first_of(year, month)
  local leap_days = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leap_days + math.floor((153 * month + 2) / 5) - TO_1970
end

-- Return the first day of the month (since 1970, in UTC), and that of the next month.
function M.month(now)
  local day = M.day(now) + TO_1970
  local in_400 = day % DAYS_400
  local leap_days = math.floor(in_400 / 1460) - math.floor(in_400 / 36524) + math.floor(in_400 / (DAYS_400 - 1))
  local year = math.floor(day / DAYS_400) * 400 + math.floor((in_400 - leap_days) / 365)
  local month = math.floor((5 * (M.day(now) - first_of(year, 0)) + 2) / 153)
  local next_month = month + 1
  if next_month == 12 then return first_of(year, month), first_of(year + 1, 0) end
  return first_of(year, month), first_of(year, next_month)
end

-- Return when the present day or month ends.
function M.period_end(period, now)
  if period == 'day' then return (M.day(now) + 1) * M.DAY_MS end
  return select(2, M.month(now)) * M.DAY_MS
end

return M
