"""The whole service on one machine, in one process tree: what runs, and keeping it running."""
