-- The Lua functions in shared/lua: see shared/store/functions.py for what each file is given.
std = 'lua51'
globals = { 'redis', 'cjson', 'C' }
max_line_length = 140
