"""FastAPI in front of a plain list: a record in Redis, then LPUSH."""

import uuid

import redis.asyncio
from fastapi import Depends, FastAPI
from generation import DAY_SECONDS, REDIS_URL, Asked, IdempotencyKey, Job, check_key, record_of

app = FastAPI()
store = redis.asyncio.Redis.from_url(REDIS_URL, decode_responses=True, max_connections=200)


@app.get("/health")
async def health() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "ok"}


@app.post("/jobs", status_code=202, dependencies=[Depends(check_key)])
async def create(asked: Asked, idempotency_key: IdempotencyKey) -> Job:
    """Accept a job."""
    job_id = uuid.uuid4().hex
    if not await store.set(f"idem:{idempotency_key}", job_id, nx=True, ex=DAY_SECONDS):
        return Job(id=str(await store.get(f"idem:{idempotency_key}")), status="queued")
    await store.hset(f"job:{job_id}", mapping=record_of(asked))
    await store.lpush("jobs", job_id)
    return Job(id=job_id, status="queued", input=asked.input, metadata=asked.metadata)
