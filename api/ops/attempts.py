"""The attempts of a job, from its history and the recorded failures."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from shared.errors import ErrorCode
from shared.jobs import AttemptError, Job, State, StateChange, Status, Step
from shared.schemas import Count, Time
from shared.serializers import rfc3339

Outcome = Literal[
    "running",
    "succeeded",
    "failed",
    "canceled",
    "retried",
    "held_back",
    "released",
    "worker_lost",
]
#: How an attempt ended, by its recorded outcome.
ENDED: Mapping[str, Outcome] = {
    "retry": "retried",
    "held": "held_back",
    "failed": "failed",
    "lost": "worker_lost",
}


class Change(TypedDict):
    """A change of a job."""

    version: Count
    at: Time
    status: Status
    step: Step | None
    attempt: Count


class AttemptStep(TypedDict):
    """When an attempt reached a step."""

    step: Step | None
    at: Time


class Attempt(TypedDict):
    """One attempt of a job."""

    run: Count
    number: Count
    started_at: Time
    ended_at: Time | None
    seconds: float | None
    steps: list[AttemptStep]
    outcome: Outcome
    error_code: ErrorCode | None
    response_excerpt: Annotated[
        str | None, Field(description="The response of the provider or the storage, cut")
    ]


#: The errors of a job, in order, by run, attempt and time.
_Notes = dict[tuple[int, int, int], list[AttemptError]]
_FINAL: Mapping[State, Outcome] = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELED: "canceled",
}


def timeline(job: Job) -> list[Change]:
    """Write the stored changes of a job, oldest first."""
    return [
        {
            "version": change.version,
            "at": rfc3339(change.at),
            "status": change.state.status,
            "step": change.state.step,
            "attempt": change.attempt,
        }
        for change in job.history
    ]


def attempts(job: Job) -> list[Attempt]:
    """Write the stored attempts of a job, oldest first; the last may still be running."""
    notes: _Notes = {}
    for note in job.attempt_errors:
        notes.setdefault((note.run, note.attempt, note.at), []).append(note)
    return [
        _shown(run, steps, end, _note_of(run, steps, end, notes))
        for run, steps, end in _attempt_changes(job)
    ]


def _note_of(
    run: int, steps: list[StateChange], end: StateChange | None, notes: _Notes
) -> AttemptError | None:
    """Return the error of an attempt; attempts that do not count have the number of the next."""
    if end is None or end.state is State.SUCCEEDED:
        return None
    found = notes.get((run, steps[0].attempt, end.at))
    return found.pop(0) if found else None


def _attempt_changes(job: Job) -> Iterator[tuple[int, list[StateChange], StateChange | None]]:
    """Return each attempt with its run: its running states, and what ended it."""
    run, was_final, steps = _first_run(job), False, list[StateChange]()
    for change in job.history:
        if change.state.is_running:
            steps.append(change)
            continue
        if steps:
            yield run, steps, change
        steps = []
        run += was_final
        was_final = change.state.is_final
    if steps:
        yield run, steps, None


def _first_run(job: Job) -> int:
    """Return the run with which the history begins: only the latest changes are stored."""
    last = job.history[-1].state.is_final
    return job.run - sum(change.state.is_final for change in job.history) + last


def _shown(
    run: int, steps: list[StateChange], end: StateChange | None, note: AttemptError | None
) -> Attempt:
    return {
        "run": run,
        "number": steps[0].attempt,
        "started_at": rfc3339(steps[0].at),
        "ended_at": rfc3339(end.at) if end else None,
        "seconds": (end.at - steps[0].at) / 1000 if end else None,
        "steps": [{"step": one.state.step, "at": rfc3339(one.at)} for one in steps],
        "outcome": _outcome(end, note),
        "error_code": note.code if note else None,
        "response_excerpt": note.excerpt if note else None,
    }


def _outcome(end: StateChange | None, note: AttemptError | None) -> Outcome:
    if end is None:
        return "running"
    if note is not None:
        return ENDED[note.outcome]
    return _FINAL.get(end.state, "released")
