-- Writes of operators. `args` are the arguments of an audited operation: dedup_token, by, request_id.
local keys = ... -- requires

local M = {}

-- What this request was answered before, where it is sent again, else nil. `args` are the script's.
function M.replay(args)
  local said = redis.call('GET', keys.reply(args.dedup_token))
  return said and cjson.decode(said)
end

-- Records a write, with what it changed as JSON, and keeps its answer should it be sent again.
function M.record(args, action, target, detail, reply)
  redis.call(
    'XADD',
    keys.audit,
    'MAXLEN',
    '~',
    C.audit_entries,
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
