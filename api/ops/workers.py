"""The worker processes that live, and what each does."""

import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import app_context, current_operator
from api.ops.tenants import answered
from api.query import Query
from shared.serializers import rfc3339
from shared.store.stats import HeldMember, WorkerInfo, list_workers

#: Queues, host and process, as `worker.lifecycle` names a process.
_NAME = re.compile(r"[^@]*@(?P<host>.*):(?P<pid>[0-9]+):[0-9a-f]+/[a-z]+")


async def get_workers(request: Request) -> Response:
    """Tell which worker processes live and what each holds, as it last told (every few seconds).

    `untold` is held too, and no worker has said so yet: it was claimed a moment ago.
    """
    await current_operator(request)
    Query(request).done()
    found = await app_context(request).committer.run(list_workers())
    return answered(
        {
            "at": rfc3339(found.now_ms),
            "data": [worker_shown(worker) for worker in found.workers],
            "untold": _held(found.untold),
        }
    )


def worker_shown(worker: WorkerInfo) -> dict[str, Any]:
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


def _held(members: Sequence[HeldMember]) -> list[dict[str, Any]]:
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
