"""The adapter for 1min.ai."""
