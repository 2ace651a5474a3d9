"""A worker that only notes which permits it was given."""

from shared.celery_app import build_celery
from shared.settings import load_settings
from shared.store.connection import connect

RUNS = "tests:runs"

settings = load_settings()
app = build_celery(settings)
client = connect(settings, connections=16)


@app.task(name="generate", bind=True)
def generate(self: object) -> None:
    client.rpush(RUNS, getattr(self, "request").id)  # noqa: B009  Celery's task has no type


@app.task(name="deliver", bind=True)
def deliver(self: object) -> None:
    client.rpush(RUNS, getattr(self, "request").id)  # noqa: B009  the same
