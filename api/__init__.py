"""The HTTP API: accepts jobs, and answers questions about them."""
