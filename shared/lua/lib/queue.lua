-- The fair queue: start-time fair queueing over groups (tenants). Within a group, the ready members of a lane (jobs
-- of one model) are one sorted set, so that a held model does not block the others. `paid` members, which need no
-- provider, come before all groups, and so do `isolated` ones, which lost their worker and are claimed one at a time
-- by each process. shared/store/keys.py describes the keys.
local clock, credits, keys, limits, util = ... -- requires

local M = {}

-- What one member costs a group, in virtual time.
function M.cost(weight) return math.floor(1000000 / weight) end

-- `record` is the prefix of a member's record, `list` is the Celery queue that gets `permit` messages.
local function new_queue(name, record, list, permit)
  return {
    name = name,
    record = record,
    list = list,
    permit = permit,
    state = keys.queue_state(name),
    lanes = keys.queue_lanes(name),
    leases = keys.queue_leases(name),
    due = keys.queue_due(name),
    paid = keys.queue_paid(name),
    isolated = keys.queue_isolated(name),
    budget_blocked = keys.queue_budget_blocked(name),
    -- the prefix of the keys of lanes and groups
    active = keys.queue_active(name, ''),
    group = keys.queue_group(name, ''),
  }
end

M.jobs = new_queue('jobs', keys.job, C.generate_list, C.generate_permit)
M.deliveries = new_queue('deliveries', keys.delivery, C.deliver_list, C.deliver_permit)

-- Return the key of the ready members of one lane of a group.
function M.ready_key(q, group, lane) return keys.queue_ready(q.name, group, lane or '') end

-- Return a job's place within its tenant's queue: arrival and priority in one number.
function M.rank(job) return (job.enqueued or job.created) + C.priority_offset_ms[job.priority] end

local function count_claimable(q, members) redis.call('HINCRBY', q.state, 'claimable', members) end

-- Return the lanes in which a group has ready members, the number in each, and the total. `known` is the group's
-- hash.
local function lanes_of(q, group, known)
  local lanes, ready = {}, 0
  for name in pairs(known) do
    local lane = string.match(name, '^lane:(.*)$')
    local members = lane and redis.call('ZCARD', M.ready_key(q, group, lane)) or 0
    if members > 0 then
      lanes[lane], ready = members, ready + members
    elseif lane then
      redis.call('HDEL', q.group .. group, name)
      if known.tag then redis.call('ZREM', q.active .. lane, known.tag) end
    end
  end
  return lanes, ready
end

-- Remove a group with `ready` ready members from those that can be chosen.
local function unschedule(q, group, tag, lanes, ready)
  for lane in pairs(lanes) do
    redis.call('ZREM', q.active .. lane, tag)
  end
  count_claimable(q, -ready)
  redis.call('HDEL', q.group .. group, 'tag', 'start')
end

-- Return whether one more member of a group may run: it is below its cap, and no budget holds it. The sweep checks a
-- group that a budget holds again when the day or month has ended.
local function may_run(q, group, running, cap, budgets)
  if running >= cap then return false end
  if not budgets then return true end
  local held_until = credits.held_until(budgets, running, clock.now())
  if not held_until then return true end
  redis.call('ZADD', q.budget_blocked, util.int(held_until), group)
  return false
end

function M.has_slot(q, group)
  local running = tonumber(redis.call('HGET', q.group .. group, 'running')) or 0
  local _, cap, budgets = limits.for_queue(group)
  return may_run(q, group, running, cap, budgets)
end

-- Return a group's name in the active set. Of equal start tags, each is taken once before any is taken again. Newly
-- active groups come first, and of those the last to arrive first. Otherwise a single job would wait behind fifty
-- groups that just arrived and have not had their first turn. The others follow in order.
function M.new_start_tag(q, group, newly)
  local seq = redis.call('HINCRBY', q.state, 'seq', 1)
  local place = newly and 999999999999999 - seq or seq
  return (newly and '0' or '1') .. string.format('%015.0f', place) .. group
end

-- Give a group its turn, in all its lanes. Its start tag is `finish`, up to which its claims are charged, but not less
-- than the virtual time `vt`, so an idle group gains no credit, and not more than `vt` and the cost of one member, so a
-- raised weight counts at once.
local function set_turn(q, group, known, lanes, weight, vt, newly)
  local start = util.int(math.min(math.max(vt, tonumber(known.finish) or 0), vt + M.cost(weight)))
  local tag = M.new_start_tag(q, group, newly)
  for lane in pairs(lanes) do
    redis.call('ZADD', q.active .. lane, start, tag)
    redis.call('SADD', q.lanes, lane)
  end
  redis.call('HSET', q.group .. group, 'tag', tag, 'start', start)
end

-- Update a group's place from its current state: it can be chosen if it has ready members, is below its cap, and no
-- budget holds it. A group without members is deleted an hour later, never earlier.
function M.reschedule_group(q, group, newly)
  local key = q.group .. group
  local known = util.read_hash(key) or {}
  local lanes, waiting = lanes_of(q, group, known)
  local running = tonumber(known.running) or 0
  local weight, cap, budgets = limits.for_queue(group)
  local can = waiting > 0 and may_run(q, group, running, cap, budgets)
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

-- Place a group whose weight or cap was changed: both count from now on, also for members that waited under the old
-- ones.
function M.reset_group(q, group)
  local known = util.read_hash(q.group .. group) or {}
  if known.tag then unschedule(q, group, known.tag, lanes_of(q, group, known)) end
  M.reschedule_group(q, group, true)
end

-- Make members ready in a lane of their group: `ranked` is rank, member, rank, member.
function M.enqueue_all(q, group, ranked, lane)
  lane = lane or ''
  local ready, key = M.ready_key(q, group, lane), q.group .. group
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
    M.reschedule_group(q, group, true)
  end
end

function M.enqueue(q, group, member, rank, lane) M.enqueue_all(q, group, { rank, member }, lane) end

-- Make a member ready in a place before all groups: q.paid or q.isolated.
function M.enqueue_priority(q, place, member, rank)
  if redis.call('ZADD', place, rank, member) == 1 then count_claimable(q, 1) end
end

-- Remove a member from a place before all groups; return whether it was there.
function M.remove_priority(q, place, member)
  if redis.call('ZREM', place, member) == 0 then return false end
  count_claimable(q, -1)
  return true
end

-- Remove a member that is not running from wherever it waits.
function M.dequeue(q, group, member, lane)
  redis.call('ZREM', q.due, member)
  if M.remove_priority(q, q.paid, member) or M.remove_priority(q, q.isolated, member) then return end
  if redis.call('ZREM', M.ready_key(q, group, lane), member) == 1 then
    if redis.call('HEXISTS', q.group .. group, 'tag') == 1 then count_claimable(q, -1) end
    M.reschedule_group(q, group, false)
  end
end

-- Count one more running member of a group.
function M.acquire_slot(q, group)
  redis.call('HINCRBY', q.group .. group, 'running', 1)
  M.reschedule_group(q, group, false)
end

-- Count one running member of a group less.
function M.release_slot(q, group)
  redis.call('HINCRBY', q.group .. group, 'running', -1)
  M.reschedule_group(q, group, false)
end

-- Return a running member's slot to its group; return whether it had one.
function M.release_lease(q, group, member)
  if redis.call('ZREM', q.leases, member) == 0 then return false end
  M.release_slot(q, group)
  return true
end

-- Return the rank of the first member of a group's lane.
local function first_rank(q, turn)
  local first = redis.call('ZRANGE', M.ready_key(q, turn.group, turn.lane), 0, 0, 'WITHSCORES')
  return tonumber(first[2])
end

-- Return whether one turn comes before another: the one that starts earlier or, within a group, has waited longest.
local function comes_before(q, one, other)
  if one.start ~= other.start then return one.start < other.start end
  if one.tag ~= other.tag then return one.tag < other.tag end
  return first_rank(q, one) < first_rank(q, other)
end

-- Return the group whose turn it is, over the lanes for which `open` (nil: all are) returns true.
function M.next_turn(q, open)
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

-- Take the fairest ready member of the lanes for which `open` (nil: all are) returns true; return it and its group,
-- or nil. The group is charged one unit, divided by its weight. Waiting in a closed lane earns no credit.
function M.pop_fairest(q, now, open)
  local turn = M.next_turn(q, open)
  if not turn then return nil end
  local group, key = turn.group, q.group .. turn.group
  local member = redis.call('ZPOPMIN', M.ready_key(q, group, turn.lane))[1]
  local known, vt = util.read_hash(key), math.max(turn.start, tonumber(redis.call('HGET', q.state, 'vt')) or 0)
  local lanes, ready = lanes_of(q, group, known)
  local weight, cap, budgets = limits.for_queue(group)
  local running = (tonumber(known.running) or 0) + 1
  known.finish = util.int(vt + M.cost(weight))
  redis.call('HSET', q.state, 'vt', util.int(vt), 'claimed', util.int(now))
  redis.call('HSET', key, 'finish', known.finish, 'running', running)
  for lane in pairs(lanes) do
    redis.call('ZREM', q.active .. lane, turn.tag)
  end
  if ready > 0 and may_run(q, group, running, cap, budgets) then
    count_claimable(q, -1)
    set_turn(q, group, known, lanes, weight, vt, false)
  else
    count_claimable(q, -1 - ready)
    redis.call('HDEL', key, 'tag', 'start')
  end
  return member, group
end

-- Remove the lanes in which nothing can be claimed.
function M.drop_empty_lanes(q)
  for _, lane in ipairs(redis.call('SMEMBERS', q.lanes)) do
    if redis.call('EXISTS', q.active .. lane) == 0 then redis.call('SREM', q.lanes, lane) end
  end
end

-- Return how many groups have a member that can be claimed; a group with several lanes counts in each.
function M.backlogged_groups(q)
  if q.backlogged_groups then return q.backlogged_groups() end
  local groups = 0
  for _, lane in ipairs(redis.call('SMEMBERS', q.lanes)) do
    groups = groups + redis.call('ZCARD', q.active .. lane)
  end
  return groups
end

-- Return the ready members of the next groups, at most `most` of each lane, as keys.
function M.next_ready(q, most)
  if q.next_ready then return q.next_ready(most) end
  local found = {}
  for _, lane in ipairs(redis.call('SMEMBERS', q.lanes)) do
    for _, tag in ipairs(redis.call('ZRANGE', q.active .. lane, 0, most - 1)) do
      found[#found + 1] = M.ready_key(q, string.sub(tag, 17), lane)
    end
  end
  return found
end

return M
