"""The commands of the `darkroom` program, each in the words of the client."""
