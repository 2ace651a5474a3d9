#!lua flags=no-writes
-- Read audit entries from `upper` down to `lower`: those with this action, target and author, each '' for any.
-- Returns { { { id, { field, value, ... } }, ... }, the id after which to continue ('' at the end) }
local args, keys, util = ... -- requires

local function matches(fields)
  local entry = util.fields(fields)
  return (args.action == '' or entry.action == args.action)
    and (args.target == '' or entry.target == args.target)
    and (args.by == '' or entry.by == args.by)
end

local found, limit = {}, tonumber(args.limit)
local scanned = redis.call('XREVRANGE', keys.audit, args.upper, args.lower, 'COUNT', args.scan_limit)
for _, entry in ipairs(scanned) do
  if matches(entry[2]) then
    if #found == limit then return { found, found[limit][1] } end
    found[#found + 1] = entry
  end
end
return { found, #scanned == tonumber(args.scan_limit) and scanned[#scanned][1] or '' }
