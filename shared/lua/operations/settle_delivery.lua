#!lua flags=allow-oom
-- Record the result of one attempt of a delivery, when the next is due, if any, and what it says about its endpoint. A
-- released attempt does not count and says nothing about the endpoint. With a nonce, also claim the next delivery.
-- Returns 'ok' | 'gone' | 'failing' (the endpoint is disabled now, and why) | 'lost'; with a nonce { that, and what
--       delivery_claims.claim returns }
local args, clock, delivery_claims, endpoint_health, endpoints, hosts, keys, outbox, permits, queue, util = ... -- requires

-- Add the attempt to the log; it replaces a released one, which has the same number.
local function record_attempt(delivery)
  local log = delivery.log or ''
  local last = string.match(log, '[^\n]*$')
  if last ~= '' and cjson.decode(last).number == cjson.decode(args.attempt).number then
    log = string.sub(log, 1, math.max(#log - #last - 1, 0))
  end
  redis.call('HSET', keys.delivery(args.id), 'log', util.append_line(log ~= '' and log, args.attempt, C.attempts_kept))
end

local function schedule_next(now)
  redis.call('HSET', keys.delivery(args.id), 'state', 'pending', 'due', util.int(now + args.wait_ms))
  redis.call('ZADD', queue.deliveries.due, now + tonumber(args.wait_ms), args.id)
end

local function settle()
  local delivery = outbox.load(args.id)
  if not delivery or delivery.fence ~= args.fence then return 'lost' end
  if delivery.state ~= 'sending' then return 'ok' end
  local now, word = clock.now(), args.outcome
  if args.in_time ~= '' then hosts.record_answer(delivery, args.in_time == '1') end
  hosts.release(delivery)

  local switched_off
  if word == 'release' then
    redis.call('HINCRBY', keys.delivery(args.id), 'attempt', -1)
    if args.attempt == '{}' then
      redis.call('HSET', keys.delivery(args.id), 'state', 'pending')
      hosts.enqueue(delivery, now)
    else
      record_attempt(delivery)
      schedule_next(now)
    end
  else
    record_attempt(delivery)
    if delivery.test then
      outbox.finish(delivery, word == 'delivered' and word or 'failed', now)
      redis.call('PEXPIRE', keys.delivery(args.id), C.test_ms)
      redis.call('XADD', keys.notifications, 'MAXLEN', '~', 10000, '*', 'job', args.id, 'version', '')
    elseif word == 'delivered' then
      outbox.mark_sent_version(delivery)
      endpoint_health.recovered(delivery, now)
      outbox.finish(delivery, 'delivered', now)
    else
      endpoints.record_error(delivery.endpoint, args.attempt)
      switched_off = endpoint_health.failed(delivery, word == 'gone', now)
      if word == 'retry' then
        schedule_next(now)
      else
        outbox.finish(delivery, 'failed', now)
      end
    end
  end
  permits.push(queue.deliveries)
  return switched_off or 'ok'
end

local word = settle()
if args.nonce == '' then return word end
return { word, delivery_claims.claim(args.nonce, args.lease_ms) }
