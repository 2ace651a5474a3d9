"""One machine's stand-ins: the whole stack in one process tree, and a local 1min.ai."""
