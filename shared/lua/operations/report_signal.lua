#!lua flags=allow-oom
-- Apply a signal to the gate that belongs to no job's transition.
-- Returns the gate as it is then: name, value, ...
local args, clock, keys, signals = ... -- requires
signals.apply(args.signal, clock.now())
return redis.call('HGETALL', keys.gate)
