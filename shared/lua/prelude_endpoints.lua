----------------------------------------------------------------------------------------------
-- What becomes of webhooks, how receivers are, and what signs.
----------------------------------------------------------------------------------------------

-- Sent on at once when an endpoint is well again; the sweep and each further success send on more.
local BACKLOG_CHUNK = 50
-- A delivery waits so long for another of the same job that is being sent.
local TURN_MS = 500

-- The deliveries of a subject, in the order in which they came about.
function dr.deliveries_of(subject, key)
  local found = {}
  for mark in string.gmatch(redis.call('HGET', key, 'deliveries') or '', '%S+') do
    found[#found + 1] = dr.message_id(subject, mark)
  end
  return found
end

-- Takes a delivery out of wherever it is: its line, its due time, its sender's hands, the park.
function dr.unschedule_delivery(delivery)
  dr.release_host(delivery)
  dr.dequeue_delivery(delivery)
  redis.call('HDEL', dr.delivery_key(delivery.id), 'due')
  if redis.call('ZREM', parked_key(delivery.endpoint), delivery.id) == 1 then
    count('webhook_parked', -1)
  end
end

-- One that was to be the probe will not be.
local function unprobe(delivery, now)
  local known = health(delivery.endpoint)
  if known.probe ~= delivery.id then return end
  redis.call('HDEL', dr.endpoint_key(delivery.endpoint), 'probe')
  known.probe = nil
  if redis.call('ZCARD', parked_key(delivery.endpoint)) > 0 then
    await_probe(delivery.endpoint, known, now)
  end
end

-- Ends a delivery: 'delivered', 'failed' or 'superseded'.
function dr.finish_delivery(delivery, state, now)
  local key = dr.delivery_key(delivery.id)
  redis.call('HSET', key, 'state', state, 'finished', dr.int(now))
  redis.call('HDEL', key, 'forced')
  pend(delivery, -1)
  if delivery.test then return end
  if state == 'failed' then
    redis.call('ZADD', dr.failed_key(delivery.tenant), now, delivery.id)
    redis.call('ZADD', dr.failed_key(''), now, delivery.id)
  end
  unprobe(delivery, now)
end

-- Whether a delivery that was taken may be sent now. One that is not goes where it belongs: it is
-- superseded where something newer was told, waits its turn where another of the same subject is
-- being sent, and is parked where its endpoint is off or failing; of a failing endpoint one is sent
-- as the probe, and whatever is alone keeps to its own schedule, which is slow enough.
function dr.can_send(delivery, now)
  if delivery.test then return true end
  local id, subject = delivery.id, subject_key(delivery)
  local told = redis.call('HMGET', subject, 'sent_version', 'sending_delivery')
  if not delivery.forced and tonumber(told[1] or 0) > tonumber(delivery.version) then
    dr.finish_delivery(delivery, 'superseded', now)
    return false
  end
  if told[2] and told[2] ~= id and redis.call('HGET', dr.delivery_key(told[2]), 'state') == 'sending' then
    redis.call('HSET', dr.delivery_key(id), 'due', dr.int(now + TURN_MS))
    redis.call('ZADD', posts.due, now + TURN_MS, id)
    return false
  end
  local known = health(delivery.endpoint)
  local may_probe = not known.probe and (now >= (known.next or 0) or tonumber(known.pending) <= 1)
  local its_turn = not known.next or delivery.forced or known.probe == id or may_probe
  if known.off or not its_turn then
    park(delivery, known, now)
    return false
  end
  if known.next and not known.probe then
    redis.call('HSET', dr.endpoint_key(delivery.endpoint), 'probe', id)
    redis.call('ZREM', '{dr}:endpoint_probes', delivery.endpoint)
  end
  redis.call('HSET', subject, 'sending_delivery', id)
  return true
end

-- Sends a delivery again: its schedule begins anew, its attempts go on counting.
function dr.redeliver(delivery, now)
  local key = dr.delivery_key(delivery.id)
  if dr.has_word(delivery.state, 'delivered failed superseded') then
    pend(delivery, 1)
    redis.call('ZREM', dr.failed_key(delivery.tenant), delivery.id)
    redis.call('ZREM', dr.failed_key(''), delivery.id)
    redis.call('HDEL', key, 'finished')
  else
    dr.unschedule_delivery(delivery)
  end
  redis.call('HSET', key, 'schedule_base', delivery.attempt)
  delivery.forced = redis.call('HGET', key, 'forced')
  dr.route_delivery(delivery, now)
end

-- Notes the newest version that a receiver has of a subject.
function dr.mark_sent_version(delivery)
  local key = subject_key(delivery)
  local known = tonumber(redis.call('HGET', key, 'sent_version') or 0)
  if tonumber(delivery.version) > known then redis.call('HSET', key, 'sent_version', delivery.version) end
end

-- Forgets the deliveries of a subject with it.
function dr.delete_deliveries(subject, key, now)
  for _, id in ipairs(dr.deliveries_of(subject, key)) do
    local delivery = dr.delivery(id)
    if delivery then
      if dr.has_word(delivery.state, 'pending sending parked') then
        dr.unschedule_delivery(delivery)
        pend(delivery, -1)
      end
      unprobe(delivery, now)
      for _, whose in ipairs({ delivery.tenant, '' }) do
        redis.call('ZREM', dr.deliveries_key(whose), id)
        redis.call('ZREM', dr.failed_key(whose), id)
      end
      redis.call('DEL', dr.delivery_key(id))
      if redis.call('HINCRBY', dr.endpoint_key(delivery.endpoint), 'kept', -1) <= 0 then
        dr.release_endpoint(delivery.endpoint, now)
      end
    end
  end
end

----------------------------------------------------------------------------------------------
-- How receivers are
----------------------------------------------------------------------------------------------

-- Tells a tenant's feed what became of an endpoint, and wakes who waits for it.
local function announce(endpoint, known, kind, now, why)
  redis.call('XADD', '{dr}:feed:' .. known.tenant, 'MINID', '~', dr.int(now - C.feed_ms), '*',
    'type', kind, 'endpoint', endpoint, 'url', known.url, 'why', why or '')
  redis.call('XADD', '{dr}:notifications', 'MAXLEN', '~', 10000, '*', 'job', endpoint, 'version', '',
    'tenant', known.tenant)
end

-- Ends the slow asking of a failing endpoint, whatever for.
local function stop_failing(endpoint, known)
  redis.call('HDEL', dr.endpoint_key(endpoint), 'fails', 'since', 'next', 'probe')
  if known.next then
    redis.call('ZREM', '{dr}:endpoint_probes', endpoint)
    count('endpoints_failing', -1)
  end
end

-- Sends on what was parked, the newest first.
local function send_backlog(endpoint, most, now)
  local popped = redis.call('ZPOPMAX', parked_key(endpoint), most)
  for i = 1, #popped, 2 do
    count('webhook_parked', -1)
    -- all of them now, and among them by age: a week is 0.6 s
    line_up(dr.delivery(popped[i]), now, now + math.max(now - popped[i + 1], 0) / 1000000)
  end
  if redis.call('ZCARD', parked_key(endpoint)) > 0 then
    redis.call('ZADD', '{dr}:endpoint_backlogs', now, endpoint)
  else
    redis.call('ZREM', '{dr}:endpoint_backlogs', endpoint)
  end
end

local function disable(endpoint, known, why, now)
  stop_failing(endpoint, known)
  redis.call('HSET', dr.endpoint_key(endpoint), 'off', dr.int(now), 'why', why)
  count('endpoints_disabled', 1)
  announce(endpoint, known, 'webhook.disabled', now, why)
  return why
end

-- Records on the endpoint why its last attempt failed; `attempt` is that attempt as JSON.
function dr.record_endpoint_error(endpoint, attempt)
  local made = cjson.decode(attempt)
  local kept = { status = made.status, code = made.code, error = made.error }
  redis.call('HSET', dr.endpoint_key(endpoint), 'last_error', cjson.encode(kept))
end

-- An attempt failed. After some in a row the endpoint is failing: it is asked one at a time, ever
-- more rarely; after long enough, or when it said that it is gone, it is switched off. Gives why.
function dr.endpoint_failed(delivery, gone, now)
  local endpoint, key = delivery.endpoint, dr.endpoint_key(delivery.endpoint)
  local fails = redis.call('HINCRBY', key, 'fails', 1)
  redis.call('HSETNX', key, 'since', dr.int(now))
  redis.call('HSET', key, 'failed_at', dr.int(now))
  local known = health(endpoint)
  if known.off then return nil end
  if gone then return disable(endpoint, known, 'gone', now) end
  if fails < C.endpoint_failures then return nil end
  if now - known.since >= C.endpoint_patience_ms then
    return disable(endpoint, known, 'failing', now)
  end
  if known.next and known.probe ~= delivery.id then return nil end
  if not known.next then
    count('endpoints_failing', 1)
    announce(endpoint, known, 'webhook.failing', now)
  end
  -- a quarter of the time that it fails by now: so much later at most is it found well again
  local wait = math.min(math.max((now - known.since) / 4, 1000), C.endpoint_probe_ms)
  known.next, known.probe = now + wait, nil
  redis.call('HSET', key, 'next', dr.int(known.next))
  redis.call('HDEL', key, 'probe')
  if redis.call('ZCARD', parked_key(endpoint)) > 0 then await_probe(endpoint, known, now) end
end

-- An attempt went well: the endpoint is well, and gets what it missed.
function dr.endpoint_recovered(delivery, now)
  local endpoint = delivery.endpoint
  redis.call('HSET', dr.endpoint_key(endpoint), 'ok_at', dr.int(now))
  local known = health(endpoint)
  if known.off then return end
  if known.fails then stop_failing(endpoint, known) end
  if known.next then announce(endpoint, known, 'webhook.recovered', now) end
  send_backlog(endpoint, BACKLOG_CHUNK, now)
end

-- Switches an endpoint on again, and sends on what it missed.
function dr.enable_endpoint(endpoint, now)
  local known = health(endpoint)
  if known.off then
    redis.call('HDEL', dr.endpoint_key(endpoint), 'off', 'why', 'fails', 'since')
    count('endpoints_disabled', -1)
    announce(endpoint, known, 'webhook.enabled', now)
  end
  stop_failing(endpoint, known)
  send_backlog(endpoint, BACKLOG_CHUNK, now)
end

-- What time brings to endpoints: a probe of those that fail, more for those that are well again.
function dr.tick_endpoints(now, most)
  for _, endpoint in ipairs(redis.call('ZRANGE', '{dr}:endpoint_probes', '-inf', now, 'BYSCORE', 'LIMIT', 0, most)) do
    redis.call('ZREM', '{dr}:endpoint_probes', endpoint)
    local known = health(endpoint)
    local oldest = known.next and not known.probe and redis.call('ZPOPMIN', parked_key(endpoint))[1]
    if oldest then
      count('webhook_parked', -1)
      redis.call('HSET', dr.endpoint_key(endpoint), 'probe', oldest)
      line_up(dr.delivery(oldest), now)
    end
  end
  for _, endpoint in ipairs(redis.call('ZRANGE', '{dr}:endpoint_backlogs', 0, 4)) do
    local known = health(endpoint)
    if known.next or known.off then
      redis.call('ZREM', '{dr}:endpoint_backlogs', endpoint)
      await_probe(endpoint, known, now)
    else
      send_backlog(endpoint, most, now)
    end
  end
end

-- Forgets an endpoint that no delivery names any more: at once, unless it has a secret of its own;
-- later where it is off, so that it stays off.
function dr.release_endpoint(endpoint, now)
  local key, known = dr.endpoint_key(endpoint), health(endpoint)
  if redis.call('HEXISTS', key, 'webhook_secret') == 1 then return end
  if known.off then
    redis.call('ZADD', '{dr}:endpoint_expiries', now + C.endpoint_ms, endpoint)
  else
    dr.delete_endpoint(endpoint, known)
  end
end

function dr.delete_endpoint(endpoint, known)
  known = known or health(endpoint)
  stop_failing(endpoint, known)
  if known.off then count('endpoints_disabled', -1) end
  redis.call('ZREM', '{dr}:endpoint_backlogs', endpoint)
  redis.call('ZREM', '{dr}:endpoint_expiries', endpoint)
  if known.tenant then redis.call('ZREM', dr.endpoints_key(known.tenant), endpoint) end
  redis.call('DEL', dr.endpoint_key(endpoint))
end

----------------------------------------------------------------------------------------------
-- What signs: an endpoint's own secret, else its tenant's; those it replaced for a while along
----------------------------------------------------------------------------------------------

-- The secrets that one record has: the present one (or nil), and those before it that still sign.
local function secrets_of(key, now)
  local known = redis.call('HMGET', key, 'webhook_secret', 'webhook_old')
  local old = {}
  for secret, ends in string.gmatch(known[2] or '', '(%S+) (%d+)') do
    if tonumber(ends) > now then old[#old + 1] = secret end
  end
  return known[1], old
end

-- Everything that signs for an endpoint, the present secret first, separated by spaces.
function dr.secrets(tenant, endpoint, now)
  local found, seen = {}, {}
  local function add(secret)
    if secret and not seen[secret] then found[#found + 1], seen[secret] = secret, true end
  end
  local own, own_old = secrets_of(dr.endpoint_key(endpoint), now)
  local secret, old = secrets_of(dr.tenant_key(tenant), now)
  add(own or secret)
  if not own then for _, one in ipairs(old) do add(one) end end
  for _, one in ipairs(own_old) do add(one) end
  return table.concat(found, ' ')
end

-- Puts a secret ('' for none) in the place of another, which signs along for a while.
local function rotate(key, before, secret, now)
  local kept = {}
  if before then kept[1] = before .. ' ' .. dr.int(now + C.secret_ms) end
  local old = redis.call('HGET', key, 'webhook_old') or ''
  for one, ends in string.gmatch(old, '(%S+) (%d+)') do
    if #kept < C.secrets_kept and tonumber(ends) > now and one ~= before and one ~= secret then
      kept[#kept + 1] = one .. ' ' .. ends
    end
  end
  if secret == '' then
    redis.call('HDEL', key, 'webhook_secret')
  else
    redis.call('HSET', key, 'webhook_secret', secret)
  end
  redis.call('HSET', key, 'webhook_old', table.concat(kept, ' '), 'webhook_rotated', dr.int(now))
end

-- Gives a tenant another secret; the same again changes nothing.
function dr.rotate_tenant_secret(key, secret, now)
  local before = redis.call('HGET', key, 'webhook_secret')
  if before ~= secret then rotate(key, before or nil, secret, now) end
end

-- Gives an endpoint another secret of its own, '' for none; the same again changes nothing.
function dr.rotate_endpoint_secret(tenant_key, endpoint, secret, now)
  local key = dr.endpoint_key(endpoint)
  local own = redis.call('HGET', key, 'webhook_secret') or ''
  if own == secret then return end
  local before = own ~= '' and own or redis.call('HGET', tenant_key, 'webhook_secret') or nil
  rotate(key, before, secret, now)
  if secret ~= '' then
    redis.call('ZREM', '{dr}:endpoint_expiries', endpoint)
  elseif (tonumber(redis.call('HGET', key, 'kept')) or 0) <= 0 then
    redis.call('ZADD', '{dr}:endpoint_expiries', now + C.endpoint_ms, endpoint)
  end
end
