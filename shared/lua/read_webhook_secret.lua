#!lua flags=no-writes
-- Reads what signs a tenant's webhooks.
-- KEYS  1 the tenant
-- Gives the secret, or false where there is no such tenant
return redis.call('HGET', KEYS[1], 'webhook_secret')
