-- Moving final jobs to the history, and back. A job is in the history before it leaves Redis, so a crash in between
-- leaves it in both places, and the one in Redis counts.
local batches, index, jobs, keys, outbox, util = ... -- requires

local M = {}

local OPEN = 'pending sending parked'

-- Return whether nothing of a subject remains to be sent. Deliveries that have waited for their endpoint for very long
-- fail.
local function is_settled(subject, key, now)
  for _, id in ipairs(outbox.for_subject(subject, key)) do
    local delivery = outbox.load(id)
    if delivery and util.has_word(delivery.state, OPEN) then
      if delivery.state ~= 'parked' or now - delivery.created < C.parked_kept_ms then return false end
      outbox.fail_parked(delivery, now)
    end
  end
  return true
end

-- Return whether all jobs of a batch are final and its webhooks are settled.
function M.is_batch_over(id, now)
  local known = redis.call('HMGET', keys.batch(id), 'completed', 'queued', 'running', 'canceling')
  if not known[1] then return false end
  local left = (tonumber(known[2]) or 0) + (tonumber(known[3]) or 0)
  return left == 0 and not known[4] and is_settled(id, keys.batch(id), now)
end

-- Return whether a job may leave Redis: it and its batch are over, and all their webhooks are settled.
function M.may_leave(job, now)
  if not util.has_word(job.state, C.final) then return false end
  return is_settled(job.id, keys.job(job.id), now) and (not job.batch or M.is_batch_over(job.batch, now))
end

-- Return the next `limit` final jobs of a status, oldest first, above an id ('' at the beginning).
local function jobs_above(status, id, limit)
  local lower = id == '' and '-' or '(' .. id
  return redis.call('ZRANGE', keys.jobs_by('', 'status', status), lower, '+', 'BYLEX', 'LIMIT', 0, limit)
end

-- Return the status that is checked after this one.
local function status_after(status) return string.match(C.final .. ' ' .. C.final, status .. ' (%a+)') end

-- Schedule the move of final jobs for which there is none, because they ended without a history. Each call checks the
-- next `limit` final jobs, and begins again after the last one: a version without a history may have run since.
function M.schedule_missing(now, limit)
  local status, last = string.match(redis.call('GET', keys.archive_checked) or '', '^(%a+) (.*)$')
  status, last = status or string.match(C.final, '%a+'), last or ''
  local ids = jobs_above(status, last, limit)
  if ids[1] then
    local scheduled = redis.call('ZMSCORE', keys.archive_due, unpack(ids))
    for i, id in ipairs(ids) do
      local job = not scheduled[i] and jobs.load(id)
      if job then jobs.reschedule_end(job, now) end
    end
  end
  local following = #ids < limit and status_after(status) .. ' ' or status .. ' ' .. ids[#ids]
  redis.call('SET', keys.archive_checked, following)
end

-- Return a job or batch for the history: { id, { field, value, ... }, { { delivery, url, { field, value, ... } } } }.
function M.describe(id, key)
  local sent = {}
  for _, delivery in ipairs(outbox.for_subject(id, key)) do
    local record = util.read_hash(keys.delivery(delivery))
    if record then
      local url = redis.call('HGET', keys.endpoint(record.endpoint), 'url') or ''
      sent[#sent + 1] = { delivery, url, util.append_fields({}, record) }
    end
  end
  return { id, redis.call('HGETALL', key), sent }
end

local function restore_deliveries(deliveries, now)
  for _, one in ipairs(deliveries) do
    outbox.restore(one.id, one.url, one.record, now)
  end
end

-- Write a job back that the history had; `parts` has record, deliveries and, of a job of a batch, the same of the
-- batch.
function M.restore(id, parts, now)
  local record, batch = parts.record, parts.batch
  local job = { id = id, tenant = record.tenant }
  redis.call('HSET', keys.job(id), 'archived', 1, unpack(util.append_fields({}, record)))
  redis.call('ZADD', keys.tenant_jobs(job.tenant), 0, id)
  index.add(job, 'status', jobs.status(record.state))
  index.count(jobs.status(record.state), 1)
  if record.error_code then index.add(job, 'error', record.error_code) end
  for _, tag in ipairs(util.tags(record.tags)) do
    redis.call('ZADD', keys.jobs_by(job.tenant, 'tag', tag), 0, id)
  end
  restore_deliveries(parts.deliveries, now)
  if batch then
    batches.restore(batch.id, batch.record, id)
    restore_deliveries(batch.deliveries, now)
  end
  jobs.schedule_end(id, now, record.expires, not record.image_deleted and record.image_expires or nil)
end

return M
