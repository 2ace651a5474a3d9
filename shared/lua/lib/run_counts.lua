-- Counts of ended runs: for each tenant and day (UTC, of the end) how many there were, how many of their calls were or
-- may have been billed, and the credits of these; by status, model, API key and tags.
local clock, keys, util = ... -- requires

local M = {}

local OTHER_TAGS = '(other)'
-- How many combinations of status, model, key and tags a day has.
local SIZE = 'combinations'

-- Return the tags of a job in order, one per line. Very long ones would not fit the primary key in the history.
local function tags_of(job)
  local tags = util.tags(job.tags)
  table.sort(tags)
  local lines = table.concat(tags, '\n')
  return #lines <= C.run_tags_bytes and lines or OTHER_TAGS
end

local function field(job, tags) return table.concat({ job.state, job.model, job.api_key or '-', tags }, ' ') end

local function added(before, jobs, calls, credits)
  local jobs_before, calls_before, credits_before = string.match(before or '0 0 0', '^(%d+) (%d+) (%d+)$')
  return table.concat({
    util.int(jobs_before + jobs),
    util.int(calls_before + calls),
    util.int(credits_before + credits),
  }, ' ')
end

-- Count the end of a run; `job.charged` has the calls of this run.
function M.add(job, now)
  local day = util.int(clock.day(now))
  local key, name, other = keys.run_counts(job.tenant, day), field(job, tags_of(job)), field(job, OTHER_TAGS)
  local known = redis.call('HMGET', key, name, other, SIZE)
  local before, size = known[1], tonumber(known[3]) or 0
  if not before and size >= C.run_combinations then
    name, before = other, known[2]
  end
  local calls = tonumber(job.charged) or 0
  local credits = calls * math.floor((tonumber(job.credits) or 0) * C.credit_parts + 0.5)
  redis.call('HSET', key, name, added(before, 1, calls, credits), SIZE, util.int(size + (before and 0 or 1)))
  if size == 0 then
    redis.call('PEXPIRE', key, C.run_counts_ms)
    redis.call('ZADD', keys.counted_days, day, day .. ' ' .. job.tenant)
  end
end

-- Erase the tags in the counts of a tenant and day: kinds that differ only in these become one.
function M.erase_tags(tenant, day)
  local key, merged, tagged, kinds = keys.run_counts(tenant, day), {}, {}, {}
  for name, value in pairs(util.read_hash(key) or {}) do
    local kind, tags = string.match(name, '^(%S+ %S+ %S+ )(.*)$')
    if kind then
      merged[kind] = added(merged[kind], string.match(value, '^(%d+) (%d+) (%d+)$'))
      if tags ~= '' then tagged[#tagged + 1] = name end
    end
  end
  if #tagged == 0 then return end
  util.append_fields(kinds, merged)
  redis.call('HSET', key, SIZE, util.int(#kinds / 2), unpack(kinds))
  redis.call('HDEL', key, unpack(tagged))
end

-- Return the fields of run counts by their names ('day tenant').
function M.read(names)
  local found = {}
  for i, name in ipairs(names) do
    local day, tenant = string.match(name, '^(%d+) (.+)$')
    found[i] = redis.call('HGETALL', keys.run_counts(tenant, day))
  end
  return found
end

-- Return the first of the days whose counts are kept.
function M.first_day(now) return clock.day(now) - C.run_counts_days + 1 end

-- Delete the index entries of days that have expired.
function M.delete_expired(now)
  local first = M.first_day(now)
  redis.call('ZREMRANGEBYSCORE', keys.counted_days, '(' .. util.int(-first), '(' .. util.int(first))
end

return M
