"""FastAPI in front of Celery: a record in Redis, then `task.delay()`."""

import uuid

import redis
from celery_tasks import generate
from fastapi import Depends, FastAPI, HTTPException
from generation import (
    DAY_SECONDS,
    REDIS_URL,
    Asked,
    Batch,
    IdempotencyKey,
    Job,
    check_key,
    record_of,
)

app = FastAPI()
store = redis.Redis.from_url(REDIS_URL, decode_responses=True, max_connections=200)


@app.get("/health")
def health() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "ok"}


# `def` and not `async def`: both clients block, and FastAPI then runs it on a thread
@app.post("/jobs", status_code=202, dependencies=[Depends(check_key)])
def create(asked: Asked, idempotency_key: IdempotencyKey) -> Job:
    """Accept a job."""
    job_id = uuid.uuid4().hex
    if not store.set(f"idem:{idempotency_key}", job_id, nx=True, ex=DAY_SECONDS):
        return Job(id=str(store.get(f"idem:{idempotency_key}")), status="queued")
    store.hset(f"job:{job_id}", mapping=record_of(asked))
    generate.delay(job_id)
    return Job(id=job_id, status="queued", input=asked.input, metadata=asked.metadata)


@app.post("/batches", status_code=202, dependencies=[Depends(check_key)])
def create_many(batch: Batch) -> list[str]:
    """Accept many jobs: the records in one pipeline, then one `delay()` each."""
    ids = [uuid.uuid4().hex for _ in batch.jobs]
    with store.pipeline(transaction=False) as pipe:
        for job_id, asked in zip(ids, batch.jobs, strict=True):
            pipe.hset(f"job:{job_id}", mapping=record_of(asked))
        pipe.execute()
    for job_id in ids:
        generate.delay(job_id)
    return ids


@app.get("/jobs/{job_id}", dependencies=[Depends(check_key)])
def read(job_id: str) -> Job:
    """Return a job's state."""
    found = store.hgetall(f"job:{job_id}")
    if not found:
        raise HTTPException(404, "no such job")
    asked = Asked.model_validate_json(found["request"])
    return Job(
        id=job_id,
        status=found["status"],
        input=asked.input,
        metadata=asked.metadata,
        image=found.get("image"),
    )
