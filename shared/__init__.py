"""Code shared by API and workers."""
