----------------------------------------------------------------------------------------------
-- Whose delivery is sent next. Tenants share by weight (start-time fair queueing), the hosts of one
-- tenant take turns, and those who share a host take turns at its slots. A tenant's host is responsive
-- for some minutes after it answered in time; all others, new ones too, are unproven, and together
-- hold at most half of the living threads: what has them all wait for its answer leaves the other half.
-- Of that half a tenant takes no more than it leaves free, so that the next one finds room.
--   line:<t>:<host>    rank -> delivery of a tenant that can be sent
--   responsive:<t>, unproven:<t>  turn -> host that has a line, and had a free slot when last seen
--   tenants            start tag -> tenant of whom something may be sent
--   tenant:<t>         tag, finish; ready: deliveries in lines that have a turn; unproven: threads held
--   crowded            threads held, then order -> tenant that waits for a thread of the unproven half
--   full:<host>        order -> tenant that waits for a slot of the host
--   slots:<host>       slots in use       answered:<t>:<host>  there while the host is responsive
--   sending            delivery -> what it holds: 1 if unproven else 0, tenant, host
--   state              round (virtual time), turn, threads, unproven, claimable
-- Deliveries wait nowhere else but in q.due.
----------------------------------------------------------------------------------------------

do

local q = dr.deliveries
local function at(name) return '{dr}:q:deliveries:' .. name end
local TENANTS, CROWDED, SENDING = at('tenants'), at('crowded'), at('sending')
local function tenant_key(tenant) return at('tenant:') .. tenant end
local function line_key(tenant, host) return at('line:') .. tenant .. ':' .. host end
local function responsive_key(tenant) return at('responsive:') .. tenant end
local function unproven_key(tenant) return at('unproven:') .. tenant end
local function answered_key(tenant, host) return at('answered:') .. tenant .. ':' .. host end
local function full_key(host) return at('full:') .. host end
local function slots_key(host) return at('slots:') .. host end
-- More than there will be turns; times the threads of a service it is exact.
local TURNS = 2 ^ 40

local function next_turn() return redis.call('HINCRBY', q.state, 'turn', 1) end

local function is_responsive(tenant, host)
  return redis.call('EXISTS', answered_key(tenant, host)) == 1
end

local function free_slots(host)
  return C.max_per_host - (tonumber(redis.call('GET', slots_key(host))) or 0)
end

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
  redis.call('ZREM', TENANTS, tag)
  redis.call('HDEL', tenant_key(tenant), 'tag')
  redis.call('HINCRBY', q.state, 'claimable', -ready)
end

local function enter(tenant, finish, ready, newly)
  local round = tonumber(redis.call('HGET', q.state, 'round')) or 0
  local most = round + dr.cost((q.limits(tenant)))
  local tag = dr.new_start_tag(q, tenant, newly)
  redis.call('ZADD', TENANTS, math.min(math.max(round, finish), most), tag)
  redis.call('HSET', tenant_key(tenant), 'tag', tag)
  redis.call('HINCRBY', q.state, 'claimable', ready)
end

-- Puts a tenant among those who wait for an unproven host's thread: who holds least comes first, then
-- who has waited longest.
local function defer_tenant(tenant, held)
  local before = redis.call('ZSCORE', CROWDED, tenant)
  local order = before and before % TURNS or next_turn()
  redis.call('ZADD', CROWDED, dr.int(held * TURNS + order), tenant)
end

-- Makes a tenant's place agree with the facts, as dr.reschedule_group does a group's.
local function reschedule_tenant(tenant, newly)
  local key = tenant_key(tenant)
  local known = redis.call('HMGET', key, 'tag', 'finish', 'ready', 'unproven')
  local tag, ready, held = known[1], tonumber(known[3]) or 0, tonumber(known[4]) or 0
  local waits = redis.call('ZCARD', unproven_key(tenant)) > 0
  local can = redis.call('ZCARD', responsive_key(tenant)) > 0 or waits and has_free_thread(held)
  if can and not tag then
    enter(tenant, tonumber(known[2]) or 0, ready, newly)
    redis.call('ZREM', CROWDED, tenant)
  elseif tag and not can then
    unschedule(tenant, tag, ready)
  end
  if waits and not can then
    defer_tenant(tenant, held)
  elseif not can then
    redis.call('ZREM', CROWDED, tenant)
  end
  if ready == 0 and held == 0 then
    redis.call('PEXPIRE', key, 3600000)
  elseif not tag then
    redis.call('PERSIST', key)
  end
end

-- Lets the first of those who wait for an unproven host's thread have one, if one is free for it.
local function relieve()
  local first = redis.call('ZRANGE', CROWDED, 0, 0, 'WITHSCORES')
  local can = first[1] and has_free_thread(math.floor(first[2] / TURNS))
  if can then reschedule_tenant(first[1], true) end
  return can
end

local function count_ready(tenant, change)
  redis.call('HINCRBY', tenant_key(tenant), 'ready', change)
  if redis.call('HEXISTS', tenant_key(tenant), 'tag') == 1 then
    redis.call('HINCRBY', q.state, 'claimable', change)
  end
end

-- Gives a line a turn, or lets it wait for a slot of its host. The tenant must be placed then.
local function open(tenant, host, first)
  local size = redis.call('ZCARD', line_key(tenant, host))
  if size == 0 then return end
  local turn = next_turn()
  if free_slots(host) <= 0 then
    redis.call('ZADD', full_key(host), turn, tenant)
    return
  end
  local turns = is_responsive(tenant, host) and responsive_key(tenant) or unproven_key(tenant)
  redis.call('ZADD', turns, first and -turn or turn, host)
  count_ready(tenant, size)
end

-- Takes a line's turn away, and `size` deliveries with it. The tenant must be placed then.
local function close(tenant, host, size)
  redis.call('ZREM', responsive_key(tenant), host)
  redis.call('ZREM', unproven_key(tenant), host)
  count_ready(tenant, -size)
end

-- Lets a line that has a turn wait for a slot of its host.
local function await_slot(tenant, host)
  close(tenant, host, redis.call('ZCARD', line_key(tenant, host)))
  redis.call('ZADD', full_key(host), next_turn(), tenant)
end

-- Gives a turn to as many lines as their host has free slots.
local function admit(host, free)
  if free <= 0 then return end
  local waiting = redis.call('ZPOPMIN', full_key(host), free)
  for i = 1, #waiting, 2 do
    open(waiting[i], host)
    reschedule_tenant(waiting[i], true)
  end
end

-- Makes a delivery ready in its tenant's line to its host; `first`: the line is the tenant's next.
function dr.enqueue_delivery(delivery, rank, first)
  local tenant, host = delivery.tenant, delivery.host
  local line = line_key(tenant, host)
  if redis.call('ZADD', line, rank, delivery.id) == 0 then return end
  local is_new = redis.call('ZCARD', line) == 1
  if is_new then
    open(tenant, host, first)
    reschedule_tenant(tenant, true)
  elseif not redis.call('ZSCORE', full_key(host), tenant) then
    count_ready(tenant, 1)
    for _, turns in ipairs(first and { responsive_key(tenant), unproven_key(tenant) } or {}) do
      redis.call('ZADD', turns, 'XX', -next_turn(), host)
    end
  end
end

-- Takes a delivery that is not being sent out of wherever it waits to be sent.
function dr.dequeue_delivery(delivery)
  local tenant, host = delivery.tenant, delivery.host
  local line = line_key(tenant, host)
  redis.call('ZREM', q.due, delivery.id)
  if redis.call('ZREM', line, delivery.id) == 0 then return end
  local is_empty = redis.call('ZCARD', line) == 0
  if redis.call('ZSCORE', full_key(host), tenant) then
    if is_empty then redis.call('ZREM', full_key(host), tenant) end
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
  local turns = responsive_key(tenant)
  local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
  local other = redis.call('ZRANGE', unproven_key(tenant), 0, 0, 'WITHSCORES')
  if other[1] and not (first[1] and tonumber(first[2]) < tonumber(other[2])) then
    local held = tonumber(redis.call('HGET', tenant_key(tenant), 'unproven')) or 0
    if has_free_thread(held) then first, turns = other, unproven_key(tenant) end
  end
  local host = first[1]
  if not host then return nil end
  if is_responsive(tenant, host) then return host, turns, false end
  if turns == unproven_key(tenant) then return host, turns, true end
  -- it was responsive when its line had its turn, and is no more
  redis.call('ZREM', turns, host)
  redis.call('ZADD', unproven_key(tenant), first[2], host)
  return nil
end

-- Takes the first delivery of a line for a thread, and counts what it holds. The rest of the line goes
-- to the end of the turns, or waits for a slot.
local function take(tenant, host, turns, is_unproven)
  local line = line_key(tenant, host)
  local id = redis.call('ZPOPMIN', line)[1]
  count_ready(tenant, -1)
  -- with the length of the tenant's name, which says where the host's begins
  local holds = string.format('%d %d %s%s', is_unproven and 1 or 0, #tenant, tenant, host)
  redis.call('HSET', SENDING, id, holds)
  if is_unproven then
    redis.call('HINCRBY', tenant_key(tenant), 'unproven', 1)
    redis.call('HINCRBY', q.state, 'unproven', 1)
  end
  local used = redis.call('INCR', slots_key(host))
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
  local finish = dr.int(start + dr.cost((q.limits(tenant))))
  local later = dr.new_start_tag(q, tenant, false)
  redis.call('ZREM', TENANTS, tag)
  redis.call('ZADD', TENANTS, finish, later)
  redis.call('HSET', tenant_key(tenant), 'finish', finish, 'tag', later)
  redis.call('HSET', q.state, 'round', dr.int(start))
end

-- Takes the fairest delivery. Gives nil where nothing may be sent, false where the first that was looked
-- at may not: the next look finds another.
function dr.pop_delivery()
  local first = redis.call('ZRANGE', TENANTS, 0, 0, 'WITHSCORES')
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
  local mark, length, names = string.match(redis.call('HGET', SENDING, id) or '', '^(%d) (%d+) (.*)$')
  if not mark then return nil end
  return mark == '1', string.sub(names, 1, tonumber(length)), string.sub(names, length + 1)
end

-- Gives back the lease, the slot and the thread that a delivery holds, if any.
function dr.release_host(delivery)
  local is_unproven, tenant, host = threads_of(delivery.id)
  redis.call('ZREM', q.leases, delivery.id)
  if is_unproven == nil then return end -- nobody claimed it
  redis.call('HDEL', SENDING, delivery.id)
  local used = redis.call('DECR', slots_key(host))
  if used <= 0 then redis.call('DEL', slots_key(host)) end
  if is_unproven then
    redis.call('HINCRBY', tenant_key(tenant), 'unproven', -1)
    redis.call('HINCRBY', q.state, 'unproven', -1)
    reschedule_tenant(tenant, false)
  end
  admit(host, C.max_per_host - math.max(used, 0))
  if is_unproven then relieve() end
end

-- Notes whether a host answered in time. What one tenant learns there counts for itself alone.
function dr.record_answer(delivery, in_time)
  local tenant, host = delivery.tenant, delivery.host
  if not in_time then
    redis.call('DEL', answered_key(tenant, host))
    return
  end
  redis.call('SET', answered_key(tenant, host), 1, 'PX', C.responsive_ms)
  local turn = redis.call('ZSCORE', unproven_key(tenant), host)
  if not turn then return end
  redis.call('ZREM', unproven_key(tenant), host)
  redis.call('ZADD', responsive_key(tenant), turn, host)
  reschedule_tenant(tenant, true)
end

-- Places a tenant whose weight was changed: it counts from now on.
function dr.reweigh(tenant)
  local known = redis.call('HMGET', tenant_key(tenant), 'tag', 'ready')
  if not known[1] then return end
  unschedule(tenant, known[1], tonumber(known[2]) or 0)
  reschedule_tenant(tenant, true)
end

-- What the sweep puts right: threads that came or went, so many turns at most.
function dr.tick_hosts(threads, most)
  redis.call('HSET', q.state, 'threads', threads)
  for _ = 1, most do
    if not relieve() then break end
  end
end

-- How many deliveries are being sent to unproven hosts, and how many tenants wait to send to one.
function dr.unproven()
  return { tonumber(redis.call('HGET', q.state, 'unproven')) or 0, redis.call('ZCARD', CROWDED) }
end

-- How many tenants have something that may be sent.
function q.backlogged_groups() return redis.call('ZCARD', TENANTS) end

-- The next lines of the tenants that are next, so many of them, as keys.
function q.next_ready(most)
  local found = {}
  for _, tag in ipairs(redis.call('ZRANGE', TENANTS, 0, most - 1)) do
    local tenant = string.sub(tag, 17)
    for _, turns in ipairs({ responsive_key(tenant), unproven_key(tenant) }) do
      local host = redis.call('ZRANGE', turns, 0, 0)[1]
      if host then found[#found + 1] = line_key(tenant, host) end
    end
  end
  return found
end

end
