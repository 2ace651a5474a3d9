"""The commands that the service adds to the `darkroom` program."""
