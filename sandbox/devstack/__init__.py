"""The whole service on one machine, in one process tree, supervised."""
