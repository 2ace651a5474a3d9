"""The back room: does the jobs, one Celery permit at a time."""
