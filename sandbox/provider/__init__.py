"""A 1min.ai that answers locally: real images, and every fault of the real one on request."""
