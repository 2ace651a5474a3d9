"""Webhooks as one Celery task on one queue, retried by `autoretry_for`."""

import hashlib
import hmac

import httpx
from celery import Celery
from generation import API_KEY, REDIS_URL

app = Celery("hooks", broker=REDIS_URL)
app.conf.update(task_ignore_result=True, task_default_queue="hooks")
http = httpx.Client(timeout=15, limits=httpx.Limits(max_connections=200))


@app.task(
    name="deliver",
    autoretry_for=(httpx.HTTPError,),
    retry_backoff=5,
    retry_backoff_max=600,
    max_retries=8,
)
def deliver(url: str, body: str) -> None:
    """Send one webhook, signed."""
    signature = hmac.new(API_KEY.encode(), body.encode(), hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Signature": signature}
    http.post(url, content=body, headers=headers).raise_for_status()
