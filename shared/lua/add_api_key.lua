#!lua
-- Gives a tenant, or the operators ('@operators'), a new key: with scopes of its own, or in the place of a living one, which then lives
-- on for a while.
-- KEYS  1 the new key  2 the tenant's keys  3 the tenant  4 the key to replace (or the new one again)
-- ARGV  1 word  2 by  3 request  4 tenant  5 id  6 hash  7 scopes  8 label
--       9 expires (ms, '' never; in the place of another: as long after this as that one was given)
--       10 most keys  11 id to replace ('' none)  12 how long that one lives on (ms)  13 keep (ms)
-- Gives 'ok' created expires ('' never) scopes label | 'missing' | 'unknown' | 'dead' state
--       | 'replaced' by | 'past' | 'many' keys
local before = dr.replay(ARGV)
if before then return before end
local tenant, id, now = ARGV[4], ARGV[5], dr.now()
local scopes, label, expires = ARGV[7], ARGV[8], tonumber(ARGV[9])
if not dr.has_keys(tenant) then return { 'missing' } end
if expires and expires <= now then return { 'past' } end
for _, known in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if redis.call('EXISTS', dr.api_key_key(known)) == 0 then redis.call('ZREM', KEYS[2], known) end
end
local keys = redis.call('ZCARD', KEYS[2])
if keys >= tonumber(ARGV[10]) then return { 'many', dr.int(keys) } end

if ARGV[11] ~= '' then
  local old = dr.hash(KEYS[4])
  if not old or old.tenant ~= tenant then return { 'unknown' } end
  local state = dr.key_state(old, now)
  if state ~= 'living' then return { 'dead', state } end
  if old.replaced_by then return { 'replaced', old.replaced_by } end
  scopes, label = old.scopes, old.label
  if not expires and old.expires then expires = now + old.expires - old.created end
  local ends = math.min(tonumber(old.expires) or math.huge, now + ARGV[12])
  redis.call('HSET', KEYS[4], 'expires', dr.int(ends), 'replaced_by', id)
  redis.call('PEXPIREAT', KEYS[4], dr.int(ends + ARGV[13]))
end
redis.call('HSET', KEYS[1], 'hash', ARGV[6], 'tenant', tenant, 'scopes', scopes, 'label', label,
  'created', dr.int(now))
if expires then
  redis.call('HSET', KEYS[1], 'expires', dr.int(expires))
  redis.call('PEXPIREAT', KEYS[1], dr.int(expires + ARGV[13]))
end
redis.call('ZADD', KEYS[2], now, id)
local detail = { key = id, scopes = scopes, label = label }
detail.replaces = ARGV[11] ~= '' and ARGV[11] or nil
return dr.audit(ARGV, ARGV[11] ~= '' and 'key.rotate' or 'key.create', tenant, cjson.encode(detail),
  { 'ok', dr.int(now), expires and dr.int(expires) or '', scopes, label })
