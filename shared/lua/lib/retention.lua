-- How long a final job and its image are kept: as the job says, else its tenant, else the settings.
local keys, util = ... -- requires

local M = {}

-- Return the first of two numbers of seconds that is there, in milliseconds, else the setting; 0 is forever.
local function milliseconds(of_job, of_tenant, setting_ms)
  local seconds = tonumber(of_job) or tonumber(of_tenant)
  return seconds and seconds * 1000 or setting_ms
end

-- Return when the record and the image of a job that ended at `finished` are deleted (ms); nil: never. The image is
-- deleted with its record, so its own time is nil too unless it comes first.
function M.ends(job, finished)
  local given = redis.call('HMGET', keys.tenant(job.tenant), 'record_retention_seconds', 'image_retention_seconds')
  local record_ms = milliseconds(job.record_retention, given[1], C.retention_ms)
  local image_ms = milliseconds(job.image_retention, given[2], C.image_retention_ms)
  local is_first = image_ms > 0 and (record_ms == 0 or image_ms < record_ms)
  return record_ms > 0 and util.int(finished + record_ms) or nil, is_first and util.int(finished + image_ms) or nil
end

-- Schedule the deletion of a final job and of its image; nil: never.
function M.schedule(id, expires, image_expires)
  if expires then redis.call('ZADD', keys.expiries, expires, id) end
  if image_expires then redis.call('ZADD', keys.image_expiries, image_expires, id) end
end

function M.unschedule(id)
  redis.call('ZREM', keys.expiries, id)
  redis.call('ZREM', keys.image_expiries, id)
end

return M
