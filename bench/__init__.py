"""The benchmarks of `make bench`: Darkroom beside peers that do the same job their usual way."""
