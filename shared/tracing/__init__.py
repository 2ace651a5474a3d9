"""One trace from a request to its webhook; off, and free, unless an operator asks for it."""
