-- Which delivery is sent next. Tenants share by weight (start-time fair queueing), the hosts of one tenant take
-- turns, and tenants of one host take turns at its slots. A tenant's host is responsive for some minutes after it
-- answered in time. All others, new ones too, are unproven and together hold at most half of the threads, so that
-- hosts which keep everybody waiting leave the other half free; of their half a tenant takes no more than it leaves
-- free, so that the next one finds room. A delivery waits in its tenant's line to its host, or in q.due.
local keys, limits, queue, util = ... -- requires

local M = {}

local q = queue.deliveries

-- More than there will be turns; times the threads of a service it is exact.
local TURNS = 2 ^ 40

local function next_turn() return redis.call('HINCRBY', q.state, 'turn', 1) end

local function is_responsive(tenant, host) return redis.call('EXISTS', keys.host_answered(tenant, host)) == 1 end

local function free_slots(host) return C.max_per_host - (tonumber(redis.call('GET', keys.host_slots(host))) or 0) end

-- How many more threads unproven hosts may hold. Where no worker has told its threads, any number.
local function free_threads()
  local known = redis.call('HMGET', q.state, 'threads', 'unproven')
  local threads = tonumber(known[1]) or 0
  if threads == 0 then return math.huge end
  return math.max(1, math.floor(threads / 2)) - (tonumber(known[2]) or 0)
end

-- Whether a tenant that holds so many threads for unproven hosts may take one more.
local function has_free_thread(held) return held < free_threads() end

local function unschedule(tenant, tag, ready)
  redis.call('ZREM', keys.delivery_tenants, tag)
  redis.call('HDEL', keys.delivery_tenant(tenant), 'tag')
  redis.call('HINCRBY', q.state, 'claimable', -ready)
end

local function schedule(tenant, finish, ready, newly)
  local round = tonumber(redis.call('HGET', q.state, 'round')) or 0
  local most = round + queue.cost((limits.for_queue(tenant)))
  local tag = queue.new_start_tag(q, tenant, newly)
  redis.call('ZADD', keys.delivery_tenants, math.min(math.max(round, finish), most), tag)
  redis.call('HSET', keys.delivery_tenant(tenant), 'tag', tag)
  redis.call('HINCRBY', q.state, 'claimable', ready)
end

-- Puts a tenant among those who wait for an unproven host's thread: who holds least comes first, then
-- who has waited longest.
local function defer_tenant(tenant, held)
  local before = redis.call('ZSCORE', keys.crowded, tenant)
  local order = before and before % TURNS or next_turn()
  redis.call('ZADD', keys.crowded, util.int(held * TURNS + order), tenant)
end

-- Makes a tenant's place agree with the facts, as queue.reschedule_group does a group's.
local function reschedule_tenant(tenant, newly)
  local key = keys.delivery_tenant(tenant)
  local known = redis.call('HMGET', key, 'tag', 'finish', 'ready', 'unproven')
  local tag, ready, held = known[1], tonumber(known[3]) or 0, tonumber(known[4]) or 0
  local waits = redis.call('ZCARD', keys.unproven_hosts(tenant)) > 0
  local can = redis.call('ZCARD', keys.responsive_hosts(tenant)) > 0 or waits and has_free_thread(held)
  if can and not tag then
    schedule(tenant, tonumber(known[2]) or 0, ready, newly)
    redis.call('ZREM', keys.crowded, tenant)
  elseif tag and not can then
    unschedule(tenant, tag, ready)
  end
  if waits and not can then
    defer_tenant(tenant, held)
  elseif not can then
    redis.call('ZREM', keys.crowded, tenant)
  end
  if ready == 0 and held == 0 then
    redis.call('PEXPIRE', key, 3600000)
  elseif not tag then
    redis.call('PERSIST', key)
  end
end

-- Lets the first of those who wait for an unproven host's thread have one, if one is free for it.
local function relieve()
  local first = redis.call('ZRANGE', keys.crowded, 0, 0, 'WITHSCORES')
  local can = first[1] and has_free_thread(math.floor(first[2] / TURNS))
  if can then reschedule_tenant(first[1], true) end
  return can
end

local function count_ready(tenant, change)
  redis.call('HINCRBY', keys.delivery_tenant(tenant), 'ready', change)
  if redis.call('HEXISTS', keys.delivery_tenant(tenant), 'tag') == 1 then
    redis.call('HINCRBY', q.state, 'claimable', change)
  end
end

-- Gives a line a turn, or lets it wait for a slot of its host. The tenant must be placed then.
local function open(tenant, host, first)
  local size = redis.call('ZCARD', keys.delivery_line(tenant, host))
  if size == 0 then return end
  local turn = next_turn()
  if free_slots(host) <= 0 then
    redis.call('ZADD', keys.full_host(host), turn, tenant)
    return
  end
  local turns = is_responsive(tenant, host) and keys.responsive_hosts(tenant) or keys.unproven_hosts(tenant)
  redis.call('ZADD', turns, first and -turn or turn, host)
  count_ready(tenant, size)
end

-- Takes a line's turn away, and `size` deliveries with it. The tenant must be placed then.
local function close(tenant, host, size)
  redis.call('ZREM', keys.responsive_hosts(tenant), host)
  redis.call('ZREM', keys.unproven_hosts(tenant), host)
  count_ready(tenant, -size)
end

-- Lets a line that has a turn wait for a slot of its host.
local function await_slot(tenant, host)
  close(tenant, host, redis.call('ZCARD', keys.delivery_line(tenant, host)))
  redis.call('ZADD', keys.full_host(host), next_turn(), tenant)
end

-- Gives a turn to as many lines as their host has free slots.
local function admit(host, free)
  if free <= 0 then return end
  local waiting = redis.call('ZPOPMIN', keys.full_host(host), free)
  for i = 1, #waiting, 2 do
    open(waiting[i], host)
    reschedule_tenant(waiting[i], true)
  end
end

-- Makes a delivery ready in its tenant's line to its host; `first`: the line is the tenant's next.
function M.enqueue(delivery, rank, first)
  local tenant, host = delivery.tenant, delivery.host
  local line = keys.delivery_line(tenant, host)
  if redis.call('ZADD', line, rank, delivery.id) == 0 then return end
  local is_new = redis.call('ZCARD', line) == 1
  if is_new then
    open(tenant, host, first)
    reschedule_tenant(tenant, true)
  elseif not redis.call('ZSCORE', keys.full_host(host), tenant) then
    count_ready(tenant, 1)
    for _, turns in ipairs(first and { keys.responsive_hosts(tenant), keys.unproven_hosts(tenant) } or {}) do
      redis.call('ZADD', turns, 'XX', -next_turn(), host)
    end
  end
end

-- Takes a delivery that is not being sent out of wherever it waits to be sent.
function M.dequeue(delivery)
  local tenant, host = delivery.tenant, delivery.host
  local line = keys.delivery_line(tenant, host)
  redis.call('ZREM', q.due, delivery.id)
  if redis.call('ZREM', line, delivery.id) == 0 then return end
  local is_empty = redis.call('ZCARD', line) == 0
  if redis.call('ZSCORE', keys.full_host(host), tenant) then
    if is_empty then redis.call('ZREM', keys.full_host(host), tenant) end
    return
  end
  count_ready(tenant, -1)
  if is_empty then
    close(tenant, host, 0)
    reschedule_tenant(tenant, false)
    admit(host, free_slots(host))
    relieve()
  end
end

-- The host whose turn it is among a tenant's, where its line has its turn, and whether it is unproven;
-- nil where none may be sent to.
local function next_host(tenant)
  local turns = keys.responsive_hosts(tenant)
  local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
  local other = redis.call('ZRANGE', keys.unproven_hosts(tenant), 0, 0, 'WITHSCORES')
  if other[1] and not (first[1] and tonumber(first[2]) < tonumber(other[2])) then
    local held = tonumber(redis.call('HGET', keys.delivery_tenant(tenant), 'unproven')) or 0
    if has_free_thread(held) then
      first, turns = other, keys.unproven_hosts(tenant)
    end
  end
  local host = first[1]
  if not host then return nil end
  if is_responsive(tenant, host) then return host, turns, false end
  if turns == keys.unproven_hosts(tenant) then return host, turns, true end
  -- it was responsive when its line had its turn, and is no more
  redis.call('ZREM', turns, host)
  redis.call('ZADD', keys.unproven_hosts(tenant), first[2], host)
  return nil
end

-- Takes the first delivery of a line for a thread, and counts what it holds. The rest of the line goes
-- to the end of the turns, or waits for a slot.
local function take(tenant, host, turns, is_unproven)
  local line = keys.delivery_line(tenant, host)
  local id = redis.call('ZPOPMIN', line)[1]
  count_ready(tenant, -1)
  -- with the length of the tenant's name, which says where the host's begins
  local holds = string.format('%d %d %s%s', is_unproven and 1 or 0, #tenant, tenant, host)
  redis.call('HSET', keys.sending, id, holds)
  if is_unproven then
    redis.call('HINCRBY', keys.delivery_tenant(tenant), 'unproven', 1)
    redis.call('HINCRBY', q.state, 'unproven', 1)
  end
  local used = redis.call('INCR', keys.host_slots(host))
  if redis.call('EXISTS', line) == 0 then
    redis.call('ZREM', turns, host)
  elseif used >= C.max_per_host then
    await_slot(tenant, host)
  else
    redis.call('ZADD', turns, next_turn(), host)
  end
  return id
end

-- Lets a tenant pay one unit over its weight.
local function charge(tenant, tag, start)
  local finish = util.int(start + queue.cost((limits.for_queue(tenant))))
  local later = queue.new_start_tag(q, tenant, false)
  redis.call('ZREM', keys.delivery_tenants, tag)
  redis.call('ZADD', keys.delivery_tenants, finish, later)
  redis.call('HSET', keys.delivery_tenant(tenant), 'finish', finish, 'tag', later)
  redis.call('HSET', q.state, 'round', util.int(start))
end

-- Takes the fairest delivery. Returns nil where nothing may be sent, false where the first that was looked
-- at may not: the next look finds another.
function M.pop()
  local first = redis.call('ZRANGE', keys.delivery_tenants, 0, 0, 'WITHSCORES')
  if not first[1] then return nil end
  local tenant, id = string.sub(first[1], 17), false
  local host, turns, is_unproven = next_host(tenant)
  if host and free_slots(host) <= 0 then
    await_slot(tenant, host)
  elseif host then
    charge(tenant, first[1], tonumber(first[2]))
    id = take(tenant, host, turns, is_unproven)
  end
  reschedule_tenant(tenant, false)
  if not id then relieve() end
  return id
end

-- Whether it is for an unproven host, whose tenant and which host: what a delivery being sent holds.
local function threads_of(id)
  local mark, length, names = string.match(redis.call('HGET', keys.sending, id) or '', '^(%d) (%d+) (.*)$')
  if not mark then return nil end
  return mark == '1', string.sub(names, 1, tonumber(length)), string.sub(names, length + 1)
end

-- Gives back the lease, the slot and the thread that a delivery holds, if any.
function M.release(delivery)
  local is_unproven, tenant, host = threads_of(delivery.id)
  redis.call('ZREM', q.leases, delivery.id)
  if is_unproven == nil then return end -- nobody claimed it
  redis.call('HDEL', keys.sending, delivery.id)
  local used = redis.call('DECR', keys.host_slots(host))
  if used <= 0 then redis.call('DEL', keys.host_slots(host)) end
  if is_unproven then
    redis.call('HINCRBY', keys.delivery_tenant(tenant), 'unproven', -1)
    redis.call('HINCRBY', q.state, 'unproven', -1)
    reschedule_tenant(tenant, false)
  end
  admit(host, C.max_per_host - math.max(used, 0))
  if is_unproven then relieve() end
end

-- Records whether a host answered in time. What one tenant learns there counts for itself alone.
function M.record_answer(delivery, in_time)
  local tenant, host = delivery.tenant, delivery.host
  if not in_time then
    redis.call('DEL', keys.host_answered(tenant, host))
    return
  end
  redis.call('SET', keys.host_answered(tenant, host), 1, 'PX', C.responsive_ms)
  local turn = redis.call('ZSCORE', keys.unproven_hosts(tenant), host)
  if not turn then return end
  redis.call('ZREM', keys.unproven_hosts(tenant), host)
  redis.call('ZADD', keys.responsive_hosts(tenant), turn, host)
  reschedule_tenant(tenant, true)
end

-- Places a tenant whose weight was changed: it counts from now on.
function M.reset_tenant(tenant)
  local known = redis.call('HMGET', keys.delivery_tenant(tenant), 'tag', 'ready')
  if not known[1] then return end
  unschedule(tenant, known[1], tonumber(known[2]) or 0)
  reschedule_tenant(tenant, true)
end

-- What the sweep puts right: threads that came or went, so many turns at most.
function M.tick(threads, most)
  redis.call('HSET', q.state, 'threads', threads)
  for _ = 1, most do
    if not relieve() then break end
  end
end

-- How many deliveries are being sent to unproven hosts, and how many tenants wait to send to one.
function M.unproven()
  return { tonumber(redis.call('HGET', q.state, 'unproven')) or 0, redis.call('ZCARD', keys.crowded) }
end

-- How many tenants have something that may be sent.
function q.backlogged_groups() return redis.call('ZCARD', keys.delivery_tenants) end

-- The next lines of the tenants that are next, so many of them, as keys.
function q.next_ready(most)
  local found = {}
  for _, tag in ipairs(redis.call('ZRANGE', keys.delivery_tenants, 0, most - 1)) do
    local tenant = string.sub(tag, 17)
    for _, turns in ipairs({ keys.responsive_hosts(tenant), keys.unproven_hosts(tenant) }) do
      local host = redis.call('ZRANGE', turns, 0, 0)[1]
      if host then found[#found + 1] = keys.delivery_line(tenant, host) end
    end
  end
  return found
end

return M
