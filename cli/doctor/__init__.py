"""Looks at everything that the service stands on, as an operator would, and says what to do."""
