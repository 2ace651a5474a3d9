"""A job as a value; a test names only what differs from the default."""

from typing import Any

from shared.jobs import Job, JobSpec, OnUnknown, Priority, State, StateChange

JOB_ID = "job_01j00000000000000000000000"


def job(*, on_unknown: OnUnknown = OnUnknown.RETRY, **changes: Any) -> Job:
    spec = JobSpec("m", {"prompt": "p", "seed": 7}, changes.pop("webhook", None), on_unknown)
    made: dict[str, Any] = {
        "id": JOB_ID,
        "tenant": "acme",
        "spec": spec,
        "state": State.CLAIMED,
        "version": 2,
        "run": 1,
        "attempt": 1,
        "max_attempts": 5,
        "priority": Priority.NORMAL,
        "fence": 1,
        "calls": 0,
        "unknown_outcomes": 0,
        "regenerated": 0,
        "worker_losses": 0,
        "created_at": 1_700_000_000_000,
        "deadline_at": 1_700_000_600_000,
    }
    return Job(**{**made, **changes})


def history(*states: tuple[State, int]) -> tuple[StateChange, ...]:
    """Return a history of (state, attempt), one second after the other."""
    return tuple(
        StateChange(number, 1_700_000_000_000 + 1000 * number, state, attempt)
        for number, (state, attempt) in enumerate(states, 1)
    )
