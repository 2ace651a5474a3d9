#!lua flags=no-writes
-- Read the living worker processes and what each holds, as of their last renewal.
-- Returns now, { name, renewed until, threads, queue, since, held... } for each, and { held... } of those
--       that no worker has reported yet; held: { id, state, tenant, since, attempt }
local args, clock, keys, queue, util = ... -- requires
local now, left, told = clock.now(), tonumber(args.limit), {}
local JOB = { 'state', 'tenant', 'claimed', 'attempt' }
local DELIVERY = { 'state', 'tenant', 'host', 'attempt' } -- since when it is sent is not kept

-- Return what is known of a held member; nil if it is no longer held.
local function described(q, id)
  if left <= 0 or not redis.call('ZSCORE', q.leases, id) then return nil end
  local is_job = q == queue.jobs
  local known = redis.call('HMGET', q.record(id), unpack(is_job and JOB or DELIVERY))
  if not known[1] then return nil end
  left = left - 1
  return { id, known[1], known[2], is_job and known[3] or '', known[4] or '' }
end

local workers, queues = {}, { generate = queue.jobs, deliver = queue.deliveries }
for name, value in pairs(util.read_hash(keys.workers) or {}) do
  local ends, threads, kind = string.match(value, '^(%d+) (%d+) (%a+)$')
  if tonumber(ends) >= now then
    local words = {}
    for word in string.gmatch(redis.call('HGET', keys.worker_leases, name) or '', '%S+') do
      words[#words + 1] = word
    end
    local worker = { name, ends, threads, kind, words[1] or '' }
    for i = 2, #words do
      local held = described(queues[kind], words[i])
      told[words[i]] = true
      worker[#worker + 1] = held
    end
    workers[#workers + 1] = worker
  end
end

local rest = {}
for _, q in pairs(queues) do
  for _, id in ipairs(redis.call('ZRANGE', q.leases, 0, tonumber(args.limit) - 1)) do
    if not told[id] then rest[#rest + 1] = described(q, id) end
  end
end
return { util.int(now), workers, rest }
