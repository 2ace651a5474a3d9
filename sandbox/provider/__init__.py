"""A 1min.ai that answers locally: real pictures, and every fault of the real one on request."""
