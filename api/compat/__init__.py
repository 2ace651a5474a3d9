"""Translations of other services' APIs to jobs; they store nothing themselves."""
