-- Requests of the last minute: the times of the accepted ones, newest first.
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

-- Return for how many milliseconds a tenant must wait before `n` more requests; nil if it need not.
function M.wait_ms(tenant, now, limit, n)
  local key = keys.request_times(tenant)
  if recent(key, now) + n <= limit then return nil end
  local leaves = n <= limit and tonumber(redis.call('LINDEX', key, limit - n)) or now
  return math.max(leaves + clock.MINUTE_MS - now, 1)
end

-- Return the state of a tenant's rate: the limit, what is left of it, and the milliseconds until more is left;
-- nothing if it has no limit.
function M.describe(tenant, now, limit)
  if not limit then return '', '', '' end
  local key = keys.request_times(tenant)
  local used = recent(key, now)
  local oldest = used > 0 and tonumber(redis.call('LINDEX', key, used - 1)) + clock.MINUTE_MS - now or 0
  return util.int(limit), util.int(math.max(limit - used, 0)), util.int(oldest)
end

-- Record requests.
function M.record(tenant, now, requests)
  if requests == 0 then return end
  local key = keys.request_times(tenant)
  local kept = recent(key, now)
  for _ = 1, requests do
    redis.call('LPUSH', key, util.int(now))
  end
  redis.call('LTRIM', key, 0, kept + requests - 1)
  redis.call('PEXPIRE', key, clock.MINUTE_MS)
end

return M
