"""A local 1min.ai: real images, and every fault of the real one on request."""
