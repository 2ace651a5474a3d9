#!lua flags=allow-oom
-- Notes how one attempt of a delivery went, when the next is due, if any, and what that says of its
-- endpoint.
-- KEYS  1 the delivery
-- ARGV  1 id  2 fence  3 'delivered' | 'failed' | 'gone' | 'retry' | 'release'  4 wait (ms)
--       5 attempt (JSON)  6 '1': the host answered in time, '0': it did not, '': not to be said
-- Gives 'ok' | 'gone' | 'failing' (the endpoint is switched off now, and why) | 'lost'
local delivery = dr.delivery(ARGV[1])
if not delivery or delivery.fence ~= ARGV[2] then return 'lost' end
if delivery.state ~= 'sending' then return 'ok' end
local now, word = dr.now(), ARGV[3]
if ARGV[6] ~= '' then dr.record_answer(delivery, ARGV[6] == '1') end
dr.release_host(delivery)

local switched_off
if word == 'release' then
  redis.call('HINCRBY', KEYS[1], 'attempt', -1)
  redis.call('HSET', KEYS[1], 'state', 'pending')
  dr.enqueue_delivery(delivery, now)
else
  redis.call('HSET', KEYS[1], 'log', dr.append_line(delivery.log, ARGV[5], C.attempts_kept))
  if delivery.test then
    dr.finish_delivery(delivery, word == 'delivered' and word or 'failed', now)
    redis.call('PEXPIRE', KEYS[1], C.test_ms)
    redis.call('XADD', '{dr}:notifications', 'MAXLEN', '~', 10000, '*', 'job', ARGV[1], 'version', '')
  elseif word == 'delivered' then
    dr.mark_sent_version(delivery)
    dr.endpoint_recovered(delivery, now)
    dr.finish_delivery(delivery, 'delivered', now)
  else
    dr.record_endpoint_error(delivery.endpoint, ARGV[5])
    switched_off = dr.endpoint_failed(delivery, word == 'gone', now)
    if word == 'retry' then
      redis.call('HSET', KEYS[1], 'state', 'pending', 'due', dr.int(now + ARGV[4]))
      redis.call('ZADD', dr.deliveries.due, now + tonumber(ARGV[4]), ARGV[1])
    else
      dr.finish_delivery(delivery, 'failed', now)
    end
  end
end
dr.permit(dr.deliveries)
return switched_off or 'ok'
