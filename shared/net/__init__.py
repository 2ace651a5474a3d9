"""Outgoing connections: with total time limits, and guarded against private addresses (SSRF)."""
