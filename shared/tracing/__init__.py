"""Traces from a request to its webhook; off by default, at no cost."""
