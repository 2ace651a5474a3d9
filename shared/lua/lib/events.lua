-- The event feed of a tenant, and the notifications that wake waiting clients.
local keys, util = ... -- requires

local M = {}

-- Append an event, given as name, value, ..., to a tenant's feed.
function M.append(tenant, now, ...)
  redis.call('XADD', keys.feed(tenant), 'MINID', '~', util.int(now - C.feed_ms), '*', ...)
end

-- Wake the clients that wait for `id`, a job or an endpoint, and for events of a tenant ('': there are none).
function M.notify(id, version, tenant)
  redis.call('XADD', keys.notifications, 'MAXLEN', '~', 10000, '*', 'job', id, 'version', version, 'tenant', tenant)
end

return M
