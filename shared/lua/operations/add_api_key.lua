#!lua
-- Add a key to a tenant, or to the operators ('@operators'): with scopes and limits of its own, or as the replacement
-- of an active key, which then ends after a grace period. A replacement has the same limits, and what either key uses
-- counts for both. If `expires_ms` is '', a replacement lives as long as the old key was given.
-- Returns 'ok' { as api_keys.describe } | 'missing' | 'deleting' | 'unknown' | 'dead' state
--       | 'replaced' by | 'past' | 'many' keys
local args, api_keys, audit, clock, keys, limits, tenants, util = ... -- requires
local before = audit.replay(args)
if before then return before end
local tenant, id, now = args.tenant, args.id, clock.now()
local scopes, label, expires = args.scopes, args.label, tonumber(args.expires_ms)
local own_limits, payer = args.limits, args.payer ~= '' and args.payer or nil
-- the end of year 9999, the last that RFC 3339 can write
local last = 253402300799999
local fault = tenant ~= C.operators and tenants.fault(tenant)
if fault then return { fault } end
if expires and expires <= now then return { 'past' } end
for _, known in ipairs(redis.call('ZRANGE', keys.api_keys(args.tenant), 0, -1)) do
  if redis.call('EXISTS', keys.api_key(known)) == 0 then redis.call('ZREM', keys.api_keys(args.tenant), known) end
end
local count = redis.call('ZCARD', keys.api_keys(args.tenant))
if count >= tonumber(args.max_keys) then return { 'many', util.int(count) } end

if args.replaces ~= '' then
  local old = util.read_hash(keys.api_key(args.replaces))
  if not old or old.tenant ~= tenant then return { 'unknown' } end
  local state = api_keys.state(old, now)
  if state ~= 'living' then return { 'dead', state } end
  if old.replaced_by then return { 'replaced', old.replaced_by } end
  scopes, label = old.scopes, old.label
  own_limits = {}
  for _, name in ipairs({ 'monthly_credits', 'requests_per_minute', 'models' }) do
    if old[name] then util.append(own_limits, { name, old[name] }) end
  end
  payer = old.payer or args.replaces
  if not expires and old.expires then expires = math.min(now + old.expires - old.created, last) end
  local ends = math.min(tonumber(old.expires) or math.huge, now + args.grace_ms)
  redis.call('HSET', keys.api_key(args.replaces), 'expires', util.int(ends), 'replaced_by', id)
  redis.call('PEXPIREAT', keys.api_key(args.replaces), util.int(ends + args.keep_ms))
end
redis.call(
  'HSET',
  keys.api_key(args.id),
  'hash',
  args.hash,
  'tenant',
  tenant,
  'scopes',
  scopes,
  'label',
  label,
  'created',
  util.int(now)
)
if expires then
  redis.call('HSET', keys.api_key(args.id), 'expires', util.int(expires))
  redis.call('PEXPIREAT', keys.api_key(args.id), util.int(expires + args.keep_ms))
  if tenant ~= C.operators then redis.call('ZADD', keys.key_expiries, util.int(expires), id) end
end
if payer and tenant ~= C.operators then limits.share(tenant, args.id, payer) end
limits.set_key_limits(tenant, args.id, own_limits)
redis.call('ZADD', keys.api_keys(args.tenant), now, id)
local detail = { key = id, scopes = scopes, label = label }
detail.replaces = args.replaces ~= '' and args.replaces or nil
for i = 1, #own_limits, 2 do
  local name, value = own_limits[i], own_limits[i + 1]
  detail[name] = name == 'models' and util.words(value) or tonumber(value)
end
return audit.record(
  args,
  args.replaces ~= '' and 'key.rotate' or 'key.create',
  tenant,
  cjson.encode(detail),
  { 'ok', api_keys.describe(id, now) }
)
