-- Which delivery is sent next. Tenants share by weight (start-time fair queueing), the hosts of one tenant take
-- turns, and the tenants of one host take turns at its slots. A tenant's host is responsive for some minutes after it
-- responded in time. All other hosts, new ones too, are unproven. Together they hold at most half of the threads, so
-- hosts that do not respond leave the other half free. Of the unproven half, a tenant takes at most as many threads
-- as it leaves free, so that the next tenant finds some. A delivery waits in its tenant's line to its host, or in
-- q.due.
local keys, limits, queue, util = ... -- requires

local M = {}

local q = queue.deliveries

-- More than the number of turns; multiplied by the threads of a service it is still exact.
local TURNS = 2 ^ 40

local function next_turn() return redis.call('HINCRBY', q.state, 'turn', 1) end

local function is_responsive(tenant, host) return redis.call('EXISTS', keys.host_answered(tenant, host)) == 1 end

local function free_slots(host) return C.max_per_host - (tonumber(redis.call('GET', keys.host_slots(host))) or 0) end

-- Return how many more threads unproven hosts may hold: any number while no worker has reported its threads.
local function free_threads()
  local known = redis.call('HMGET', q.state, 'threads', 'unproven')
  local threads = tonumber(known[1]) or 0
  if threads == 0 then return math.huge end
  return math.max(1, math.floor(threads / 2)) - (tonumber(known[2]) or 0)
end

-- Return whether a tenant that holds `held` threads for unproven hosts may take one more.
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

-- Put a tenant among those that wait for an unproven host's thread: the one that holds the fewest first, then the one
-- that has waited longest.
local function defer_tenant(tenant, held)
  local before = redis.call('ZSCORE', keys.crowded, tenant)
  local order = before and before % TURNS or next_turn()
  redis.call('ZADD', keys.crowded, util.int(held * TURNS + order), tenant)
end

-- Update a tenant's place from its current state, as queue.reschedule_group does for a group.
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

-- Give the first tenant that waits for an unproven host's thread one, if one is free for it.
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

-- Give a line a turn, or let it wait for a slot of its host. The tenant must be placed afterwards.
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

-- Take a line's turn away, and `size` deliveries with it. The tenant must be placed afterwards.
local function close(tenant, host, size)
  redis.call('ZREM', keys.responsive_hosts(tenant), host)
  redis.call('ZREM', keys.unproven_hosts(tenant), host)
  count_ready(tenant, -size)
end

-- Let a line that has a turn wait for a slot of its host.
local function await_slot(tenant, host)
  close(tenant, host, redis.call('ZCARD', keys.delivery_line(tenant, host)))
  redis.call('ZADD', keys.full_host(host), next_turn(), tenant)
end

-- Give a turn to as many lines as their host has free slots.
local function admit(host, free)
  if free <= 0 then return end
  local waiting = redis.call('ZPOPMIN', keys.full_host(host), free)
  for i = 1, #waiting, 2 do
    open(waiting[i], host)
    reschedule_tenant(waiting[i], true)
  end
end

-- Make a delivery ready in its tenant's line to its host; `first`: the line is the tenant's next.
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

-- Remove a delivery that is not being sent from wherever it waits to be sent.
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

-- Return the next host of a tenant, where its line has its turn, and whether it is unproven; nil if none may be sent
-- to.
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
  -- it was responsive when its line got its turn, and no longer is
  redis.call('ZREM', turns, host)
  redis.call('ZADD', keys.unproven_hosts(tenant), first[2], host)
  return nil
end

-- Take the first delivery of a line for a thread, and count the lease. The rest of the line goes to the end of the
-- turns, or waits for a slot.
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

-- Charge a tenant one unit, divided by its weight.
local function charge(tenant, tag, start)
  local finish = util.int(start + queue.cost((limits.for_queue(tenant))))
  local later = queue.new_start_tag(q, tenant, false)
  redis.call('ZREM', keys.delivery_tenants, tag)
  redis.call('ZADD', keys.delivery_tenants, finish, later)
  redis.call('HSET', keys.delivery_tenant(tenant), 'finish', finish, 'tag', later)
  redis.call('HSET', q.state, 'round', util.int(start))
end

-- Remove a tenant's tag that its record does not name, and count what is claimable, because its record is gone.
local function drop_tag(tag)
  redis.call('ZREM', keys.delivery_tenants, tag)
  local claimable = 0
  for _, other in ipairs(redis.call('ZRANGE', keys.delivery_tenants, 0, -1)) do
    local ready = redis.call('HGET', keys.delivery_tenant(string.sub(other, 17)), 'ready')
    claimable = claimable + (tonumber(ready) or 0)
  end
  redis.call('HSET', q.state, 'claimable', claimable)
end

-- Take the fairest delivery. Return nil if nothing may be sent, false if the first one examined may not be: the next
-- call finds another.
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
  elseif redis.call('HGET', keys.delivery_tenant(tenant), 'tag') ~= first[1] then
    drop_tag(first[1])
  end
  reschedule_tenant(tenant, false)
  if not id then relieve() end
  return id
end

-- Return whether a delivery in flight counts as one for an unproven host, with its tenant and host.
local function threads_of(id)
  local mark, length, names = string.match(redis.call('HGET', keys.sending, id) or '', '^(%d) (%d+) (.*)$')
  if not mark then return nil end
  return mark == '1', string.sub(names, 1, tonumber(length)), string.sub(names, length + 1)
end

-- Release the lease, the slot and the thread that a delivery holds, if any.
function M.release(delivery)
  local is_unproven, tenant, host = threads_of(delivery.id)
  redis.call('ZREM', q.leases, delivery.id)
  if is_unproven == nil then return end -- no worker claimed it
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

-- Return the hosts to which a tenant has a line. A line without a turn waits for a slot of a host that is being sent to.
local function hosts_of(tenant)
  local found = redis.call('ZRANGE', keys.responsive_hosts(tenant), 0, -1)
  util.append(found, redis.call('ZRANGE', keys.unproven_hosts(tenant), 0, -1))
  for _, id in ipairs(redis.call('HKEYS', keys.sending)) do
    local _, _, host = threads_of(id)
    if redis.call('ZSCORE', keys.full_host(host), tenant) then found[#found + 1] = host end
  end
  return found
end

-- Delete the deliveries of a tenant that has no jobs and no events any more: test events, in lines or being sent. Return
-- whether that was all: of those in lines at most `most` are deleted.
function M.delete_tests(tenant, most)
  for _, id in ipairs(redis.call('HKEYS', keys.sending)) do
    local _, sender = threads_of(id)
    if sender == tenant then
      M.release({ id = id })
      redis.call('DEL', keys.delivery(id))
    end
  end
  for _, host in ipairs(hosts_of(tenant)) do
    for _, id in ipairs(redis.call('ZRANGE', keys.delivery_line(tenant, host), 0, most - 1)) do
      M.dequeue({ id = id, tenant = tenant, host = host })
      redis.call('DEL', keys.delivery(id))
      most = most - 1
      if most == 0 then return false end
    end
  end
  return true
end

-- Record whether a host responded in time. What one tenant learns counts for that tenant alone.
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

-- Place a tenant whose weight was changed, so that the new weight counts from now on.
function M.reset_tenant(tenant)
  local known = redis.call('HMGET', keys.delivery_tenant(tenant), 'tag', 'ready')
  if not known[1] then return end
  unschedule(tenant, known[1], tonumber(known[2]) or 0)
  reschedule_tenant(tenant, true)
end

-- Correct places in the sweep after threads came or went, at most `most` turns.
function M.tick(threads, most)
  redis.call('HSET', q.state, 'threads', threads)
  for _ = 1, most do
    if not relieve() then break end
  end
end

-- Return how many deliveries are being sent to unproven hosts, and how many tenants wait to send to one.
function M.unproven()
  return { tonumber(redis.call('HGET', q.state, 'unproven')) or 0, redis.call('ZCARD', keys.crowded) }
end

-- Return how many tenants have a delivery that may be sent.
function q.backlogged_groups() return redis.call('ZCARD', keys.delivery_tenants) end

-- Return the next lines of the next tenants, at most `most` of them, as keys.
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
