"""The HTTP API: accepts jobs, and returns their state."""
