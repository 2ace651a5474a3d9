-- New jobs, and further runs of old ones, after admission.
local admission, fallbacks, index, jobs, keys, limits, result_cache, util = ... -- requires

local M = {}

-- Fields that are stored as they were sent, if present.
local COPIED = {
  'api_key',
  'webhook_url',
  'webhook_host',
  'webhook_events',
  'tags',
  'words',
  'trace',
  'reused_from',
  'image',
  'record_retention',
  'image_retention',
}

-- Create a job that admission accepted: record, indexes, deadline, event, place in the queue, permit. `new` has the
-- arguments of `accept`; optional ones are '' or nil. `may` is what limits.load returned. `model` serves the job; nil:
-- the requested one. A job with a copied image is final at once.
function M.create(new, now, may, model)
  local id, tenant, deadline = new.id, new.tenant, now + new.deadline_ms
  local job = { id = id, tenant = tenant, created = now, priority = new.priority, attempt = '0', run = '1' }
  local record = {
    tenant = tenant,
    created = util.int(now),
    deadline = util.int(deadline),
    run = '1',
    fence = '0',
    max_attempts = new.max_attempts,
    priority = new.priority,
    on_unknown = new.on_unknown,
  }
  for _, name in ipairs(COPIED) do
    local value = new[name]
    if value and value ~= '' then
      record[name], job[name] = value, value
    end
  end
  record.payer, job.payer = may.first_key, may.first_key
  if job.reused_from then
    record.model, record.spec = new.model, new.spec
  else
    for name, value in pairs(fallbacks.fields(new, model)) do
      record[name] = value
    end
    local _, most = fallbacks.of_new(new.model, new.credits, new.fallbacks)
    if tonumber(most) > 0 then
      record.reserved_credits, record.reserved_for = most, may.reserved_for
    end
  end
  job.model, job.models = record.model, record.models
  redis.call('ZADD', keys.tenant_jobs(tenant), 0, id)
  for _, tag in ipairs(util.tags(job.tags)) do
    redis.call('ZADD', keys.jobs_by(tenant, 'tag', tag), 0, id)
  end
  if job.reused_from then
    result_cache.put(job, new.request_hash)
    jobs.finish(job, 'succeeded', now, util.omit_defaults(record))
    return
  end
  redis.call('ZADD', keys.deadlines, deadline, id)
  jobs.transition(job, 'queued', now, util.omit_defaults(record))
  jobs.make_ready(job)
end

-- Queue a failed or canceled job again as its next run. `deadline` is milliseconds from now, `mark` identifies this
-- request, `requests` is its number among the tenant's requests, and `api_key` pays for this run. Return why not, as
-- admission.check does or 'prompt_withheld', or nothing; and the arguments of the check.
function M.rerun(job, now, deadline, mark, requests, api_key)
  local key = keys.job(job.id)
  local known = redis.call('HMGET', key, 'error_code', 'unknown', 'regenerated', 'prompt_withheld')
  -- the answer of a paid job is kept as long as its image can be downloaded: the retry downloads and does not pay
  -- again
  local paid = job.answer
  local ask = {
    tenant = job.tenant,
    may = limits.load(job.tenant, api_key, api_key == job.api_key and job.payer or nil),
    now = now,
    n = 1,
    requests = requests,
    model = job.model,
    credits = paid and 0 or fallbacks.most_credits(job),
    free = paid,
    rank = now + C.priority_offset_ms[job.priority],
    deadline = deadline,
  }
  if known[4] then return { 'prompt_withheld', job.id, '' }, ask end
  if job.models and not paid then
    ask.models, ask.model = job.models, string.match(job.models, '^%S+')
  end
  local fault = admission.check(ask)
  if fault then return fault, ask end
  local reserved_for = ask.credits > 0 and ask.may.reserved_for or nil
  admission.commit(ask, reserved_for)
  if ask.model ~= job.model then fallbacks.exchange(job, ask.model) end
  if ask.credits > 0 then redis.call('HSET', key, 'reserved_credits', ask.credits) end
  if reserved_for then redis.call('HSET', key, 'reserved_for', reserved_for) end
  if known[1] then index.remove(job, 'error', known[1]) end
  if job.answer then
    -- under another name: a deletion of the object under the old name may be scheduled
    local answer = cjson.decode(job.answer)
    answer.object_name = answer.object_name .. '.' .. util.int(job.run + 1)
    redis.call('HSET', key, 'answer', cjson.encode(answer), 'object', answer.object_name)
  else
    redis.call('HDEL', key, 'object')
  end
  redis.call(
    'HDEL',
    key,
    'error_code',
    'error_message',
    'error_retryable',
    'last_error_code',
    'last_error_message',
    'pending',
    'started',
    'claimed',
    'finished',
    'expires',
    'image_expires',
    'image_deleted',
    'worker_losses',
    'worker_losses_here',
    'isolated',
    'failed_key',
    'charged',
    't_provider',
    't_download',
    't_store'
  )
  job.isolated, job.charged, job.pending = nil, nil, nil
  if api_key and api_key ~= '' then
    job.api_key, job.payer = api_key, ask.may.first_key
    redis.call('HSET', key, 'api_key', api_key)
    redis.call('HDEL', key, 'payer')
    if job.payer then redis.call('HSET', key, 'payer', job.payer) end
  end
  jobs.unschedule_end(job.id)
  redis.call('ZADD', keys.deadlines, now + deadline, job.id)
  job.last, job.attempt, job.enqueued = mark, '0', util.int(now)
  job.run = util.int(job.run + 1)
  jobs.transition(job, 'queued', now, {
    'run',
    job.run,
    'enqueued',
    job.enqueued,
    'deadline',
    util.int(now + deadline),
    'spare_calls',
    util.int((tonumber(known[2]) or 0) + (tonumber(known[3]) or 0)),
  })
  jobs.make_ready(job)
  return nil, ask
end

return M
