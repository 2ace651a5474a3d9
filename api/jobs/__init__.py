"""Jobs: creation and everything that can be read or changed."""
