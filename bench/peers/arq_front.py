"""FastAPI in front of arq: a record in Redis, then `enqueue_job()`."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq import create_pool
from arq.connections import RedisSettings
from fastapi import Depends, FastAPI, Request
from generation import DAY_SECONDS, REDIS_URL, Asked, IdempotencyKey, Job, check_key, record_of


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open arq's pool, which is a Redis client too."""
    app.state.pool = await create_pool(RedisSettings.from_dsn(REDIS_URL))
    yield
    await app.state.pool.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "ok"}


@app.post("/jobs", status_code=202, dependencies=[Depends(check_key)])
async def create(asked: Asked, idempotency_key: IdempotencyKey, request: Request) -> Job:
    """Accept a job."""
    pool, job_id = request.app.state.pool, uuid.uuid4().hex
    if not await pool.set(f"idem:{idempotency_key}", job_id, nx=True, ex=DAY_SECONDS):
        known = await pool.get(f"idem:{idempotency_key}")
        return Job(id=known.decode(), status="queued")
    await pool.hset(f"job:{job_id}", mapping=record_of(asked))
    await pool.enqueue_job("generate", job_id)
    return Job(id=job_id, status="queued", input=asked.input, metadata=asked.metadata)
