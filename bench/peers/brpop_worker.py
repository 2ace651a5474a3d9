"""The simplest consumer: BRPOP, process, repeat. A crash loses the job in hand."""

import image
import redis
from generation import REDIS_URL, Asked

store = redis.Redis.from_url(REDIS_URL, decode_responses=True, socket_timeout=None)
while True:
    _, job_id = store.brpop("jobs")
    key = f"job:{job_id}"
    asked = Asked.model_validate_json(store.hget(key, "request"))
    store.hset(key, "status", "running")
    name = image.make(job_id, asked)
    store.hset(key, mapping={"status": "succeeded", "image": name})
