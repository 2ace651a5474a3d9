#!lua
-- Return whether the caller is to read the provider's list of models: one worker process does, in each interval.
-- Returns '1' | ''
local args, clock, keys, util = ... -- requires
local now = clock.now()
if now < (tonumber(redis.call('HGET', keys.provider_models, 'due')) or 0) then return '' end
redis.call('HSET', keys.provider_models, 'due', util.int(now + args.interval_ms))
return '1'
