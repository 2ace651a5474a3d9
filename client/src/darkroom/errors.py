"""Everything that can go wrong for a caller, as one tree.

DarkroomError
├─ NotConfigured      no address or no key is known
├─ BadWords           what was typed, or a file of prompts, cannot be read (the program only)
├─ InvalidInput       the request was refused; `faults` names everything that is wrong with it
├─ Unauthorized       the key is none, or may not do that
├─ NotFound           there is no such thing, or no more
├─ Conflict           it cannot be done as things stand (the job is final, say)
├─ RateLimited        too much at once; `retry_after` in seconds. Was tried again already
├─ Unavailable        the service is away or cannot take work now. Was tried again already
│  └─ AcceptUnknown   nobody knows whether it was accepted; `made` is the id to read
├─ JobFailed          the job ended without an image; `job`, `error_code`, `retryable`
├─ StillRunning       the time to wait is over and the job goes on; `job`
├─ ImageBroken        the bytes that came are not those that were stored
└─ WebhookInvalid     not signed by this secret, or too old

`code` is the service's own word for what happened, where it said one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darkroom.models import Job


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request; `pointer` is a JSON pointer into it."""

    pointer: str
    message: str


class DarkroomError(Exception):
    """Anything this client raises on purpose; the text is a sentence for people."""

    def __init__(
        self, message: str, *, code: str | None = None, request_id: str | None = None
    ) -> None:
        """Keep what was said; `request_id` finds the request in the service's log."""
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class NotConfigured(DarkroomError):
    """No address or no key is known."""


class UsageError(DarkroomError):
    """What was typed, or a file of prompts, cannot be read."""


class InvalidInput(DarkroomError):
    """The service refused the request; sending it again cannot help."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        request_id: str | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        """Keep every fault that was named."""
        super().__init__(message, code=code, request_id=request_id)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> "InvalidInput":
        """Build the error of a request that is refused before it is sent."""
        return cls(_sentence("", faults), code="invalid_request", faults=faults)


class Unauthorized(DarkroomError):
    """The key is none, or may not do that."""


class NotFound(DarkroomError):
    """There is no such thing, or no more."""


class Conflict(DarkroomError):
    """It cannot be done as things stand."""


class Unavailable(DarkroomError):
    """The service is away, or cannot take work now; `retry_after` in seconds where it said so."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep when to ask again."""
        super().__init__(message, code=code, request_id=request_id)
        self.retry_after = retry_after


class RateLimited(Unavailable):
    """Too much at once, or too much is queued."""


class AcceptUnknown(Unavailable):
    """The service does not know whether it accepted; reading `made` (a path) tells."""

    def __init__(
        self,
        message: str,
        *,
        made: str,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep where the truth can be read."""
        super().__init__(message, code=code, request_id=request_id, retry_after=retry_after)
        self.made = made


class JobFailed(DarkroomError):
    """The job failed or was canceled: it has no image. `code` is that of the job's error."""

    def __init__(self, job: "Job[Any]") -> None:
        """Tell why, in the service's words."""
        error = job.error
        message = f"{job.id} {job.status}: {error.message}" if error else f"{job.id} {job.status}."
        super().__init__(message, code=error.code if error else job.status)
        self.job = job
        #: Whether `jobs.retry` may help.
        self.retryable = error.retryable if error else True


class StillRunning(DarkroomError):
    """The time to wait is over; the job goes on and can be waited for again."""

    def __init__(self, job: "Job[Any]", seconds: float) -> None:
        """Tell how the job stands."""
        super().__init__(f"{job.id} is still {job.status} after {seconds:g} s.")
        self.job = job


class ImageBroken(DarkroomError):
    """The bytes that came are not those that were stored."""


class WebhookInvalid(DarkroomError):
    """Not signed by this secret, or more than five minutes old: do not believe it."""


_UNPROCESSABLE = frozenset({400, 405, 413, 415, 416, 422})
_UNAUTHORIZED = frozenset({401, 403})
_GONE = frozenset({404, 410})
_CONFLICT = 409
_TOO_MANY = 429


def error_of(status: int, problem: Mapping[str, Any], retry_after: float | None) -> DarkroomError:
    """Translate a refusal (RFC 9457); whatever is missing in it is made up for."""
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
