"""The Celery app of the workers; `darkroom worker` runs it."""

from worker.celery_tasks import build, worker_settings

app = build(worker_settings())
