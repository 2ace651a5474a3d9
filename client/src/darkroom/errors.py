"""The tree of all errors.

DarkroomError
├─ NotConfigured      the URL or the key is missing
├─ UsageError         invalid arguments, or an invalid file of prompts (the program only)
├─ InvalidInput       the request was refused; `faults` names everything that is wrong with it
├─ Unauthorized       the key is invalid or lacks permission
├─ NotFound           not found, or deleted
├─ Conflict           impossible in the current state (such as a final job)
├─ RateLimited        too many requests; `retry_after` in seconds. Was retried already
├─ Unavailable        the service is unavailable. Was retried already
│  └─ AcceptUnknown   the job may or may not have been accepted; `made` is the path to read
├─ JobFailed          the job ended without an image; `job`, `error_code`, `retryable`
├─ StillRunning       the wait timed out and the job continues; `job`
├─ ImageBroken        the received bytes are not the stored ones
├─ NotSaved           jobs exist whose images could not be saved (the program only)
└─ WebhookInvalid     not signed by this secret, or too old

`code` is the service's own code of the problem, if it sent one. `outcome_unknown`: the service may
have executed the request. `job`: the job that `generate` had created before the error.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darkroom.models import Job


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a request; `pointer` is a JSON pointer into it."""

    pointer: str
    message: str


class DarkroomError(Exception):
    """The base class of this client's errors; the text is a sentence.

    With `outcome_unknown`, a reply was lost or left open whether the service executed the request.
    `job` is the job that `generate` had created: wait for it, because another call pays for another
    image.
    """

    outcome_unknown = False
    job: "Job[Any] | None" = None

    def __init__(
        self, message: str, *, code: str | None = None, request_id: str | None = None
    ) -> None:
        """Take the message; `request_id` finds the request in the service's log."""
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class NotConfigured(DarkroomError):
    """The URL or the key is missing."""


class UsageError(DarkroomError):
    """The arguments, or a file of prompts, are invalid."""


class InvalidInput(DarkroomError):
    """The service refused the request; repeating it cannot help."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        request_id: str | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        """Take all faults."""
        super().__init__(message, code=code, request_id=request_id)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> "InvalidInput":
        """Build the error of a request that is refused before it is sent."""
        return cls(_sentence("", faults), code="invalid_request", faults=faults)


class Unauthorized(DarkroomError):
    """The key is invalid or lacks permission."""


class NotFound(DarkroomError):
    """Not found, or deleted."""


class Conflict(DarkroomError):
    """Impossible in the current state."""


class Unavailable(DarkroomError):
    """The service is unavailable; `retry_after` in seconds if it said so."""

    outcome_unknown = True  # unless its replies say otherwise

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Take the time after which to retry."""
        super().__init__(message, code=code, request_id=request_id)
        self.retry_after = retry_after


class RateLimited(Unavailable):
    """Too many requests, or too many queued jobs."""


class AcceptUnknown(Unavailable):
    """The service does not know whether it accepted the job; read `made` (a path) to find out."""

    def __init__(
        self,
        message: str,
        *,
        made: str,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Take the path to read."""
        super().__init__(message, code=code, request_id=request_id, retry_after=retry_after)
        self.made = made


class JobFailed(DarkroomError):
    """The job failed or was canceled. `code` is that of the job's error."""

    job: "Job[Any]"

    def __init__(self, job: "Job[Any]") -> None:
        """Take the service's message."""
        error = job.error
        message = f"{job.id} {job.status}: {error.message}" if error else f"{job.id} {job.status}."
        super().__init__(message, code=error.code if error else job.status)
        self.job = job
        #: Whether `jobs.retry` may help.
        self.retryable = error.retryable if error else True


class StillRunning(DarkroomError):
    """The wait timed out; the job continues and can be waited for again."""

    job: "Job[Any]"

    def __init__(self, job: "Job[Any]", seconds: float) -> None:
        """Take the state of the job."""
        super().__init__(f"{job.id} is still {job.status} after {seconds:g} s.")
        self.job = job


class ImageBroken(DarkroomError):
    """The received bytes are not the stored ones."""


class NotSaved(DarkroomError):
    """Jobs exist whose images could not be saved; the same command would create others."""


@contextmanager
def naming(job: "Job[Any]") -> Iterator[None]:
    """Add a job that was just created to the errors of waiting for it."""
    try:
        yield
    except DarkroomError as error:
        if error.job is None:
            error.job = job
            error.args = (f"{error} {job.id} was created: wait for it, do not create another.",)
        raise


class WebhookInvalid(DarkroomError):
    """Not signed by this secret, or more than five minutes old: do not trust it."""


#: Refusals to change a job that say nothing about other jobs.
REFUSALS = (InvalidInput, NotFound, Conflict)

_UNPROCESSABLE = frozenset({400, 405, 413, 415, 416, 422})
_UNAUTHORIZED = frozenset({401, 403})
_GONE = frozenset({404, 410})
_CONFLICT = 409
_TOO_MANY = 429


def error_of(status: int, problem: Mapping[str, Any], retry_after: float | None) -> DarkroomError:
    """Translate a problem (RFC 9457); missing members get defaults."""
    code, request_id = problem.get("code"), problem.get("request_id")
    message = str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
    fields: dict[str, Any] = {"code": code, "request_id": request_id}
    if status in _UNPROCESSABLE:
        faults = _faults(problem)
        return InvalidInput(_sentence(message, faults), faults=faults, **fields)
    for statuses, kind in (
        (_UNAUTHORIZED, Unauthorized),
        (_GONE, NotFound),
        ({_CONFLICT}, Conflict),
    ):
        if status in statuses:
            return kind(message, **fields)
    fields["retry_after"] = retry_after
    if status == _TOO_MANY:
        return RateLimited(message, **fields)
    for member, path in (("job_id", "/v1/jobs/"), ("batch_id", "/v1/batches/")):
        if code == "accept_unknown" and member in problem:
            return AcceptUnknown(message, made=f"{path}{problem[member]}", **fields)
    return Unavailable(message, **fields)


def _faults(problem: Mapping[str, Any]) -> tuple[Fault, ...]:
    named = problem.get("errors") or ()
    return tuple(Fault(str(one.get("pointer")), str(one.get("message"))) for one in named)


def _sentence(message: str, faults: Sequence[Fault]) -> str:
    if not faults:
        return message
    return "; ".join(f"{fault.pointer} {fault.message}" for fault in faults) + "."
