-- Indexes and counters of jobs.
local keys = ... -- requires

local M = {}

-- Puts a job under a word in the index of its tenant and in that of all tenants, or takes it out.
function M.add(job, field, value)
  redis.call('ZADD', keys.jobs_by(job.tenant, field, value), 0, job.id)
  redis.call('ZADD', keys.jobs_by('', field, value), 0, job.id)
end

function M.remove(job, field, value)
  redis.call('ZREM', keys.jobs_by(job.tenant, field, value), job.id)
  redis.call('ZREM', keys.jobs_by('', field, value), job.id)
end

-- How many jobs of a tenant are staged in batches that are not committed: its indexes have them,
-- and nobody may see them.
local function staged_count(tenant) return tonumber(redis.call('HGET', keys.staged_counts, tenant)) or 0 end

-- How many jobs of a tenant are queued.
function M.count_queued(tenant)
  return redis.call('ZCARD', keys.jobs_by(tenant, 'status', 'queued')) - staged_count(tenant)
end

-- Counts one more, or less, of what there is now.
function M.count(name, change) redis.call('HINCRBY', keys.counts, name, change) end

return M
