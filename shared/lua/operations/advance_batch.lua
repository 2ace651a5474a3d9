#!lua flags=allow-oom
-- Do the next chunk of a batch's work, one of: write out its jobs after the commit, end them after a cancel, delete a
-- stage that was discarded or abandoned.
-- Returns 'more' | 'done' | 'idle'
local args, batches, clock, index, jobs, keys, permits, queue, util = ... -- requires
local now, id = clock.now(), args.id
if id == '' then
  id = redis.call('ZRANGE', keys.batch_work, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not id then return 'idle' end
elseif not redis.call('ZSCORE', keys.batch_work, id) then
  return 'done'
end
local key = keys.batch(id)
local batch = util.read_hash(key)
if not batch then
  redis.call('ZREM', keys.batch_work, id)
  return 'done'
end
if batch.state == 'staged' then
  if args.id ~= '' then return 'idle' end -- its client may still be sending
  batch.state = 'dropped'
  redis.call('HSET', key, 'state', 'dropped')
end
local members_key = keys.jobs_by(batch.tenant, 'batch', id)

local function remove(job)
  for _, tag in ipairs(util.tags(redis.call('HGET', keys.staged(job), 'tags'))) do
    redis.call('ZREM', keys.jobs_by(batch.tenant, 'tag', tag), job)
  end
  redis.call('ZREM', keys.tenant_jobs(batch.tenant), job)
  index.remove({ id = job, tenant = batch.tenant }, 'status', 'queued')
  redis.call('ZREM', members_key, job)
  redis.call('DEL', keys.staged(job))
  redis.call('HINCRBY', keys.staged_counts, batch.tenant, -1)
end

local function stop(member)
  local job = jobs.load(member)
  local came = job and tonumber(job.enqueued or job.created)
  if not job or not jobs.may(job, 'cancel') or came > tonumber(batch.canceling) then return end
  job.last = 'cancel ' .. id
  jobs.cancel(job, now)
end

local work, most = nil, tonumber(args.max_jobs)
if batch.state == 'dropped' then
  work = remove
elseif batch.canceling then
  work, most = stop, tonumber(args.max_ends)
end
local after = batch.at and '(' .. batch.at or '-'
local members = redis.call('ZRANGE', members_key, after, '+', 'BYLEX', 'LIMIT', 0, most)
if work then
  for _, member in ipairs(members) do
    work(member)
  end
else
  batches.materialize(members)
end
for _ = 1, #members do
  if not permits.push(queue.jobs) then break end
end
if #members == most then
  redis.call('HSET', key, 'at', members[#members])
  redis.call('ZADD', keys.batch_work, args.id == '' and now or now + C.batch_work_delay_ms, id)
  return 'more'
end
redis.call('ZREM', keys.batch_work, id)
if batch.state == 'dropped' then
  redis.call('DEL', key)
else
  redis.call('HDEL', key, 'at', 'canceling')
end
return 'done'
