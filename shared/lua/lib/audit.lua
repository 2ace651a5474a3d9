-- The audit log of operators' writes. `args` are the arguments of an audited operation: dedup_token, by, request_id.
-- Entries move to the history; where there is none, `delete_expired` limits their number.
local keys = ... -- requires

local M = {}

-- Return the first reply to this request if it was sent before, else nil. `args` are the operation's.
function M.replay(args)
  local said = redis.call('GET', keys.reply(args.dedup_token))
  return said and cjson.decode(said)
end

-- Record a write and its changes as JSON, and keep its reply for a repetition of the request.
function M.record(args, action, target, detail, reply)
  redis.call(
    'XADD',
    keys.audit,
    '*',
    'by',
    args.by,
    'request',
    args.request_id,
    'action',
    action,
    'target',
    target,
    'detail',
    detail
  )
  redis.call('SET', keys.reply(args.dedup_token), cjson.encode(reply), 'PX', 60000)
  return reply
end

return M
