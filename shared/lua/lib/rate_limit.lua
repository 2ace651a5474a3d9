-- Requests of the last minute: the times of the accepted ones, newest first. A rate is one of limits.load: its `payer`,
-- and the `limit` of requests per minute.
local clock, keys, util = ... -- requires

local M = {}

-- Return how many of the stored times are within the last minute: none if the newest was recorded before the clock
-- was set back.
local function recent(key, now)
  if (tonumber(redis.call('LINDEX', key, 0)) or 0) > now + 1000 then return 0 end
  local low, high = 0, redis.call('LLEN', key)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', key, middle)) > now - clock.MINUTE_MS then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- Return for how many milliseconds a client must wait before `n` more requests; nil if it need not.
function M.wait_ms(rate, now, n)
  local key, limit = keys.request_times(rate.payer), rate.limit
  if recent(key, now) + n <= limit then return nil end
  local leaves = n <= limit and tonumber(redis.call('LINDEX', key, limit - n)) or now
  return math.max(leaves + clock.MINUTE_MS - now, 1)
end

-- Return the state of the rate of which the least is left: the limit, what is left of it, and the milliseconds until
-- more is left; nothing if there is no rate.
function M.describe(rates, now)
  local limit, left, oldest
  for _, rate in ipairs(rates) do
    local key = keys.request_times(rate.payer)
    local used = recent(key, now)
    local leaves = used > 0 and tonumber(redis.call('LINDEX', key, used - 1)) + clock.MINUTE_MS - now or 0
    local remaining = math.max(rate.limit - used, 0)
    if not left or remaining < left or (remaining == left and leaves > oldest) then
      limit, left, oldest = rate.limit, remaining, leaves
    end
  end
  if not limit then return '', '', '' end
  return util.int(limit), util.int(left), util.int(oldest)
end

-- Record requests.
function M.record(rate, now, requests)
  if requests == 0 then return end
  local key = keys.request_times(rate.payer)
  local kept = recent(key, now)
  for _ = 1, requests do
    redis.call('LPUSH', key, util.int(now))
  end
  redis.call('LTRIM', key, 0, kept + requests - 1)
  redis.call('PEXPIRE', key, clock.MINUTE_MS)
end

return M
