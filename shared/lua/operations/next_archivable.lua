#!lua flags=allow-oom
-- Return final jobs that are to move to the history, with their batches, and batches whose last live job was deleted;
-- one worker process at a time gets any. They are returned again if that process stops before it has moved them.
-- Returns { 'other' } | { 'ok', now, how many were looked at, { job... }, { batch... } }, each as archive.describe has
--       it, and '1' if prompts are not to be archived
local args, archive, batches, clock, jobs, keys, util = ... -- requires
local now = clock.now()
local owner = redis.call('GET', keys.archiver)
if owner and owner ~= args.worker then return { 'other' } end
redis.call('SET', keys.archiver, args.worker, 'PX', util.int(args.lock_ms))

-- jobs that were read and could not be written are due within the lease
if tonumber(args.limit) > 0 and redis.call('ZCOUNT', keys.archive_due, '-inf', now + tonumber(args.lease_ms)) == 0 then
  redis.call('DEL', keys.history_failing)
end

local found, batches_found, seen, looked = {}, {}, {}, 0
local withheld = {}
local function withholds_prompt(tenant)
  if withheld[tenant] == nil then
    withheld[tenant] = redis.call('HGET', keys.tenant(tenant), 'archive_prompts') == '0'
  end
  return withheld[tenant]
end

-- Return a job or batch as archive.describe has it, and whether its prompt is withheld.
local function describe(id, key, tenant)
  local described = archive.describe(id, key)
  described[4] = withholds_prompt(tenant) and '1' or ''
  return described
end

local function add_batch(id)
  if seen[id] then return end
  seen[id] = true
  local key = keys.batch(id)
  redis.call('HSET', key, 'archived', 1)
  batches_found[#batches_found + 1] = describe(id, key, redis.call('HGET', key, 'tenant') or '')
end

local function take_batch(id)
  if redis.call('EXISTS', keys.batch(id)) == 0 or batches.has_live_jobs(id) then
    redis.call('ZREM', keys.archive_due, id) -- a live job brings its batch along
  elseif not archive.is_batch_over(id, now) then
    redis.call('ZADD', keys.archive_due, now + C.archive_retry_ms, id)
  else
    redis.call('ZADD', keys.archive_due, now + tonumber(args.lease_ms), id)
    add_batch(id)
  end
end

local function take(id)
  if string.match(id, '^batch_') then return take_batch(id) end
  local job = jobs.load(id)
  if not job then
    redis.call('ZREM', keys.archive_due, id)
  elseif not archive.may_leave(job, now) then
    redis.call('ZADD', keys.archive_due, now + C.archive_retry_ms, id)
  else
    redis.call('ZADD', keys.archive_due, now + tonumber(args.lease_ms), id)
    redis.call('HSET', keys.job(id), 'archived', 1)
    found[#found + 1] = describe(id, keys.job(id), job.tenant)
    if job.batch then add_batch(job.batch) end
  end
end

for _, id in ipairs(redis.call('ZRANGE', keys.archive_due, '-inf', now, 'BYSCORE', 'LIMIT', 0, args.limit)) do
  looked = looked + 1
  take(id)
end
return { 'ok', util.int(now), looked, found, batches_found }
