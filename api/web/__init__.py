"""The web pages: static files in `files/`, sent to browsers as they are.

They are clients of the public API and have neither state nor data on the server.
"""
