"""A file of prompts made into a folder of images: stopped anywhere, it goes on where it was."""
