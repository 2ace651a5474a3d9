-- The throughput of a queue, measured whenever a job ends that a worker held. In a minute a measurement decays to a
-- third; time before the job arrived is not counted.
local queue = ... -- requires

local M = {}

-- In this time a measurement decays to a third (1/e).
local DRAIN_MS = 60000

-- Return the ended jobs and the busy milliseconds, both decayed, and the time of that: '' if nothing was measured
-- yet.
local function parse(text)
  local ended, busy, at = string.match(text or '', '^(%S+) (%S+) (%S+)$')
  return tonumber(ended), tonumber(busy), tonumber(at)
end

-- Return jobs per millisecond, for a job that has waited since `since`; nil if unknown. Time since the last end
-- counts, so a queue that stands still gets slower and slower.
function M.rate(text, now, since)
  local ended, busy, at = parse(text)
  if not ended then return nil end
  local still = math.max(now - math.max(at, since), 0)
  local fade = math.exp(-still / DRAIN_MS)
  return math.max(ended * fade, 0.001) / math.max(busy * fade + still, 1)
end

local function update(key, now, since)
  local ended, busy, at = parse(redis.call('HGET', key, 'throughput'))
  local passed = math.max(now - math.max(at or since, since), 0)
  local fade = math.exp(-passed / DRAIN_MS)
  redis.call(
    'HSET',
    key,
    'throughput',
    string.format('%.4f %.1f %.0f', (ended or 0) * fade + 1, (busy or 0) * fade + passed, now)
  )
end

-- Record the end of a job that a worker held, for its tenant and for all. The time before it arrived is left out, so
-- that an idle night does not count as slow.
function M.record(job, now)
  local since = tonumber(job.enqueued or job.created)
  update(queue.jobs.group .. job.tenant, now, since)
  update(queue.jobs.state, now, since)
end

return M
