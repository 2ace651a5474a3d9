"""`darkroom doctor`: check everything the service depends on, and say what to fix."""
