-- How fast a queue goes, measured at each job that ends. After a minute a measurement counts a third; only time in
-- which something waited passes.
local queue = ... -- requires

local M = {}

-- What was seen so long ago counts a third; only time in which something waited passes.
local DRAIN_MS = 60000

-- Jobs ended and busy milliseconds, both decayed, and when that was: '' where nothing was seen yet.
local function parse(text)
  local ended, busy, at = string.match(text or '', '^(%S+) (%S+) (%S+)$')
  return tonumber(ended), tonumber(busy), tonumber(at)
end

-- Jobs a millisecond, for one that waits `since`; nil where nothing is known. What is asked long
-- after the last end counts the time in between: a queue that stands still gets slower and slower.
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

-- Records that a job ended which a worker held: for its tenant and for all. The time before it came
-- is left out, so that an idle night is no slow one.
function M.record(job, now)
  local since = tonumber(job.enqueued or job.created)
  update(queue.jobs.group .. job.tenant, now, since)
  update(queue.jobs.state, now, since)
end

return M
