-- The part of the prelude that knows of batches.

----------------------------------------------------------------------------------------------
-- Batches. The jobs of one are staged where nobody looks, and it is committed by one write to its
-- own record; from then on each staged job is what it will be, wherever it is asked for, and is laid
-- out (record, queue, deadline, feed) in chunks, or at once by whoever moves it.
----------------------------------------------------------------------------------------------

-- How many jobs of a tenant are queued.
function dr.queued(tenant)
  return redis.call('ZCARD', dr.index_key(tenant, 'status', 'queued')) - dr.staged_count(tenant)
end

-- How many jobs of a tenant are staged in batches that are not committed: its indexes have them,
-- and nobody may see them.
function dr.staged_count(tenant)
  return tonumber(redis.call('HGET', '{dr}:staged_counts', tenant)) or 0
end

-- What is staged of a batch so far: how many jobs, their credits, and the soonest of their deadlines
-- (ms from the commit) with the priority and model of the job that has it.
function dr.stage(key)
  local known = redis.call('HMGET', key, 'size', 'credits', 'deadline', 'priority', 'model')
  return {
    size = tonumber(known[1]) or 0, credits = tonumber(known[2]) or 0,
    deadline = tonumber(known[3]) or math.huge, priority = known[4] or C.left_out.priority, model = known[5] or '',
  }
end

-- What is asked for with a stage, as dr.check_admission wants it: a batch is one request.
function dr.admission_request(tenant, stage, now)
  return {
    tenant = tenant, may = dr.load_limits(tenant), now = now, n = stage.size, requests = 1,
    credits = stage.credits, rank = now + C.priority_offset_ms[stage.priority],
    deadline = stage.deadline, model = stage.model,
  }
end

-- A job's whole record, laid out or not; nil where there is none, or its batch is not committed.
function dr.record(id)
  local record = dr.hash(dr.job_key(id))
  if record then return record end
  record = dr.hash(dr.staged_key(id))
  local committed = record and redis.call('HGET', dr.batch_key(record.batch), 'committed')
  if not committed then return nil end
  record.enqueued, record.deadline = committed, dr.int(committed + record.deadline)
  return record
end

-- Lays out staged jobs of one tenant whose batches are committed; tells how many there were. To who
-- may have read one of them it does not change: only the tenant's feed has news.
function dr.materialize(ids)
  local deadlines, ranked, tenant, count, last = {}, {}, nil, 0, nil
  for _, id in ipairs(ids) do
    local staged, key = dr.staged_key(id), dr.job_key(id)
    local known = redis.call('HMGET', staged, 'batch', 'tenant', 'priority', 'deadline', 'model')
    local committed = known[1] and redis.call('HGET', dr.batch_key(known[1]), 'committed')
    if committed then
      local deadline = dr.int(committed + known[4])
      redis.call('RENAME', staged, key)
      redis.call('HSET', key, 'enqueued', committed, 'deadline', deadline)
      tenant = known[2]
      dr.append_event(tenant, id, 1, 'queued', tonumber(committed))
      deadlines[#deadlines + 1], deadlines[#deadlines + 2] = deadline, id
      local rank = dr.rank({ enqueued = committed, priority = known[3] or C.left_out.priority })
      local lane = ranked[known[5]] or {}
      lane[#lane + 1], lane[#lane + 2] = rank, id
      ranked[known[5]], count, last = lane, count + 1, id
    end
  end
  if not tenant then return 0 end
  redis.call('ZADD', '{dr}:deadlines', unpack(deadlines))
  for model, lane in pairs(ranked) do dr.enqueue_all(dr.jobs, tenant, lane, model) end
  dr.notify(last, 1, tenant)
  return count
end

-- Counts a change of status of one of its jobs in a batch. The end of the last owes the webhook, in
-- the same step and once: a job that is sent again later does not end the batch a second time.
function dr.count_transition(id, before, after, now)
  local key = dr.batch_key(id)
  redis.call('HINCRBY', key, before, -1)
  redis.call('HINCRBY', key, after, 1)
  if after == 'running' then
    redis.call('HSETNX', key, 'started', dr.int(now))
  elseif after ~= 'queued' then
    local left = redis.call('HMGET', key, 'queued', 'running')
    if left[1] + left[2] > 0 or redis.call('HSETNX', key, 'completed', dr.int(now)) == 0 then return end
    local known = redis.call('HMGET', key, 'tenant', 'webhook_host', 'webhook_events', 'spec')
    if not known[2] then return end
    local hook = cjson.encode(cjson.decode(known[4]).webhook)
    local told = cjson.encode(redis.call('HGETALL', key))
    dr.add_delivery({ id = id, tenant = known[1], webhook_host = known[2], webhook_events = known[3], key = key,
      hook = hook, told = told }, 'batch.completed', now)
  end
end

-- Whether a queued job's batch was canceled since the job was asked for, and nobody has come to it.
function dr.is_canceled_by_batch(job)
  local since = job.batch and redis.call('HGET', dr.batch_key(job.batch), 'canceling')
  return since and tonumber(job.enqueued or job.created) <= tonumber(since)
end

-- Takes a forgotten job out of its batch; the batch goes with its last.
function dr.count_deletion(job, now)
  local index = dr.index_key(job.tenant, 'batch', job.batch)
  redis.call('ZREM', index, job.id)
  if redis.call('EXISTS', index) == 1 then return end
  dr.delete_deliveries(job.batch, dr.batch_key(job.batch), now)
  redis.call('ZREM', '{dr}:batches:' .. job.tenant, job.batch)
  redis.call('ZREM', '{dr}:batch_work', job.batch)
  redis.call('DEL', dr.batch_key(job.batch))
end
