"""Celery's side: the app and the task that makes an image.

STOCK=1 is the tutorial's way: a result backend, and new clients for each task. Without it, the task
follows the documentation's advice for many short tasks over the network: no results, and clients
shared by all tasks.
"""

import os

import image
import redis
from celery import Celery
from generation import REDIS_URL, Asked

STOCK = os.environ.get("STOCK") == "1"

app = Celery("bench", broker=REDIS_URL, backend=REDIS_URL if STOCK else None)
app.conf.update(task_ignore_result=not STOCK, broker_connection_retry_on_startup=True)
store = redis.Redis.from_url(REDIS_URL, decode_responses=True, max_connections=200)


@app.task(name="generate")
def generate(job_id: str) -> None:
    """Make and store one image."""
    key = f"job:{job_id}"
    asked = Asked.model_validate_json(str(store.hget(key, "request")))
    store.hset(key, "status", "running")
    make = image.make_with_new_clients if STOCK else image.make
    name = make(job_id, asked)
    store.hset(key, mapping={"status": "succeeded", "image": name})
