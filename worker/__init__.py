"""The workers: run jobs and deliveries, one Celery permit at a time."""
