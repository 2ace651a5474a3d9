#!lua flags=allow-oom
-- Replace the secret that signs image URLs. The old one stays valid for a while; without an overlap, no earlier one
-- does.
-- Returns 'ok'
local args, audit, clock, keys, util = ... -- requires
local before = audit.replay(args)
if before then return before[1] end
local now, overlap = clock.now(), tonumber(args.overlap_ms)
local old = redis.call('GET', keys.signing_key)
if overlap == 0 then
  redis.call('DEL', keys.old_signing_keys)
else
  redis.call('ZREMRANGEBYSCORE', keys.old_signing_keys, '-inf', now)
  if old then redis.call('ZADD', keys.old_signing_keys, now + overlap, old) end
  -- keys of earlier rotations end no later
  for _, earlier in ipairs(redis.call('ZRANGE', keys.old_signing_keys, 0, -1)) do
    redis.call('ZADD', keys.old_signing_keys, 'LT', now + overlap, earlier)
  end
end
redis.call('SET', keys.signing_key, args.key)
redis.call('SET', keys.signing_key_replaced, util.int(now))
local detail = cjson.encode({ overlap_seconds = overlap / 1000 })
return audit.record(args, 'image_urls.rotate', 'image_urls', detail, { 'ok' })[1]
