"""The commands of the `darkroom` program."""
