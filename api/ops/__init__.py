"""The operator's side: tenants and keys, queues, the jobs of all, and what was done."""
