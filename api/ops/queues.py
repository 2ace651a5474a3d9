"""The queues: how they stand, why they are held, and the switch of each."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.ops.tenants import answered
from api.parts import Parts, operator_of, parts_of
from api.problems import not_found
from api.query import Query
from shared.queue import QueueName
from shared.store.operating import pause, resume
from shared.store.reading import ServiceFacts, facts
from shared.view import rfc3339


async def get_queues(request: Request) -> Response:
    """Tell how the queues stand, and what the provider's gate is like."""
    await operator_of(request)
    Query(request).done()
    now = await parts_of(request).committer.run(facts())
    return answered(
        {"data": [queue_shown(now, name) for name in QueueName], "gate": gate_shown(now)}
    )


async def pause_queue(request: Request, queue: str) -> Response:
    """Give nothing new out of a queue; what is begun goes on. Deadlines count all the same."""
    parts, deed = parts_of(request), await operator_of(request)
    name = _known(request, queue)
    await parts.committer.run(pause(deed, name.value))
    return await _answer(parts, name)


async def resume_queue(request: Request, queue: str) -> Response:
    """Let a queue go on."""
    parts, deed = parts_of(request), await operator_of(request)
    name = _known(request, queue)
    await parts.committer.run(resume(deed, name.value))
    return await _answer(parts, name)


def _known(request: Request, queue: str) -> QueueName:
    Query(request).done()
    if queue not in set(QueueName):
        raise not_found("queue")
    return QueueName(queue)


async def _answer(parts: Parts, name: QueueName) -> Response:
    return answered(queue_shown(await parts.committer.run(facts()), name))


def queue_shown(now: ServiceFacts, name: QueueName) -> dict[str, Any]:
    """Write how a queue stands; `closed` says why nothing new is given out of it."""
    paused = now.gate.get(f"paused:{name}")
    closed = now.closed if name is QueueName.GENERATE else "paused" if paused else ""
    return {
        "name": name.value,
        "depth": now.depth[name],
        "oldest_age_seconds": now.oldest_age[name],
        "in_flight": now.in_flight[name],
        "paused": paused is not None,
        "paused_at": rfc3339(int(paused)) if paused else None,
        "closed": closed or None,
    }


def gate_shown(now: ServiceFacts) -> dict[str, Any]:
    """Write the provider's gate: its circuit, what holds it until when, and the keys seen."""
    gate = now.gate
    holds = {name: int(value) for name, value in _named(gate, "hold").items()}
    dead = _named(gate, "dead")
    living = sorted(set(_named(gate, "tat")) - set(dead))
    return {
        "circuit": _circuit(now, holds.get("provider_down", 0)),
        "failures_in_a_row": int(gate.get("fails", 0)),
        "credits": {
            "blocked": now.credits_blocked,
            "needed": now.credits_needed if "credits:needed" in gate else None,
            "left": now.credits_left if "credits:has" in gate else None,
        },
        "holds": [
            {"reason": reason, "until": rfc3339(ends)}
            for reason, ends in sorted(holds.items())
            if ends > now.now_ms
        ],
        "keys": {
            "living": living,
            "dead": [{"id": key, "since": rfc3339(int(dead[key]))} for key in sorted(dead)],
        },
    }


def _circuit(now: ServiceFacts, ends: int) -> str:
    if "probe:provider_down" in now.gate:
        return "probing"
    return "open" if ends > now.now_ms else "closed"


def _named(gate: Mapping[str, str], kind: str) -> dict[str, str]:
    """Give the fields of one kind, without the kind."""
    return {
        re.sub(f"^{kind}:", "", name): value
        for name, value in gate.items()
        if name.startswith(f"{kind}:")
    }
