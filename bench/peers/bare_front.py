"""The route alone: the same checks and the same response, without a store."""

import uuid

from fastapi import Depends, FastAPI
from generation import Asked, IdempotencyKey, Job, check_key

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "ok"}


@app.post("/jobs", status_code=202, dependencies=[Depends(check_key)])
async def create(asked: Asked, idempotency_key: IdempotencyKey) -> Job:  # noqa: ARG001  checked
    """Respond at once."""
    job_id = uuid.uuid4().hex
    return Job(id=job_id, status="queued", input=asked.input, metadata=asked.metadata)
