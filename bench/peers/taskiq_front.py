"""FastAPI in front of taskiq: a record in Redis, then `task.kiq()`."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio
from fastapi import Depends, FastAPI
from generation import DAY_SECONDS, REDIS_URL, Asked, IdempotencyKey, Job, check_key, record_of
from taskiq_tasks import broker, generate

# with the default of 100, more concurrent clients than that get an error
store = redis.asyncio.Redis.from_url(REDIS_URL, decode_responses=True, max_connections=200)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the broker as taskiq's documentation says."""
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=lifespan)


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
    await generate.kiq(job_id)
    return Job(id=job_id, status="queued", input=asked.input, metadata=asked.metadata)
