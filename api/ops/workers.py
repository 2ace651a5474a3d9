"""The worker processes that live, and what each does."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import Context
from api.ops.tenants import answered
from api.problems import problems
from api.routing import tenant_router
from shared.celery_app import QueueName
from shared.schemas import Count, Time
from shared.serializers import rfc3339
from shared.store.stats import HeldMember, WorkerInfo, list_workers

#: Queues, host and process, as `worker.lifecycle` names a process.
_NAME = re.compile(r"[^@]*@(?P<host>.*):(?P<pid>[0-9]+):[0-9a-f]+/[a-z]+")


router = tenant_router("operators")


class Held(TypedDict):
    """A job or a delivery that a worker holds."""

    id: Annotated[str, Field(description="A job's or a delivery's")]
    tenant: str
    step: str
    attempt: Count
    since: Time | None


class Worker(TypedDict):
    """A worker process, and what it holds."""

    name: str
    host: str | None
    pid: Count | None
    queue: Annotated[str, Field(json_schema_extra={"enum": [name.value for name in QueueName]})]
    threads: Count
    started_at: Time | None
    lease_until: Time
    held: list[Held]


class WorkerList(TypedDict):
    """The workers that live."""

    at: Time
    data: list[Worker]
    untold: Annotated[list[Held], Field(description="Held, and no worker has said so yet")]


@router.get(
    "/ops/v1/workers",
    response_model=WorkerList,
    response_description="All that live",
    responses=problems(),
)
async def get_workers(parts: Context) -> Response:
    """Tell which worker processes live and what each holds, as it last told (every few seconds).

    `untold` is held too, and no worker has said so yet: it was claimed a moment ago.
    """
    found = await parts.committer.run(list_workers())
    shown: WorkerList = {
        "at": rfc3339(found.now_ms),
        "data": [worker_shown(worker) for worker in found.workers],
        "untold": _held(found.untold),
    }
    return answered(shown)


def worker_shown(worker: WorkerInfo) -> Worker:
    """Write a process; one that is killed is still told until its lease is over."""
    named = _NAME.fullmatch(worker.name)
    return {
        "name": worker.name,
        "host": named["host"] if named else None,
        "pid": int(named["pid"]) if named else None,
        "queue": worker.queue,
        "threads": worker.threads,
        "started_at": rfc3339(worker.since),
        "lease_until": rfc3339(worker.renewed_until),
        "held": _held(worker.held),
    }


def _held(members: Sequence[HeldMember]) -> list[Held]:
    return [
        {
            "id": member.id,
            "tenant": member.tenant,
            "step": member.state,
            "attempt": member.attempt,
            "since": rfc3339(member.since),
        }
        for member in members
    ]
