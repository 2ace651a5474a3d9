"""The Celery app of the workers: `celery -A worker.app worker -P threads -Q generate`."""

from worker.tasks import build, worker_settings

app = build(worker_settings())
