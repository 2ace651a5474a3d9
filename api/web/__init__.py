"""The web pages: static files that stand in `files/` as browsers get them, and nothing else.

They are clients of the public API: no page has a state on the server, nor data of its own.
"""
