-- Correct times after Redis' clock was set back: what was due at a time is due as long after now as before.
local clock, keys, queue, util = ... -- requires

local M = {}

-- Move all future scores of a sorted set back by `by` milliseconds.
local function shift(key, by, now)
  local later = redis.call('ZRANGE', key, '(' .. util.int(now), '+inf', 'BYSCORE', 'WITHSCORES')
  for i = 1, #later, 2 do
    redis.call('ZADD', key, 'XX', util.int(math.max(later[i + 1] - by, 0)), later[i])
  end
end

-- Sets of the whole service with times at which something is due.
local SETS = {
  keys.batch_work,
  keys.endpoint_probes,
  keys.endpoint_backlogs,
  keys.erasures,
  keys.object_deletions,
  keys.history_deletions,
  keys.history_tenant_deletions,
}

-- Move all future times back by `by` milliseconds, except deadlines, retention and when jobs move to the history.
function M.apply(by)
  local now = clock.now()
  for name, value in pairs(util.read_hash(keys.gate) or {}) do
    if
      string.find(name, '^hold:')
      or string.find(name, '^tat:')
      or string.find(name, '^model_tat:')
      or string.find(name, '^dead:')
      or string.find(name, '^gone:')
      or string.find(name, '^failing_since:')
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
  for _, key in ipairs(SETS) do
    shift(key, by, now)
  end
end

return M
