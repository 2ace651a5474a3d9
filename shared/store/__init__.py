"""The store: the only place that knows Redis' keys. Every move of a job is one Lua script."""
