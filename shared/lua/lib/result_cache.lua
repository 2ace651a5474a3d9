-- Reuse: the last job of a tenant that succeeded with the same request.
local keys, retention = ... -- requires

local M = {}

-- Record a job under its request, for as long as it is in Redis; one that is kept there forever, as long as others.
function M.put(job, request)
  local kept = C.archive_after_ms > 0 and C.archive_after_ms or retention.ends(job, 0) or C.retention_ms
  redis.call('SET', keys.reuse(job.tenant, request), job.id, 'PX', kept)
end

-- Return the job of an identical request that still has its image, and the image; nil if there is none.
function M.find(tenant, request)
  local id = redis.call('GET', keys.reuse(tenant, request))
  if not id then return nil end
  local known = redis.call('HMGET', keys.job(id), 'state', 'image', 'image_deleted')
  if known[1] ~= 'succeeded' or known[3] then return nil end
  return id, known[2]
end

return M
