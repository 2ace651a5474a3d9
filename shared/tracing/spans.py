"""Spans through OpenTelemetry's API, sent to a collector or discarded.

A span is one step. Its trace is passed on explicitly as a `traceparent`: nothing else could carry
it through Redis and between threads.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.errors import InvalidSettings, JobError
from shared.settings import Settings

Fact = str | int | float | bool
#: Which side of an exchange a span shows.
Kind = SpanKind

#: Attributes that OpenTelemetry names; all others are Darkroom's own.
_NAMES = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "host": "server.address",
}
_HEADER = "traceparent"
_FORMAT = TraceContextTextMapPropagator()
#: No implicit context of a thread is used.
_ALONE = Context()


class Span:
    """One step of a trace while it runs. Exceptions in it are recorded by their name."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        """Wrap `span`, whose children `tracer` creates."""
        self._tracer = tracer
        self._span = span

    @property
    def traceparent(self) -> str | None:
        """The parent for spans elsewhere; None if tracing is off."""
        if not self._span.is_recording():
            return None
        carrier: dict[str, str] = {}
        _FORMAT.inject(carrier, trace.set_span_in_context(self._span, _ALONE))
        return carrier.get(_HEADER)

    def step(
        self, name: str, *, kind: Kind = Kind.INTERNAL, **facts: Fact
    ) -> "AbstractContextManager[Span]":
        """Start a child span."""
        if not self._span.is_recording():
            return NOTHING
        above = trace.set_span_in_context(self._span, _ALONE)
        return _lasting(self._tracer, self._tracer.start_span(name, above, kind, _named(facts)))

    def rename(self, name: str) -> None:
        """Change the name."""
        self._span.update_name(name)

    def note(self, **facts: Fact) -> None:
        """Add an attribute: never a prompt, a key, or the query of a URL."""
        self._span.set_attributes(_named(facts))

    def fail(self, reason: str) -> None:
        """Record a failure by an error's code or name."""
        self._span.set_attribute("error.type", reason)
        self._span.set_status(StatusCode.ERROR)


class Tracer:
    """Creates spans."""

    def __init__(self, tracer: trace.Tracer, close: Callable[[], None] = lambda: None) -> None:
        """Create spans with `tracer`; `close` flushes unsent ones."""
        self._tracer = tracer
        #: Flush unsent spans, for a few seconds at most.
        self.close = close

    def serve(self, name: str, caller: str | None) -> AbstractContextManager[Span]:
        """Start the span of a request, below the caller's `traceparent` or in a new trace."""
        above = _context(caller) if caller else _ALONE
        return _lasting(self._tracer, self._tracer.start_span(name, above, Kind.SERVER))

    def follow(
        self, name: str, parent: str | None, *, kind: Kind, **facts: Fact
    ) -> AbstractContextManager[Span]:
        """Continue the trace of a queued job below `parent`; do nothing if that is None."""
        if parent is None:
            return NOTHING
        span = self._tracer.start_span(name, _context(parent), kind, _named(facts))
        return _lasting(self._tracer, span)

    def past(
        self, name: str, parent: str | None, *, began_ms: int, ended_ms: int, **facts: Fact
    ) -> None:
        """Record a step that is over; times are milliseconds since 1970."""
        if parent is None:
            return
        span = self._tracer.start_span(
            name, _context(parent), attributes=_named(facts), start_time=began_ms * 1_000_000
        )
        span.end(max(began_ms, ended_ms) * 1_000_000)


#: Discards spans at the cost of a call.
OFF = Tracer(trace.NoOpTracer())
#: The shared span of a disabled tracer.
NOTHING: AbstractContextManager[Span] = nullcontext(Span(trace.NoOpTracer(), trace.INVALID_SPAN))


def open_tracer(settings: Settings, process: str) -> Tracer:
    """Open the tracer for this kind of `process`; OFF unless the settings name a collector.

    Raise InvalidSettings if OpenTelemetry's SDK is not installed.
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
    return Tracer(*otlp.open_otlp(settings, process))


def _lasting(tracer: trace.Tracer, span: trace.Span) -> AbstractContextManager[Span]:
    return _ended(Span(tracer, span), span) if span.is_recording() else NOTHING


@contextmanager
def _ended(step: Span, span: trace.Span) -> Iterator[Span]:
    """Keep a span open for the block; record only the name of an exception."""
    try:
        yield step
    except BaseException as error:
        step.fail(error.code.value if isinstance(error, JobError) else type(error).__name__)
        raise
    finally:
        span.end()


def _named(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {_NAMES.get(name, f"darkroom.{name}"): value for name, value in facts.items()}


def _context(traceparent: str) -> Context:
    return _FORMAT.extract({_HEADER: traceparent}, _ALONE)
