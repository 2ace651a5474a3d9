#!lua flags=allow-oom
-- Applies a signal to the gate that no job's transition carries.
-- Returns the gate as it is then: name, value, ...
local args, clock, keys, signals = ... -- requires
signals.apply(args.signal, clock.now())
return redis.call('HGETALL', keys.gate)
