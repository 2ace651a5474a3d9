"""The commands of the service in the `darkroom` program."""
