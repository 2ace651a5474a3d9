#!lua flags=no-writes
-- Returns the provider keys that operators have added: id, record as JSON, ...
local keys = ... -- requires
return redis.call('HGETALL', keys.provider_keys)
