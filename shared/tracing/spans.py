"""What is told of a trace, and to whom: to nobody, or to an OpenTelemetry collector.

A span is one step of the way. Which trace it belongs to is handed on as a `traceparent`, in the
signature: through Redis, and from thread to thread, nothing else could carry it.
"""

from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Protocol

from shared.errors import InvalidSettings
from shared.settings import Settings

Fact = str | int | float | bool


class Kind(Enum):
    """Which side of an exchange a span shows."""

    INSIDE = "inside"
    #: sends a request
    CLIENT = "client"
    #: does what was queued
    CONSUMER = "consumer"


class Span(Protocol):
    """One step of a trace, while it lasts. Whatever is raised in it is noted by its name."""

    @property
    def traceparent(self) -> str | None:
        """What makes something else, elsewhere, a child of this step; None where nobody is told."""
        ...

    def step(
        self, name: str, *, kind: Kind = Kind.INSIDE, **facts: Fact
    ) -> "AbstractContextManager[Span]":
        """Begin a step of this step."""
        ...

    def rename(self, name: str) -> None:
        """Call it otherwise than at its beginning."""
        ...

    def note(self, **facts: Fact) -> None:
        """Add what is known by now: never a prompt, a key, or the query of an address."""
        ...

    def fail(self, reason: str) -> None:
        """Note that it went wrong, by an error's code or name."""
        ...


class Tracer(Protocol):
    """Where spans go."""

    def serve(self, name: str, caller: str | None) -> AbstractContextManager[Span]:
        """Begin to serve a request, below the caller's `traceparent` or a trace of its own."""
        ...

    def follow(
        self, name: str, parent: str | None, *, kind: Kind, **facts: Fact
    ) -> AbstractContextManager[Span]:
        """Go on with what was queued under `parent`; nobody is told where that is None."""
        ...

    def past(
        self, name: str, parent: str | None, *, began_ms: int, ended_ms: int, **facts: Fact
    ) -> None:
        """Tell a step that is over already; times are milliseconds since 1970."""
        ...

    def close(self) -> None:
        """Send what is not sent yet, for a few seconds at most."""
        ...


class _Nothing:
    """A step that nobody sees; one serves for all."""

    traceparent = None

    def step(self, *_: object, **__: object) -> AbstractContextManager[Span]:
        return NOTHING

    def rename(self, name: str) -> None:
        pass

    def note(self, **facts: Fact) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


NOTHING: AbstractContextManager[Span] = nullcontext(_Nothing())


class _Off:
    """Tells nobody, at the cost of a call."""

    def serve(self, *_: object) -> AbstractContextManager[Span]:
        return NOTHING

    def follow(self, *_: object, **__: object) -> AbstractContextManager[Span]:
        return NOTHING

    def past(self, *_: object, **__: object) -> None:
        pass

    def close(self) -> None:
        pass


OFF: Tracer = _Off()


def open_tracer(settings: Settings, process: str) -> Tracer:
    """Open what tells of this kind of `process`; OFF unless the settings name a collector.

    Raises BadSettings where OpenTelemetry is not installed.
    """
    if not settings.otlp_endpoint:
        return OFF
    try:
        from shared.tracing import otlp  # noqa: PLC0415  nothing of it is loaded while it is off
    except ImportError as error:
        raise InvalidSettings(
            "DARKROOM_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
            "install darkroom-service[tracing]."
        ) from error
    return otlp.open_otlp(settings, process)
