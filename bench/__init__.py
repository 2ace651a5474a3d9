"""What `make bench` measures, beside peers that do the same job their usual way."""
