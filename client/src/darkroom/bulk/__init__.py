"""Generate a folder of images from a file of prompts; an interrupted run resumes."""
