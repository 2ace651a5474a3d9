-- Indexes and counters of jobs.
local keys = ... -- requires

local M = {}

-- Add a job under a word to the index of its tenant and to that of all tenants, or remove it.
function M.add(job, field, value)
  redis.call('ZADD', keys.jobs_by(job.tenant, field, value), 0, job.id)
  redis.call('ZADD', keys.jobs_by('', field, value), 0, job.id)
end

function M.remove(job, field, value)
  redis.call('ZREM', keys.jobs_by(job.tenant, field, value), job.id)
  redis.call('ZREM', keys.jobs_by('', field, value), job.id)
end

-- Return how many jobs of a tenant are staged in uncommitted batches: its indexes contain them, but they are hidden.
local function staged_count(tenant) return tonumber(redis.call('HGET', keys.staged_counts, tenant)) or 0 end

-- Return how many jobs of a tenant are queued.
function M.count_queued(tenant)
  return redis.call('ZCARD', keys.jobs_by(tenant, 'status', 'queued')) - staged_count(tenant)
end

-- Add one to a gauge, or subtract one.
function M.count(name, change) redis.call('HINCRBY', keys.counts, name, change) end

return M
