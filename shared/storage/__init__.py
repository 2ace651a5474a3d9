"""The object storage."""
