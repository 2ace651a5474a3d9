"""The versions of the history's schema, for Alembic."""
