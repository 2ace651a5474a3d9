#!lua flags=allow-oom
-- Ends a key at once; its record stays for a while, so that whoever has it is told.
-- KEYS  1 the key
-- ARGV  1 word  2 by  3 request  4 tenant  5 id  6 keep (ms)
-- Gives 'ok' | 'unknown'
local before = dr.replay(ARGV)
if before then return before end
if redis.call('HGET', KEYS[1], 'tenant') ~= ARGV[4] then return { 'unknown' } end
if redis.call('HSETNX', KEYS[1], 'revoked', dr.int(dr.now())) == 0 then return { 'ok' } end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return dr.audit(ARGV, 'key.revoke', ARGV[4], cjson.encode({ key = ARGV[5] }), { 'ok' })
