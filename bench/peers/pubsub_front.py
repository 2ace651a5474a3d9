"""FastAPI for jobs that end elsewhere: each waiting client subscribes to its own channel."""

import redis.asyncio
from fastapi import Depends, FastAPI
from generation import REDIS_URL, Job, check_key

app = FastAPI()
store = redis.asyncio.Redis.from_url(REDIS_URL, decode_responses=True, max_connections=20_000)


@app.get("/health")
async def health() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "ok"}


@app.get("/jobs/{job_id}", dependencies=[Depends(check_key)])
async def read(job_id: str) -> Job:
    """Return a job's state."""
    return Job(id=job_id, status=await store.hget(f"job:{job_id}", "status"))


@app.get("/jobs/{job_id}/wait", dependencies=[Depends(check_key)])
async def wait(job_id: str) -> Job:
    """Wait until a job is final: subscribe, then read, then listen."""
    async with store.pubsub() as listening:
        await listening.subscribe(f"done:{job_id}")
        status = await store.hget(f"job:{job_id}", "status")
        if status == "queued":
            async for message in listening.listen():
                if message["type"] == "message":
                    status = message["data"]
                    break
    return Job(id=job_id, status=status)
