"""Connections to the outside: bounded in total, and never to an address inside."""
