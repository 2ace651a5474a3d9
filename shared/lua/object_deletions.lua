#!lua flags=allow-oom
-- Takes from the trash what is deleted by now, and tells what is to be deleted next. What stays in
-- the trash is told again: an object leaves it only when the storage said that it is gone.
-- KEYS  1 the trash, by the time from which an object may be deleted
-- ARGV  1 most objects  2... object keys that were deleted
-- Gives object keys
for i = 2, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
return redis.call('ZRANGE', KEYS[1], '-inf', dr.now(), 'BYSCORE', 'LIMIT', 0, ARGV[1])
