"""What runs Darkroom for real. The Python in it writes files that stay beside it."""
