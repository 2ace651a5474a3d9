#!lua flags=no-writes
-- Reads one batch that is committed.
-- KEYS  1 the batch
-- ARGV  1 tenant ('*' any)
-- Gives {} where there is no such batch of this tenant, else { now, record... }
local batch = dr.hash(KEYS[1])
if not batch or not batch.committed then return {} end
if ARGV[1] ~= '*' and batch.tenant ~= ARGV[1] then return {} end
local reply = { dr.int(dr.now()) }
for name, value in pairs(batch) do
  reply[#reply + 1] = name
  reply[#reply + 1] = value
end
return reply
