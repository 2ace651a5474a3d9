"""Replicate's predictions API, for clients that speak it already."""
