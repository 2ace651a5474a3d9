-- Reuse: the last job of a tenant that succeeded with the same request.
local keys = ... -- requires

local M = {}

-- Record a job under its request, for as long as it is kept.
function M.put(job, request) redis.call('SET', keys.reuse(job.tenant, request), job.id, 'PX', C.retention_ms) end

-- Return the job of an identical request that still has its image, and the image; nil if there is none.
function M.find(tenant, request)
  local id = redis.call('GET', keys.reuse(tenant, request))
  if not id then return nil end
  local known = redis.call('HMGET', keys.job(id), 'state', 'image')
  if known[1] ~= 'succeeded' then return nil end
  return id, known[2]
end

return M
