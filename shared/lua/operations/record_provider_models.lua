#!lua flags=allow-oom
-- Record what the provider lists, or why its list could not be read ('' if it could): then the last list stays.
-- `args.models`: id, status and credits of each model.
-- Returns 'ok'
local args, clock, keys, util = ... -- requires
local key = keys.provider_models
if args.error ~= '' then
  redis.call('HSET', key, 'error', args.error)
  return 'ok'
end
local due, fields = redis.call('HGET', key, 'due'), { 'checked', util.int(clock.now()) }
for i = 1, #args.models, 3 do
  util.append(fields, { 'model:' .. args.models[i], args.models[i + 1] .. ' ' .. args.models[i + 2] })
end
redis.call('DEL', key)
redis.call('HSET', key, 'due', due or '0', unpack(fields))
return 'ok'
