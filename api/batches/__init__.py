"""Batches: many jobs asked for in one request, and everything that can be asked about them."""
