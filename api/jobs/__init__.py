"""Jobs: asking for one, and everything that can be asked about it."""
