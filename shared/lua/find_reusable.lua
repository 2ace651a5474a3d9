#!lua
-- Finds the picture of an identical request and sets the name aside under which it is to be copied:
-- in the trash, for later. So a copy that no job comes to own is deleted, whoever was lost; the
-- accept that makes the job takes the name out again.
-- KEYS  1 the idempotency record ('' none was sent)
-- ARGV  1 tenant  2 what an identical request is known by  3 the copy's name without its extension
-- Gives {} where there is none or the accept will be refused or replayed, else { id, image (JSON),
--       key of the copy }
local tenant, now = ARGV[1], dr.now()
if KEYS[1] ~= '' and redis.call('EXISTS', KEYS[1]) == 1 then return {} end
local source, image = dr.reusable(tenant, ARGV[2])
if not source then return {} end
local ask = { tenant = tenant, may = dr.load_limits(tenant), now = now, n = 0, requests = 1, credits = 0,
  free = true, rank = now, deadline = 0 }
if dr.check_admission(ask) then return {} end
local copy = ARGV[3] .. string.match(cjson.decode(image).key, '%.%w+$')
redis.call('ZADD', '{dr}:object_deletions', now + C.trash_ms, copy)
return { source, image, copy }
