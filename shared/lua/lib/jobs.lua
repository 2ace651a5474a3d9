-- The life of a job: its record, its transitions, its end.
local batches, budgets, credits, events, fallbacks, index, keys, limits, outbox, permits, queue, retention, run_counts, throughput, util =
  ... -- requires

local M = {}

local STATUS = { claimed = 'running', calling = 'running', fetching = 'running' }

function M.status(state) return STATUS[state] or state end
local KNOWN = {
  'tenant',
  'state',
  'fence',
  'version',
  'run',
  'attempt',
  'max_attempts',
  'created',
  'priority',
  'hist',
  'last',
  'on_unknown',
  'answer',
  'object',
  'pending',
  'enqueued',
  'webhook_events',
  'webhook_host',
  'reserved_credits',
  'reserved_for',
  'batch',
  'model',
  'models',
  'isolated',
  'started',
  'deadline',
  'failed_key',
  'api_key',
  'payer',
  'tags',
  'credits',
  'charged',
  'record_retention',
  'image_retention',
}

-- Return the fields that decide transitions, or nil if there is no such job. A job of a batch whose record is still
-- staged is written out first, so that callers need not know about staging.
function M.load(id)
  local values = redis.call('HMGET', keys.job(id), unpack(KNOWN))
  if not values[1] and batches.materialize({ id }) > 0 then
    values = redis.call('HMGET', keys.job(id), unpack(KNOWN))
  end
  if not values[1] then return nil end
  local job = { id = id }
  for i, name in ipairs(KNOWN) do
    job[name] = values[i] or C.defaults[name]
  end
  return job
end

-- Return whether a job is in a state from which it may make this transition.
function M.may(job, transition) return util.has_word(job.state, C.sources[transition]) end

-- Load a job for a transition by the worker that holds it by `fence`. Return the job, or nil and the reply: 'ok' if
-- this transition was made before (its reply was lost), else 'lost'.
function M.load_fenced(id, fence, transition)
  local job = M.load(id)
  if not job then return nil, 'lost' end
  if job.last == fence .. ' ' .. transition then return nil, 'ok' end
  if job.fence ~= fence or not M.may(job, transition) then return nil, 'lost' end
  job.last = fence .. ' ' .. transition
  return job
end

-- Return a job's whole record, staged or not, as a table and as name, value, name, value; nil if there is none, or its
-- batch is not committed.
function M.read(id)
  local flat = redis.call('HGETALL', keys.job(id))
  if #flat > 0 then return util.fields(flat), flat end
  local record = util.read_hash(keys.staged(id))
  local committed = record and redis.call('HGET', keys.batch(record.batch), 'committed')
  if not committed then return nil end
  record.enqueued, record.deadline = committed, util.int(committed + record.deadline)
  return record, util.append_fields({}, record)
end

-- The history serves to resume a stream of events: the last 4,000 characters are enough.
local function append_history(history, line)
  local whole = history and history ~= '' and (history .. ';' .. line) or line
  if #whole <= 4000 then return whole end
  return string.sub(whole, string.find(whole, ';', #whole - 4000, true) + 1)
end

-- Make the one write that changes a job: state, version, history, index, feed, and wake-up. `fields` are further
-- changes, as name, value, name, value.
function M.transition(job, state, now, fields)
  local key = keys.job(job.id)
  local before, after = job.state and M.status(job.state), M.status(state)
  job.version = util.int((tonumber(job.version) or 0) + 1)
  job.state = state
  local line = job.version .. ' ' .. util.int(now - job.created) .. ' ' .. state .. ' ' .. job.attempt
  job.hist = append_history(job.hist, line)
  if job.last then
    fields[#fields + 1], fields[#fields + 2] = 'last', job.last
  end
  redis.call(
    'HSET',
    key,
    'state',
    state,
    'version',
    job.version,
    'hist',
    job.hist,
    'attempt',
    job.attempt,
    unpack(fields)
  )
  fallbacks.track(job, state)
  if before ~= after then
    if before then
      index.remove(job, 'status', before)
      index.count(before, -1)
    end
    index.add(job, 'status', after)
    index.count(after, 1)
    redis.call('HINCRBY', keys.totals, before and after or after == 'queued' and 'accepted' or 'reused', 1)
    events.append(job.tenant, now, 'job', job.id, 'version', job.version, 'status', after)
    if before and job.batch then batches.count_transition(job.batch, before, after, now) end
  end
  events.notify(job.id, job.version, before ~= after and job.tenant or '')
end

-- Record on a job how an attempt failed: 'retry', 'held' (costs no attempt), 'failed' or 'lost' (its worker is gone),
-- and the error as JSON. Call it before the transition that ends the attempt.
function M.record_attempt_error(job, now, outcome, said)
  local key = keys.job(job.id)
  local line = table.concat({ job.run, job.attempt, util.int(now - job.created), outcome, said }, ' ')
  redis.call('HSET', key, 'log', util.append_line(redis.call('HGET', key, 'log'), line, C.notes_kept))
end

-- More than the difference of any two ranks, and small enough to be exact.
local BEFORE_ALL_MS = 10 ^ 14

-- Put a queued job in the place from which it is claimed.
function M.make_ready(job)
  if job.isolated then
    -- paid jobs come first: otherwise they would wait at a closed gate behind unpaid ones
    local rank = queue.rank(job) - (job.answer and BEFORE_ALL_MS or 0)
    queue.enqueue_priority(queue.jobs, queue.jobs.isolated, job.id, rank)
  elseif job.answer then
    queue.enqueue_priority(queue.jobs, queue.jobs.paid, job.id, queue.rank(job))
  else
    queue.enqueue(queue.jobs, job.tenant, job.id, queue.rank(job), job.model)
  end
  permits.push(queue.jobs)
end

-- Schedule the deletion of whatever a lost or late worker may have stored for an image that the job will not have.
function M.schedule_image_deletion(job, now)
  if not job.object then return end
  for _, extension in ipairs({ 'webp', 'jpg', 'png' }) do
    redis.call('ZADD', keys.object_deletions, now + C.object_deletion_delay_ms, job.object .. '.' .. extension)
  end
end

-- Schedule what becomes of a final job and of its image: when they are deleted (nil: never), and when the job moves
-- to the history, if there is one.
function M.schedule_end(id, now, expires, image_expires)
  retention.schedule(id, expires, image_expires)
  if C.archive_after_ms > 0 then redis.call('ZADD', keys.archive_due, now + C.archive_after_ms, id) end
end

function M.unschedule_end(id)
  retention.unschedule(id)
  redis.call('ZREM', keys.archive_due, id)
  redis.call('ZREM', keys.archive_refused, id)
end

-- Decide how long a final job is kept that ended while there was a history and there is none now, or the other way
-- round.
function M.reschedule_end(job, now)
  local key = keys.job(job.id)
  local known = redis.call('HMGET', key, 'finished', 'image', 'image_deleted')
  local expires, image_expires = retention.ends(job, known[1] or now)
  if not known[2] or known[3] then image_expires = nil end
  M.unschedule_end(job.id)
  redis.call('HDEL', key, 'expires', 'image_expires')
  local fields = {}
  if expires then util.append(fields, { 'expires', expires }) end
  if image_expires then util.append(fields, { 'image_expires', image_expires }) end
  if fields[1] then redis.call('HSET', key, unpack(fields)) end
  M.schedule_end(job.id, now, expires, image_expires)
end

-- Return whether the job or batch at a key is live, or may be in the history.
function M.may_exist(key) return C.archive_after_ms > 0 or redis.call('EXISTS', key) == 1 end

-- End a job: slot, deadline, what becomes of it, its counts, and its webhook.
function M.finish(job, state, now, fields)
  if state ~= 'succeeded' then M.schedule_image_deletion(job, now) end
  if queue.release_lease(queue.jobs, job.tenant, job.id) then throughput.record(job, now) end
  queue.dequeue(queue.jobs, job.tenant, job.id, job.model)
  credits.release(job)
  redis.call('HDEL', keys.job(job.id), 'due')
  redis.call('ZREM', keys.deadlines, job.id)
  local expires, image_expires = retention.ends(job, now)
  if state ~= 'succeeded' then
    image_expires = nil
  else
    fallbacks.discard(job)
  end
  M.schedule_end(job.id, now, expires, image_expires)
  util.append(fields, { 'finished', util.int(now) })
  if expires then util.append(fields, { 'expires', expires }) end
  if image_expires then util.append(fields, { 'image_expires', image_expires }) end
  M.transition(job, state, now, fields)
  run_counts.add(job, now)
  outbox.add(job, 'job.' .. state, now)
  permits.push(queue.jobs)
end

-- End a job with an error.
function M.fail(job, now, code, message, retryable)
  index.add(job, 'error', code)
  M.finish(job, 'failed', now, { 'error_code', code, 'error_message', message, 'error_retryable', retryable })
end

-- Record a job that ended outside of a worker's attempt, for the metrics of the next sweep. Without a sweep, the last
-- 100,000 are kept.
function M.report_end(job, now, code)
  local line = table.concat({ job.model, job.state, code, util.int(now - job.created) }, ' ')
  if redis.call('RPUSH', keys.ended, line) > 100000 then redis.call('LPOP', keys.ended) end
end

-- Count a call that was, or may have been, billed. It may reach thresholds of budgets, and a budget may hold its tenant
-- from now on.
function M.charge(job, now)
  local may = limits.load(job.tenant, job.api_key, job.payer)
  credits.charge(job, may.payer, now)
  budgets.record_thresholds(job.tenant, may.budgets, now)
  if credits.any_holds(may.budgets) then queue.reschedule_group(queue.jobs, job.tenant, false) end
end

-- End a job whose deadline has passed, unless the provider is being called.
function M.expire(job, now)
  job.last = 'expire'
  if job.pending then M.charge(job, now) end
  M.fail(job, now, 'deadline_exceeded', 'The deadline passed before the image was stored.', '1')
  M.report_end(job, now, 'deadline_exceeded')
end

-- Cancel a job; a call that the provider is working on may be billed.
function M.cancel(job, now)
  if job.state == 'calling' or job.pending then M.charge(job, now) end
  M.finish(job, 'canceled', now, {})
  M.report_end(job, now, '')
end

-- Change the model that serves a queued job; the job keeps its rank.
function M.change_model(job, model, now)
  local is_ready = not job.isolated and not redis.call('ZSCORE', queue.jobs.due, job.id)
  if is_ready then queue.dequeue(queue.jobs, job.tenant, job.id, job.model) end
  fallbacks.untrack(job)
  fallbacks.exchange(job, model)
  job.last = 'change_model'
  M.transition(job, 'queued', now, {})
  if is_ready then M.make_ready(job) end
end

-- Queue a running job again; `wait` is milliseconds, 0 for at once.
function M.requeue(job, now, wait, fields)
  queue.release_lease(queue.jobs, job.tenant, job.id)
  if wait > 0 then
    redis.call('ZADD', queue.jobs.due, now + wait, job.id)
    util.append(fields, { 'due', util.int(now + wait) })
  end
  M.transition(job, 'queued', now, fields)
  if wait == 0 then
    M.make_ready(job)
  else
    permits.push(queue.jobs)
  end
end

-- Remove a final job from Redis: its record, its index entries, its deliveries.
function M.remove(job, now, is_deleted)
  local key = keys.job(job.id)
  outbox.delete_for_subject(job.id, key, now)
  local known = redis.call('HMGET', key, 'tags', 'error_code')
  local status = M.status(job.state)
  redis.call('ZREM', keys.tenant_jobs(job.tenant), job.id)
  index.remove(job, 'status', status)
  if known[2] then index.remove(job, 'error', known[2]) end
  if job.batch then batches.count_deletion(job, now, is_deleted) end
  for _, tag in ipairs(util.tags(known[1])) do
    redis.call('ZREM', keys.jobs_by(job.tenant, 'tag', tag), job.id)
  end
  M.unschedule_end(job.id)
  index.count(status, -1)
  redis.call('DEL', key)
end

-- Delete the image of a final job: a change, and so a new version.
function M.delete_image(job, now)
  local key = keys.job(job.id)
  local known = redis.call('HMGET', key, 'image', 'image_deleted')
  redis.call('ZREM', keys.image_expiries, job.id)
  if not known[1] or known[2] then return end
  redis.call('ZADD', keys.object_deletions, now, cjson.decode(known[1]).key)
  job.version = util.int(job.version + 1)
  redis.call('HDEL', key, 'image_expires')
  redis.call('HSET', key, 'image_deleted', util.int(now), 'version', job.version)
  events.notify(job.id, job.version, '')
end

-- Delete a final job, with its image and any copy in the history.
function M.delete(job, now)
  local known = redis.call('HMGET', keys.job(job.id), 'image', 'archived')
  if known[1] then redis.call('ZADD', keys.object_deletions, now, cjson.decode(known[1]).key) end
  if known[2] then redis.call('ZADD', keys.history_deletions, now + C.history_deletion_delay_ms, job.id) end
  M.remove(job, now, true)
  events.notify(job.id, 'gone', '')
end

return M
