-- Batches. The jobs of a batch are staged under keys that no other operation reads, and one write to the batch's
-- record commits all of them. From then on each staged job counts as queued. `advance_batch` writes its record, place
-- in the queue, deadline and event in chunks; an operation that changes a job writes them first.
local events, fallbacks, keys, limits, outbox, queue, util = ... -- requires

local M = {}

-- Return what is staged of a batch so far: the number of jobs, their credits, and the earliest of their deadlines (ms
-- from the commit) with the priority and model of its job; the API key, and the payer for which credits will be
-- reserved besides the tenant (nil: none).
function M.read_stage(key)
  local known = redis.call('HMGET', key, 'size', 'credits', 'deadline', 'priority', 'model', 'api_key', 'reserved_for')
  return {
    size = tonumber(known[1]) or 0,
    credits = tonumber(known[2]) or 0,
    deadline = tonumber(known[3]) or math.huge,
    priority = known[4] or C.defaults.priority,
    model = known[5] or '',
    api_key = known[6] or '',
    reserved_for = known[7] or nil,
  }
end

-- Return the arguments of admission.check for a stage: a batch counts as one request.
function M.admission_request(tenant, stage, now)
  return {
    tenant = tenant,
    may = limits.load(tenant, stage.api_key),
    now = now,
    n = stage.size,
    requests = 1,
    credits = stage.credits,
    rank = now + C.priority_offset_ms[stage.priority],
    deadline = stage.deadline,
    model = stage.model,
  }
end

-- Write out staged jobs of one tenant whose batches are committed; return how many there were. A client that has read
-- one of them sees no change; only the tenant's event feed gets new entries.
function M.materialize(ids)
  local deadlines, ranked, tenant, count, last = {}, {}, nil, 0, nil
  for _, id in ipairs(ids) do
    local staged, key = keys.staged(id), keys.job(id)
    local known = redis.call('HMGET', staged, 'batch', 'tenant', 'priority', 'deadline', 'model', 'models')
    local committed = known[1] and redis.call('HGET', keys.batch(known[1]), 'committed')
    if committed then
      local deadline = util.int(committed + known[4])
      redis.call('RENAME', staged, key)
      redis.call('HSET', key, 'enqueued', committed, 'deadline', deadline)
      tenant = known[2]
      fallbacks.track({ id = id, model = known[5], models = known[6] or nil }, 'queued')
      events.append(tenant, tonumber(committed), 'job', id, 'version', 1, 'status', 'queued')
      deadlines[#deadlines + 1], deadlines[#deadlines + 2] = deadline, id
      local rank = queue.rank({ enqueued = committed, priority = known[3] or C.defaults.priority })
      local lane = ranked[known[5]] or {}
      lane[#lane + 1], lane[#lane + 2] = rank, id
      ranked[known[5]], count, last = lane, count + 1, id
    end
  end
  if not tenant then return 0 end
  redis.call('ZADD', keys.deadlines, unpack(deadlines))
  for model, lane in pairs(ranked) do
    queue.enqueue_all(queue.jobs, tenant, lane, model)
  end
  events.notify(last, 1, tenant)
  return count
end

-- Count a change of a job's status in its batch. The end of the last job creates the batch's webhook, in the same
-- step and once: a job that is retried later does not end the batch a second time.
function M.count_transition(id, before, after, now)
  local key = keys.batch(id)
  redis.call('HINCRBY', key, before, -1)
  redis.call('HINCRBY', key, after, 1)
  if after == 'running' then
    redis.call('HSETNX', key, 'started', util.int(now))
  elseif after ~= 'queued' then
    local left = redis.call('HMGET', key, 'queued', 'running')
    if left[1] + left[2] > 0 or redis.call('HSETNX', key, 'completed', util.int(now)) == 0 then return end
    local known = redis.call('HMGET', key, 'tenant', 'webhook_url', 'webhook_host', 'webhook_events')
    outbox.add({
      id = id,
      tenant = known[1],
      webhook_url = known[2],
      webhook_host = known[3],
      webhook_events = known[4],
      key = key,
      snapshot = cjson.encode(redis.call('HGETALL', key)),
    }, 'batch.completed', now)
  end
end

-- Return whether a queued job's batch was canceled after the job was created, and the job is not canceled yet.
function M.is_canceled(job)
  local since = job.batch and redis.call('HGET', keys.batch(job.batch), 'canceling')
  return since and tonumber(job.enqueued or job.created) <= tonumber(since)
end

-- Write the record of a batch back that the history had, unless it is there, and one of its jobs.
function M.restore(id, record, job)
  if redis.call('EXISTS', keys.batch(id)) == 0 then
    redis.call('HSET', keys.batch(id), 'archived', 1, unpack(util.append_fields({}, record)))
    redis.call('ZADD', keys.batches(record.tenant), 0, id)
  end
  redis.call('ZADD', keys.jobs_by(record.tenant, 'batch', id), 0, job)
end

-- Return whether any job of a batch is in Redis.
function M.has_live_jobs(id)
  local tenant = redis.call('HGET', keys.batch(id), 'tenant')
  return tenant and redis.call('EXISTS', keys.jobs_by(tenant, 'batch', id)) == 1
end

-- Return how many jobs of a batch ended in each way, as text.
function M.final_counts(id)
  local counts = redis.call('HMGET', keys.batch(id), 'succeeded', 'failed', 'canceled')
  return table.concat({ counts[1] or '0', counts[2] or '0', counts[3] or '0' }, ' ')
end

-- Remove a batch of which no job is in Redis.
function M.remove(id, now)
  local key = keys.batch(id)
  local tenant = redis.call('HGET', key, 'tenant')
  outbox.delete_for_subject(id, key, now)
  if tenant then redis.call('ZREM', keys.batches(tenant), id) end
  redis.call('ZREM', keys.batch_work, id)
  redis.call('ZREM', keys.archive_due, id)
  redis.call('ZREM', keys.archive_refused, id)
  redis.call('DEL', key)
end

-- Remove a job that leaves Redis from its batch; the batch leaves with its last job. If that was deleted, the history
-- may have other jobs of the batch, and is to have its last counts first.
function M.count_deletion(job, now, is_deleted)
  redis.call('ZREM', keys.jobs_by(job.tenant, 'batch', job.batch), job.id)
  if M.has_live_jobs(job.batch) then return end
  if is_deleted and redis.call('HEXISTS', keys.batch(job.batch), 'archived') == 1 then
    redis.call('ZADD', keys.archive_due, now, job.batch)
  else
    M.remove(job.batch, now)
  end
end

return M
