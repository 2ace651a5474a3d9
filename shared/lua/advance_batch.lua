#!lua flags=allow-oom
-- Does the next chunk of what is to be done about a batch, one of: lay out its jobs after the commit,
-- end them after a cancel, take away a stage that was given up or left behind.
-- KEYS  1 the batches with work to do, by the time from which anybody may do it
-- ARGV  1 batch ('' whichever is due)  2 most jobs to lay out or take away  3 most to end
--       4 sources of cancel
-- Gives 'more' | 'done' | 'idle'
local now, id = dr.now(), ARGV[1]
if id == '' then
  id = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not id then return 'idle' end
elseif not redis.call('ZSCORE', KEYS[1], id) then
  return 'done'
end
local key = dr.batch_key(id)
local batch = dr.hash(key)
if not batch then
  redis.call('ZREM', KEYS[1], id)
  return 'done'
end
if batch.state == 'staged' then
  if ARGV[1] ~= '' then return 'idle' end -- its client may still be sending
  batch.state = 'dropped'
  redis.call('HSET', key, 'state', 'dropped')
end
local index = dr.index_key(batch.tenant, 'batch', id)

local function remove(job)
  local spec = redis.call('HGET', dr.staged_key(job), 'spec')
  for _, tag in ipairs(cjson.decode(spec).tags or {}) do
    redis.call('ZREM', dr.index_key(batch.tenant, 'tag', tag), job)
  end
  redis.call('ZREM', dr.index_key(batch.tenant), job)
  dr.remove_from_indexes({ id = job, tenant = batch.tenant }, 'status', 'queued')
  redis.call('ZREM', index, job)
  redis.call('DEL', dr.staged_key(job))
  redis.call('HINCRBY', '{dr}:staged_counts', batch.tenant, -1)
end

local function stop(member)
  local job = dr.job(member)
  local came = job and tonumber(job.enqueued or job.created)
  if not job or not dr.has_word(job.state, ARGV[4]) or came > tonumber(batch.canceling) then return end
  job.last = 'cancel ' .. id
  dr.cancel(job, now)
end

local work, most = nil, tonumber(ARGV[2])
if batch.state == 'dropped' then
  work = remove
elseif batch.canceling then
  work, most = stop, tonumber(ARGV[3])
end
local after = batch.at and '(' .. batch.at or '-'
local members = redis.call('ZRANGE', index, after, '+', 'BYLEX', 'LIMIT', 0, most)
if work then
  for _, member in ipairs(members) do work(member) end
else
  dr.materialize(members)
end
for _ = 1, #members do
  if not dr.permit(dr.jobs) then break end
end
if #members == most then
  redis.call('HSET', key, 'at', members[#members])
  redis.call('ZADD', KEYS[1], ARGV[1] == '' and now or now + C.tend_ms, id)
  return 'more'
end
redis.call('ZREM', KEYS[1], id)
if batch.state == 'dropped' then
  redis.call('DEL', key)
else
  redis.call('HDEL', key, 'at', 'canceling')
end
return 'done'
