#!lua flags=allow-oom
-- Applies a signal to the gate that no job's transition carries.
-- KEYS  1 the gate
-- ARGV  1 signal
-- Gives the gate as it is then: name, value, ...
dr.apply_signal(ARGV[1], dr.now())
return redis.call('HGETALL', KEYS[1])
