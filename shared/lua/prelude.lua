-- What all scripts share: time, names of keys, the fair queue, the moves of a job.
-- Python puts the constants `C` in front (see shared/store/functions.py), the other preludes and one
-- operation behind.

local dr = {}

-- Milliseconds since 1970 by Redis' clock: no host's clock decides anything.
function dr.now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as text; Lua's own tostring turns large ones into 1.7e+12.
function dr.int(number)
  return string.format('%.0f', number)
end

function dr.job_key(id) return '{dr}:job:' .. id end
function dr.delivery_key(id) return '{dr}:delivery:' .. id end
function dr.batch_key(id) return '{dr}:batch:' .. id end
function dr.staged_key(id) return '{dr}:staged:' .. id end
function dr.tenant_key(tenant) return '{dr}:tenant:' .. tenant end
function dr.api_key_key(id) return '{dr}:key:' .. id end
-- An index of jobs: a tenant's, or with '' for the tenant that of all of them.
function dr.index_key(tenant, field, value)
  if not field then return '{dr}:jobs:' .. tenant end
  return '{dr}:jobs:' .. tenant .. ':' .. field .. ':' .. value
end

-- A flat reply of HGETALL as a table, or nil where there is no such hash.
function dr.hash(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end

----------------------------------------------------------------------------------------------
-- The fair queue: start-time fair queueing over groups. Within a group the ready members of each lane are one
-- sorted set. Used for jobs by tenant, with a lane for each model, so that a model that is held does not stand in
-- the way of the others. Deliveries are shared out by tenant and by host: see prelude_hosts.lua.
--   active:<lane>          start tag -> group, for groups that have ready members in that lane and may run more
--   ready:<group>:<lane>   rank -> member
--   lanes   the lanes with something in active; the sweep takes away those that are empty
--   paid    members that need no provider, claimed first
--   isolated  members that were lost with their worker: claimed next, but one at a time by each
--                 process, so that of two of them neither takes the other down
--   leases        expiry -> member    due     time of the next attempt -> member
--   group:<group> tag, start, finish, running, throughput, lane:<lane> for each lane with ready members
--   state         vt, seq, claimable, bound, claimed, throughput
--   held    midnight -> group, for groups that may have used up a budget which holds them
----------------------------------------------------------------------------------------------

-- What one member costs a group, in virtual time.
local function cost(weight) return math.floor(1000000 / weight) end
dr.cost = cost

local function queue(name, record, list, permit, limits)
  local prefix = '{dr}:q:' .. name .. ':'
  return {
    active = prefix .. 'active:', paid = prefix .. 'paid', isolated = prefix .. 'isolated', leases = prefix .. 'leases',
    due = prefix .. 'due', state = prefix .. 'state', ready = prefix .. 'ready:', lanes = prefix .. 'lanes',
    budget_blocked = prefix .. 'budget_blocked',
    group = prefix .. 'group:', record = record, list = list, permit = permit,
    limits = limits,
  }
end

-- The ready members of one lane of a group.
function dr.ready_key(q, group, lane) return q.ready .. group .. ':' .. (lane or '') end

-- Weight and cap of a tenant, and the credits of a day that hold a tenant (nil
-- none do). A weight of nothing would stop the virtual time, one without end would be lost in its
-- rounding: a year of 100 jobs a second at the least weight takes it to 2^61, where it is exact to
-- 512. (NaN loses every comparison: the bounds come first.)
local LEAST, MOST = 0.001, 1000
local function tenant_limits(group)
  local given = redis.call('HMGET', dr.tenant_key(group), 'weight', 'max_running',
    'daily_credits', 'budget_action')
  local weight = math.min(MOST, math.max(LEAST, tonumber(given[1]) or 1))
  return weight, tonumber(given[2]) or math.huge, given[4] == 'hold' and tonumber(given[3]) or nil
end

dr.jobs = queue('jobs', dr.job_key, C.generate_list, C.generate_permit, tenant_limits)
dr.deliveries = queue('deliveries', dr.delivery_key, C.deliver_list, C.deliver_permit, tenant_limits)

local function count_claimable(q, members) redis.call('HINCRBY', q.state, 'claimable', members) end

-- The lanes in which a group has ready members, with how many, and how many in all. `known` is the group's hash.
local function lanes_of(q, group, known)
  local lanes, ready = {}, 0
  for name in pairs(known) do
    local lane = string.match(name, '^lane:(.*)$')
    local members = lane and redis.call('ZCARD', dr.ready_key(q, group, lane)) or 0
    if members > 0 then
      lanes[lane], ready = members, ready + members
    elseif lane then
      redis.call('HDEL', q.group .. group, name)
      if known.tag then redis.call('ZREM', q.active .. lane, known.tag) end
    end
  end
  return lanes, ready
end

-- Takes a group with so many ready members out of those that can be chosen.
local function unschedule(q, group, tag, lanes, ready)
  for lane in pairs(lanes) do redis.call('ZREM', q.active .. lane, tag) end
  count_claimable(q, -ready)
  redis.call('HDEL', q.group .. group, 'tag', 'start')
end

-- Whether one more of a group may run: it is below its cap, and no budget holds it.
local function may_run(q, group, running, cap, budget)
  if running >= cap then return false end
  if not budget then return true end
  local now = dr.now()
  if not dr.is_over_budget(group, running, budget, now) then return true end
  dr.hold_group(q, group, now)
  return false
end

function dr.has_slot(q, group)
  local running = tonumber(redis.call('HGET', q.group .. group, 'running')) or 0
  local _, cap, budget = q.limits(group)
  return may_run(q, group, running, cap, budget)
end

-- Gives a group its turn, in all its lanes. It starts where its last member ended, but not before the virtual time
-- `vt`: an idle group gains no credit; nor further on than one member takes it, which it would where its weight has
-- been raised.
local function set_turn(q, group, known, lanes, weight, vt, newly)
  local start = dr.int(math.min(math.max(vt, tonumber(known.finish) or 0), vt + cost(weight)))
  local tag = dr.new_start_tag(q, group, newly)
  for lane in pairs(lanes) do
    redis.call('ZADD', q.active .. lane, start, tag)
    redis.call('SADD', q.lanes, lane)
  end
  redis.call('HSET', q.group .. group, 'tag', tag, 'start', start)
end

-- Makes a group's place agree with the facts: it can be chosen if it has ready members, is below its
-- cap, and no budget holds it. A group with nothing to do is forgotten an hour on, and never before.
function dr.reschedule_group(q, group, newly)
  local key = q.group .. group
  local known = dr.hash(key) or {}
  local lanes, waiting = lanes_of(q, group, known)
  local running = tonumber(known.running) or 0
  local weight, cap, budget = q.limits(group)
  local can = waiting > 0 and may_run(q, group, running, cap, budget)
  if can and not known.tag then
    set_turn(q, group, known, lanes, weight, tonumber(redis.call('HGET', q.state, 'vt')) or 0, newly)
    count_claimable(q, waiting)
  elseif known.tag and not can then
    unschedule(q, group, known.tag, lanes, waiting)
  end
  if waiting == 0 and running == 0 then
    redis.call('PEXPIRE', key, 3600000)
  else
    redis.call('PERSIST', key)
  end
end

-- Places a group whose weight or cap was changed: both count from now on, also for what it had to
-- wait for by the old ones.
function dr.reset_group(q, group)
  local known = dr.hash(q.group .. group) or {}
  if known.tag then unschedule(q, group, known.tag, lanes_of(q, group, known)) end
  dr.reschedule_group(q, group, true)
end

-- A group's name in the active set. Of equal start tags each is taken once before any comes again;
-- the newly active go first, the last that came before those that wait already: so also behind fifty
-- that came just now, of which none had its first turn. The rest go in order.
function dr.new_start_tag(q, group, newly)
  local seq = redis.call('HINCRBY', q.state, 'seq', 1)
  local place = newly and 999999999999999 - seq or seq
  return (newly and '0' or '1') .. string.format('%015.0f', place) .. group
end

-- Makes members ready in a lane of their group: `ranked` is rank, member, rank, member.
function dr.enqueue_all(q, group, ranked, lane)
  lane = lane or ''
  local ready, key = dr.ready_key(q, group, lane), q.group .. group
  local added = redis.call('ZADD', ready, unpack(ranked))
  if added == 0 then return end
  local known = redis.call('HMGET', key, 'tag', 'start', 'lane:' .. lane)
  if not known[3] then
    redis.call('HSET', key, 'lane:' .. lane, 1)
    if known[1] then
      redis.call('ZADD', q.active .. lane, known[2], known[1])
      redis.call('SADD', q.lanes, lane)
    end
  end
  if known[1] then
    count_claimable(q, added)
  else
    dr.reschedule_group(q, group, true)
  end
end

function dr.enqueue(q, group, member, rank, lane) dr.enqueue_all(q, group, { rank, member }, lane) end

-- Makes a member ready in a place before all groups: q.paid or q.isolated.
function dr.enqueue_priority(q, place, member, rank)
  if redis.call('ZADD', place, rank, member) == 1 then count_claimable(q, 1) end
end

-- Takes a member out of a place before all groups; says whether it was there.
function dr.remove_priority(q, place, member)
  if redis.call('ZREM', place, member) == 0 then return false end
  count_claimable(q, -1)
  return true
end

-- Takes a member that is not running out of wherever it waits.
function dr.dequeue(q, group, member, lane)
  redis.call('ZREM', q.due, member)
  if dr.remove_priority(q, q.paid, member) or dr.remove_priority(q, q.isolated, member) then return end
  if redis.call('ZREM', dr.ready_key(q, group, lane), member) == 1 then
    if redis.call('HEXISTS', q.group .. group, 'tag') == 1 then count_claimable(q, -1) end
    dr.reschedule_group(q, group, false)
  end
end

-- Counts one more running member of a group.
function dr.acquire_slot(q, group)
  redis.call('HINCRBY', q.group .. group, 'running', 1)
  dr.reschedule_group(q, group, false)
end

-- The rank of the first of a group's lane.
local function first_rank(q, turn)
  local first = redis.call('ZRANGE', dr.ready_key(q, turn.group, turn.lane), 0, 0, 'WITHSCORES')
  return tonumber(first[2])
end

-- Whether one turn comes before another: it starts earlier; of one group, what has waited longest does.
local function comes_before(q, one, other)
  if one.start ~= other.start then return one.start < other.start end
  if one.tag ~= other.tag then return one.tag < other.tag end
  return first_rank(q, one) < first_rank(q, other)
end

-- The group whose turn it is, over the lanes for which `open` (nil: all are) says yes.
function dr.next_turn(q, open)
  local found
  for _, lane in ipairs(redis.call('SMEMBERS', q.lanes)) do
    local first = (not open or open(lane)) and redis.call('ZRANGE', q.active .. lane, 0, 0, 'WITHSCORES') or {}
    if first[1] then
      local turn = { lane = lane, tag = first[1], start = tonumber(first[2]), group = string.sub(first[1], 17) }
      if not found or comes_before(q, turn, found) then found = turn end
    end
  end
  return found
end

-- Takes away the lanes in which nothing can be claimed.
function dr.drop_empty_lanes(q)
  for _, lane in ipairs(redis.call('SMEMBERS', q.lanes)) do
    if redis.call('EXISTS', q.active .. lane) == 0 then redis.call('SREM', q.lanes, lane) end
  end
end

-- How many groups have something that can be claimed; one with ready members in several lanes counts in each.
function dr.backlogged_groups(q)
  if q.backlogged_groups then return q.backlogged_groups() end
  local groups = 0
  for _, lane in ipairs(redis.call('SMEMBERS', q.lanes)) do groups = groups + redis.call('ZCARD', q.active .. lane) end
  return groups
end

-- The ready members of the groups that are next, so many of each lane, as keys.
function dr.next_ready(q, most)
  if q.next_ready then return q.next_ready(most) end
  local keys = {}
  for _, lane in ipairs(redis.call('SMEMBERS', q.lanes)) do
    for _, tag in ipairs(redis.call('ZRANGE', q.active .. lane, 0, most - 1)) do
      keys[#keys + 1] = dr.ready_key(q, string.sub(tag, 17), lane)
    end
  end
  return keys
end

-- Takes the fairest ready member of the lanes for which `open` (nil: all are) says yes, and gives its group
-- too, or nil. The group pays one unit over its weight. One that waited in a closed lane has saved nothing up.
function dr.pop_fairest(q, now, open)
  local turn = dr.next_turn(q, open)
  if not turn then return nil end
  local group, key = turn.group, q.group .. turn.group
  local member = redis.call('ZPOPMIN', dr.ready_key(q, group, turn.lane))[1]
  local known, vt = dr.hash(key), math.max(turn.start, tonumber(redis.call('HGET', q.state, 'vt')) or 0)
  local lanes, ready = lanes_of(q, group, known)
  local weight, cap, budget = q.limits(group)
  local running = (tonumber(known.running) or 0) + 1
  known.finish = dr.int(vt + cost(weight))
  redis.call('HSET', q.state, 'vt', dr.int(vt), 'claimed', dr.int(now))
  redis.call('HSET', key, 'finish', known.finish, 'running', running)
  for lane in pairs(lanes) do redis.call('ZREM', q.active .. lane, turn.tag) end
  if ready > 0 and may_run(q, group, running, cap, budget) then
    count_claimable(q, -1)
    set_turn(q, group, known, lanes, weight, vt, false)
  else
    count_claimable(q, -1 - ready)
    redis.call('HDEL', key, 'tag', 'start')
  end
  return member, group
end

-- Counts one running member of a group less.
function dr.release_slot(q, group)
  redis.call('HINCRBY', q.group .. group, 'running', -1)
  dr.reschedule_group(q, group, false)
end

-- Gives a running member's slot back to its group; says whether it had one.
function dr.release_lease(q, group, member)
  if redis.call('ZREM', q.leases, member) == 0 then return false end
  dr.release_slot(q, group)
  return true
end

-- Puts one Celery message on the list if what can be claimed calls for it. Each has ids of its own:
-- with equal delivery tags a Celery worker would take them for one. One counter serves both queues,
-- since one worker may consume both. Says whether it did, and whether anything can be claimed.
function dr.permit(q)
  local state = redis.call('HMGET', q.state, 'claimable', 'bound')
  local claimable = tonumber(state[1]) or 0
  local wanted = math.min(claimable, tonumber(state[2]) or C.permits_at_start)
  if redis.call('LLEN', q.list) >= wanted then return false, claimable > 0 end
  local id = string.format('%s-%012x', C.permit_prefix, redis.call('HINCRBY', dr.jobs.state, 'permits', 1))
  redis.call('LPUSH', q.list, (string.gsub(q.permit, C.permit_slot, id)))
  return true, true
end

----------------------------------------------------------------------------------------------
-- The moves of a job
----------------------------------------------------------------------------------------------

local STATUS = { claimed = 'running', calling = 'running', fetching = 'running' }
function dr.status(state) return STATUS[state] or state end

local KNOWN = {
  'tenant', 'state', 'fence', 'version', 'run', 'attempt', 'max_attempts', 'created', 'priority',
  'hist', 'last', 'on_unknown', 'answer', 'object', 'pending', 'enqueued', 'webhook_events', 'webhook_host',
  'reserved_credits', 'batch', 'model', 'isolated', 'started', 'deadline', 'failed_key',
}

-- The fields that decide moves, or nil where there is no such job. One of a batch that is not laid
-- out yet is laid out first: whoever moves a job need not know of that.
function dr.job(id)
  local values = redis.call('HMGET', dr.job_key(id), unpack(KNOWN))
  if not values[1] and dr.materialize({ id }) > 0 then
    values = redis.call('HMGET', dr.job_key(id), unpack(KNOWN))
  end
  if not values[1] then return nil end
  local job = { id = id }
  for i, name in ipairs(KNOWN) do job[name] = values[i] or C.left_out[name] end
  return job
end

-- Fields of a new record without those that say what is understood: a million records are kept.
function dr.omit_defaults(fields)
  local kept = {}
  for i = 1, #fields, 2 do
    if C.left_out[fields[i]] ~= tostring(fields[i + 1]) then
      kept[#kept + 1], kept[#kept + 2] = fields[i], fields[i + 1]
    end
  end
  return kept
end

-- Whether `state` is one of the words in `allowed`, separated by spaces.
function dr.has_word(state, allowed)
  return string.find(' ' .. allowed .. ' ', ' ' .. state .. ' ', 1, true) ~= nil
end

-- Loads a job for a move of the worker that holds it by `fence`. Returns the job, or nil and the
-- word to answer: 'ok' where this very move was made before (its reply was lost), else 'lost'.
function dr.load_fenced(id, fence, move, allowed)
  local job = dr.job(id)
  if not job then return nil, 'lost' end
  if job.last == fence .. ' ' .. move then return nil, 'ok' end
  if job.fence ~= fence or not dr.has_word(job.state, allowed) then return nil, 'lost' end
  job.last = fence .. ' ' .. move
  return job
end

-- Puts a job under a word in the index of its tenant and in that of all tenants, or takes it out.
function dr.add_to_indexes(job, field, value)
  redis.call('ZADD', dr.index_key(job.tenant, field, value), 0, job.id)
  redis.call('ZADD', dr.index_key('', field, value), 0, job.id)
end
function dr.remove_from_indexes(job, field, value)
  redis.call('ZREM', dr.index_key(job.tenant, field, value), job.id)
  redis.call('ZREM', dr.index_key('', field, value), job.id)
end

-- The one write that changes a job: state, version, history, index, feed, and who waits for it.
-- `fields` are name, value, name, value of what else changes.
function dr.transition(job, state, now, fields)
  local key = dr.job_key(job.id)
  local before, after = job.state and dr.status(job.state), dr.status(state)
  job.version = dr.int((tonumber(job.version) or 0) + 1)
  job.state = state
  local line = job.version .. ' ' .. dr.int(now - job.created) .. ' ' .. state .. ' ' .. job.attempt
  job.hist = dr.append_history(job.hist, line)
  if job.last then fields[#fields + 1], fields[#fields + 2] = 'last', job.last end
  redis.call('HSET', key, 'state', state, 'version', job.version, 'hist', job.hist,
    'attempt', job.attempt, unpack(fields))
  if before ~= after then
    if before then
      dr.remove_from_indexes(job, 'status', before)
      redis.call('HINCRBY', '{dr}:counts', before, -1)
    end
    dr.add_to_indexes(job, 'status', after)
    redis.call('HINCRBY', '{dr}:counts', after, 1)
    redis.call('HINCRBY', '{dr}:totals', before and after or after == 'queued' and 'accepted' or 'reused', 1)
    dr.append_event(job.tenant, job.id, job.version, after, now)
    if before and job.batch then dr.count_transition(job.batch, before, after, now) end
  end
  dr.notify(job.id, job.version, before ~= after and job.tenant or '')
end

-- Tells a change of status in the tenant's feed.
function dr.append_event(tenant, id, version, status, now)
  redis.call('XADD', '{dr}:feed:' .. tenant, 'MINID', '~', dr.int(now - C.feed_ms), '*',
    'job', id, 'version', version, 'status', status)
end

-- Wakes who waits for a job, and for news in a tenant's feed ('': there are none).
function dr.notify(id, version, tenant)
  redis.call('XADD', '{dr}:notifications', 'MAXLEN', '~', 10000, '*', 'job', id, 'version', version,
    'tenant', tenant)
end

-- History is for resuming a stream of events: the last 4,000 characters are plenty.
function dr.append_history(history, line)
  local whole = history and history ~= '' and (history .. ';' .. line) or line
  if #whole <= 4000 then return whole end
  return string.sub(whole, string.find(whole, ';', #whole - 4000, true) + 1)
end

-- Adds a line to a log, of which the newest `most` are kept.
function dr.append_line(log, line, most)
  if not log then return line end
  local _, newlines = string.gsub(log, '\n', '\n')
  if newlines + 1 >= most then log = string.sub(log, string.find(log, '\n', 1, true) + 1) end
  return log .. '\n' .. line
end

-- Notes on a job how an attempt went wrong: 'retry', 'held' (the gate does the waiting), 'failed' or
-- 'lost' (its worker is gone), and what was said (JSON). Call it before the move that ends it.
function dr.record_attempt_error(job, now, outcome, said)
  local key = dr.job_key(job.id)
  local line = table.concat({ job.run, job.attempt, dr.int(now - job.created), outcome, said }, ' ')
  redis.call('HSET', key, 'log', dr.append_line(redis.call('HGET', key, 'log'), line, C.notes_kept))
end

-- A job's place within its tenant's queue: arrival and priority in one number.
function dr.rank(job)
  return (job.enqueued or job.created) + C.priority_offset_ms[job.priority]
end

-- More than all ranks are apart, and little enough to be exact.
local BEFORE_ALL_MS = 10 ^ 14

-- Puts a queued job where it is claimed from.
function dr.make_ready(job)
  if job.isolated then
    -- what is paid comes first: else it would wait behind a closed gate for what is not
    local rank = dr.rank(job) - (job.answer and BEFORE_ALL_MS or 0)
    dr.enqueue_priority(dr.jobs, dr.jobs.isolated, job.id, rank)
  elseif job.answer then
    dr.enqueue_priority(dr.jobs, dr.jobs.paid, job.id, dr.rank(job))
  else
    dr.enqueue(dr.jobs, job.tenant, job.id, dr.rank(job), job.model)
  end
  dr.permit(dr.jobs)
end

-- Sends to the trash, for later, whatever may have been stored of a picture that will not be the
-- job's: by a worker that was lost before it could say so, or one that is late.
function dr.schedule_image_deletion(job, now)
  if not job.object then return end
  for _, extension in ipairs({ 'webp', 'jpg', 'png' }) do
    redis.call('ZADD', '{dr}:object_deletions', now + C.trash_ms, job.object .. '.' .. extension)
  end
end

-- Ends a job: slot, deadline, expiry, and the webhook it owes.
function dr.finish(job, state, now, fields)
  if state ~= 'succeeded' then dr.schedule_image_deletion(job, now) end
  if dr.release_lease(dr.jobs, job.tenant, job.id) then dr.record_throughput(job, now) end
  dr.dequeue(dr.jobs, job.tenant, job.id, job.model)
  dr.release_credits(job)
  redis.call('HDEL', dr.job_key(job.id), 'due')
  redis.call('ZREM', '{dr}:deadlines', job.id)
  redis.call('ZADD', '{dr}:expiries', now + C.retention_ms, job.id)
  for _, value in ipairs({ 'finished', dr.int(now), 'expires', dr.int(now + C.retention_ms) }) do
    fields[#fields + 1] = value
  end
  dr.transition(job, state, now, fields)
  dr.add_delivery(job, 'job.' .. state, now)
  dr.permit(dr.jobs)
end

-- Ends a job that went wrong.
function dr.fail(job, now, code, message, retryable)
  dr.add_to_indexes(job, 'error', code)
  dr.finish(job, 'failed', now,
    { 'error_code', code, 'error_message', message, 'error_retryable', retryable })
end

-- Ends a job whose deadline has passed, outside of a worker's attempt.
function dr.expire(job, now)
  job.last = 'expire'
  if job.pending then dr.charge_credits(job, now) end
  dr.fail(job, now, 'deadline_exceeded', 'The deadline passed before the image was there.', '1')
  dr.report_end(job, now, 'deadline_exceeded')
end

-- Ends a job that nobody wants any more.
function dr.cancel(job, now)
  dr.finish(job, 'canceled', now, {})
  dr.report_end(job, now, '')
end

-- Notes a job that ended outside of a worker's attempt: whoever sweeps next counts it in its metrics.
-- With no sweep for long, the last 100,000 are counted.
function dr.report_end(job, now, code)
  local line = table.concat({ job.model, job.state, code, dr.int(now - job.created) }, ' ')
  if redis.call('RPUSH', '{dr}:ended', line) > 100000 then redis.call('LPOP', '{dr}:ended') end
end

-- Forgets a final job: its record, its place in every index, its deliveries, and its image.
function dr.delete_job(job, now)
  local key = dr.job_key(job.id)
  dr.delete_deliveries(job.id, key, now)
  local known = redis.call('HMGET', key, 'image', 'spec', 'error_code')
  local status = dr.status(job.state)
  if known[1] then redis.call('ZADD', '{dr}:object_deletions', now, cjson.decode(known[1]).key) end
  redis.call('ZREM', dr.index_key(job.tenant), job.id)
  dr.remove_from_indexes(job, 'status', status)
  if known[3] then dr.remove_from_indexes(job, 'error', known[3]) end
  if job.batch then dr.count_deletion(job, now) end
  for _, tag in ipairs(cjson.decode(known[2]).tags or {}) do
    redis.call('ZREM', dr.index_key(job.tenant, 'tag', tag), job.id)
  end
  redis.call('ZREM', '{dr}:expiries', job.id)
  redis.call('HINCRBY', '{dr}:counts', status, -1)
  redis.call('DEL', key)
  dr.notify(job.id, 'gone', '')
end

-- Sends a failed or canceled job again as its next run. `deadline` is milliseconds from now, `mark`
-- the word by which this very request is known, `requests` how many of its tenant's this is. Gives
-- why not, as dr.check_admission does, or nothing; and what was asked for.
function dr.rerun(job, now, deadline, mark, requests)
  local key = dr.job_key(job.id)
  local known = redis.call('HMGET', key, 'error_code', 'unknown', 'regenerated', 'credits')
  -- the answer of a job that is paid is kept as long as its image may be had: it is fetched, not paid for again
  local paid = job.answer
  local ask = {
    tenant = job.tenant, may = dr.load_limits(job.tenant), now = now, n = 1, requests = requests, model = job.model,
    credits = not paid and tonumber(known[4]) or 0, free = paid,
    rank = now + C.priority_offset_ms[job.priority], deadline = deadline,
  }
  local fault = dr.check_admission(ask)
  if fault then return fault, ask end
  dr.commit_admission(ask)
  if ask.credits > 0 then redis.call('HSET', key, 'reserved_credits', known[4]) end
  if known[1] then dr.remove_from_indexes(job, 'error', known[1]) end
  if job.answer then
    -- under another name: the trash may be about to delete what was stored under the old one
    local answer = cjson.decode(job.answer)
    answer.object_name = answer.object_name .. '.' .. dr.int(job.run + 1)
    redis.call('HSET', key, 'answer', cjson.encode(answer), 'object', answer.object_name)
  else
    redis.call('HDEL', key, 'object')
  end
  redis.call('HDEL', key, 'error_code', 'error_message', 'error_retryable', 'last_error_code',
    'last_error_message', 'pending', 'started', 'claimed', 'finished', 'expires', 'worker_losses',
    'worker_losses_here', 'isolated', 'failed_key', 't_provider', 't_download', 't_store')
  job.isolated = nil
  redis.call('ZREM', '{dr}:expiries', job.id)
  redis.call('ZADD', '{dr}:deadlines', now + deadline, job.id)
  job.last, job.attempt, job.enqueued = mark, '0', dr.int(now)
  job.run = dr.int(job.run + 1)
  dr.transition(job, 'queued', now, {
    'run', job.run, 'enqueued', job.enqueued, 'deadline', dr.int(now + deadline),
    'spare_calls', dr.int((tonumber(known[2]) or 0) + (tonumber(known[3]) or 0)),
  })
  dr.make_ready(job)
  return nil, ask
end

-- Queues a running job again; `wait` is milliseconds, 0 for at once.
function dr.requeue(job, now, wait, fields)
  dr.release_lease(dr.jobs, job.tenant, job.id)
  if wait > 0 then
    redis.call('ZADD', dr.jobs.due, now + wait, job.id)
    fields[#fields + 1] = 'due'
    fields[#fields + 1] = dr.int(now + wait)
  end
  dr.transition(job, 'queued', now, fields)
  if wait == 0 then dr.make_ready(job) else dr.permit(dr.jobs) end
end

----------------------------------------------------------------------------------------------
-- Operators: keys, and what is kept of each of their writes. The first three arguments of a script
-- that writes for one are a word of this request's own, who asks, and the request's id.
----------------------------------------------------------------------------------------------

-- Whether a key opens anything: 'living', 'revoked' or 'expired'.
function dr.key_state(key, now)
  if key.revoked then return 'revoked' end
  return key.expires and tonumber(key.expires) <= now and 'expired' or 'living'
end

-- Whether keys may belong to this holder: a tenant that there is, or the operators.
function dr.has_keys(holder)
  return holder == '@operators'
    or redis.call('HEXISTS', dr.tenant_key(holder), 'webhook_secret') == 1
end

-- What this request was answered before, where it is sent again, else nil. `args` are the script's.
function dr.replay(args)
  local said = redis.call('GET', '{dr}:replies:' .. args[1])
  return said and cjson.decode(said)
end

-- Notes a write, with what it changed as JSON, and keeps its answer should it be sent again.
function dr.audit(args, action, target, detail, reply)
  redis.call('XADD', '{dr}:audit', 'MAXLEN', '~', C.audit_entries, '*', 'by', args[2],
    'request', args[3], 'action', action, 'target', target, 'detail', detail)
  redis.call('SET', '{dr}:replies:' .. args[1], cjson.encode(reply), 'PX', 60000)
  return reply
end
