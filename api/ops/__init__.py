"""The operator API: tenants and keys, queues, jobs of all tenants, audit."""
