"""A file of prompts made into a folder of pictures: stopped anywhere, it goes on where it was."""
