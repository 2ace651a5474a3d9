"""What is told of a trace, by OpenTelemetry's API: to a collector, or to nobody.

A span is one step of the way. Which trace it belongs to is handed on as a `traceparent`, in the
signature: through Redis, and from thread to thread, nothing else could carry it.
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

#: Facts that OpenTelemetry has names for; all others are Darkroom's own.
_NAMES = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "host": "server.address",
}
_HEADER = "traceparent"
_FORMAT = TraceContextTextMapPropagator()
#: Nothing is taken from what a thread happens to be in.
_ALONE = Context()


class Span:
    """One step of a trace, while it lasts. Whatever is raised in it is noted by its name."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        """Show `span`, whose steps `tracer` begins."""
        self._tracer = tracer
        self._span = span

    @property
    def traceparent(self) -> str | None:
        """What makes something else, elsewhere, a child of this step; None where nobody is told."""
        if not self._span.is_recording():
            return None
        carrier: dict[str, str] = {}
        _FORMAT.inject(carrier, trace.set_span_in_context(self._span, _ALONE))
        return carrier.get(_HEADER)

    def step(
        self, name: str, *, kind: Kind = Kind.INTERNAL, **facts: Fact
    ) -> "AbstractContextManager[Span]":
        """Begin a step of this step."""
        if not self._span.is_recording():
            return NOTHING
        above = trace.set_span_in_context(self._span, _ALONE)
        return _lasting(self._tracer, self._tracer.start_span(name, above, kind, _named(facts)))

    def rename(self, name: str) -> None:
        """Call it otherwise than at its beginning."""
        self._span.update_name(name)

    def note(self, **facts: Fact) -> None:
        """Add what is known by now: never a prompt, a key, or the query of an address."""
        self._span.set_attributes(_named(facts))

    def fail(self, reason: str) -> None:
        """Note that it went wrong, by an error's code or name."""
        self._span.set_attribute("error.type", reason)
        self._span.set_status(StatusCode.ERROR)


class Tracer:
    """Where spans go."""

    def __init__(self, tracer: trace.Tracer, close: Callable[[], None] = lambda: None) -> None:
        """Begin spans of `tracer`; `close` sends what is not sent yet."""
        self._tracer = tracer
        #: Send what is not sent yet, for a few seconds at most.
        self.close = close

    def serve(self, name: str, caller: str | None) -> AbstractContextManager[Span]:
        """Begin to serve a request, below the caller's `traceparent` or a trace of its own."""
        above = _context(caller) if caller else _ALONE
        return _lasting(self._tracer, self._tracer.start_span(name, above, Kind.SERVER))

    def follow(
        self, name: str, parent: str | None, *, kind: Kind, **facts: Fact
    ) -> AbstractContextManager[Span]:
        """Go on with what was queued under `parent`; nobody is told where that is None."""
        if parent is None:
            return NOTHING
        span = self._tracer.start_span(name, _context(parent), kind, _named(facts))
        return _lasting(self._tracer, span)

    def past(
        self, name: str, parent: str | None, *, began_ms: int, ended_ms: int, **facts: Fact
    ) -> None:
        """Tell a step that is over already; times are milliseconds since 1970."""
        if parent is None:
            return
        span = self._tracer.start_span(
            name, _context(parent), attributes=_named(facts), start_time=began_ms * 1_000_000
        )
        span.end(max(began_ms, ended_ms) * 1_000_000)


#: Tells nobody, at the cost of a call.
OFF = Tracer(trace.NoOpTracer())
#: A step that nobody sees; one serves for all.
NOTHING: AbstractContextManager[Span] = nullcontext(Span(trace.NoOpTracer(), trace.INVALID_SPAN))


def open_tracer(settings: Settings, process: str) -> Tracer:
    """Open what tells of this kind of `process`; OFF unless the settings name a collector.

    Raises InvalidSettings where OpenTelemetry's SDK is not installed.
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
    """Let a span last as long as the block; of what is raised only the name is told."""
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
