"""The local development stack: the whole service in one process tree, and a local 1min.ai."""
