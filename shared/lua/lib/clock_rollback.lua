-- Redis' clock was put back: what was to happen at a time happens as long after now as it would have.
local clock, keys, queue, util = ... -- requires

local M = {}

-- Moves all scores of a sorted set that lie in the future back by so many milliseconds.
local function shift(key, by, now)
  local later = redis.call('ZRANGE', key, '(' .. util.int(now), '+inf', 'BYSCORE', 'WITHSCORES')
  for i = 1, #later, 2 do
    redis.call('ZADD', key, 'XX', util.int(math.max(later[i + 1] - by, 0)), later[i])
  end
end

-- Moves all that is kept of the future, but deadlines and retention, back by so many milliseconds.
function M.apply(by)
  local now = clock.now()
  for name, value in pairs(util.read_hash(keys.gate) or {}) do
    if
      string.find(name, '^hold:')
      or string.find(name, '^tat:')
      or string.find(name, '^gone:')
      or string.find(name, '^unoffered:')
    then
      redis.call('HSET', keys.gate, name, util.int(math.max(value - by, 0)))
    end
  end
  for worker, line in pairs(util.read_hash(keys.workers) or {}) do
    local ends, rest = string.match(line, '^(%d+)( .*)$')
    redis.call('HSET', keys.workers, worker, util.int(ends - by) .. rest)
  end
  for _, q in ipairs({ queue.jobs, queue.deliveries }) do
    for _, key in ipairs({ q.leases, q.due, q.budget_blocked }) do
      shift(key, by, now)
    end
  end
  for _, key in ipairs({ keys.batch_work, keys.endpoint_probes, keys.endpoint_backlogs }) do
    shift(key, by, now)
  end
end

return M
