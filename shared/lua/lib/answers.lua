-- The provider's answers of the last days: no record and no image is given to two jobs. They are stored in 256 shards
-- by the start of the hash, so that most are listpacks and none is large when it expires. A period is
-- C.answer_period_ms long and is kept for C.answer_periods more.
local keys, util = ... -- requires

local M = {}

local function answers_key(period, hash)
  local shard = string.sub(hash, 1, 1) .. string.byte(hash, 2) % 4
  return keys.answers(util.int(period), shard)
end

-- Return whether an answer has the record or the URL of another job; if not, assign them to this job. `identities` is
-- as `shared.store.answers.identities` writes it.
function M.is_repeated(identities, now)
  local hashes = util.words(identities)
  local owner, period = table.remove(hashes, 1), math.floor(now / C.answer_period_ms)
  for _, hash in ipairs(hashes) do
    for one = period - C.answer_periods, period do
      local found = redis.call('HGET', answers_key(one, hash), hash)
      if found and found ~= owner then return true end
    end
  end
  for _, hash in ipairs(hashes) do
    local key = answers_key(period, hash)
    redis.call('HSET', key, hash, owner)
    redis.call('PEXPIREAT', key, util.int((period + C.answer_periods + 1) * C.answer_period_ms))
  end
  return false
end

return M
