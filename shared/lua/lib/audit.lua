-- The audit log of operators' writes. `args` are the arguments of an audited operation: dedup_token, by, request_id.
-- Entries move to the history; where there is none, `delete_expired` limits their number.
local clock, keys, tenant_events = ... -- requires

local M = {}

-- Return the first reply to this request if it was sent before, else nil. `args` are the operation's.
function M.replay(args)
  local said = redis.call('GET', keys.reply(args.dedup_token))
  return said and cjson.decode(said)
end

-- Record a write and its changes as JSON, with the event for operators' endpoints, and keep its reply for a repetition of
-- the request.
function M.record(args, action, target, detail, reply)
  local id = redis.call(
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
  local now = clock.now()
  local data = { id = id, at = now, by = args.by, action = action, target = target, detail = detail }
  data.request_id = args.request_id ~= '' and args.request_id or cjson.null
  tenant_events.add(C.operators, 'audit.recorded', id, data, now)
  redis.call('SET', keys.reply(args.dedup_token), cjson.encode(reply), 'PX', 60000)
  return reply
end

return M
