"""The store: the only code that knows Redis' keys. Each transition of a job is one Lua function."""
