"""Spans by OpenTelemetry, sent in batches over OTLP/HTTP. The only place that knows its names."""

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span as TheirSpan
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.errors import JobError
from shared.settings import Settings
from shared.tracing.spans import NOTHING, Fact, Kind, Span

#: What is not sent yet is lost with a process that is killed.
SEND_AFTER_MS = 1000
#: A collector that is away takes so long for each batch, and holds up the end of a process so long.
SEND_SECONDS = 3.0

_KINDS = {
    Kind.INSIDE: SpanKind.INTERNAL,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.CONSUMER: SpanKind.CONSUMER,
}
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


def open_otlp(settings: Settings, process: str) -> "Otlp":
    """Open what sends the spans of this process to the collector of the settings."""
    attributes = {
        "service.name": f"darkroom-{process}",
        "service.version": version("darkroom-service"),
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
    }
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.trace_sample_ratio)),
        resource=Resource.create(attributes),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.otlp_endpoint}/v1/traces",
        headers=settings.otlp_header_values,
        timeout=SEND_SECONDS,
        compression=Compression.Gzip,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_AFTER_MS))
    return Otlp(provider)


class Otlp:
    """Tells a collector."""

    def __init__(self, provider: TracerProvider) -> None:
        """Begin spans of `provider`, which this closes."""
        self._provider = provider
        self._tracer = provider.get_tracer("darkroom", version("darkroom-service"))

    def serve(self, name: str, caller: str | None) -> AbstractContextManager[Span]:
        """Begin to serve a request."""
        above = _context(caller) if caller else _ALONE
        return _lasting(self._tracer, self._tracer.start_span(name, above, SpanKind.SERVER))

    def follow(
        self, name: str, parent: str | None, *, kind: Kind, **facts: Fact
    ) -> AbstractContextManager[Span]:
        """Go on with what was queued under `parent`."""
        if parent is None:
            return NOTHING
        return _lasting(self._tracer, _begun(self._tracer, name, _context(parent), kind, facts))

    def past(
        self, name: str, parent: str | None, *, began_ms: int, ended_ms: int, **facts: Fact
    ) -> None:
        """Tell a step that is over already."""
        if parent is None:
            return
        span = self._tracer.start_span(
            name, _context(parent), attributes=_named(facts), start_time=began_ms * 1_000_000
        )
        span.end(max(began_ms, ended_ms) * 1_000_000)

    def close(self) -> None:
        """Send what is not sent yet; where that takes too long it is lost."""
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(SEND_SECONDS)


class _Step:
    """A span of OpenTelemetry, as `Span` promises it."""

    def __init__(self, tracer: trace.Tracer, span: TheirSpan) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def traceparent(self) -> str | None:
        if not self._span.is_recording():
            return None
        carrier: dict[str, str] = {}
        _FORMAT.inject(carrier, trace.set_span_in_context(self._span, _ALONE))
        return carrier.get(_HEADER)

    def step(
        self, name: str, *, kind: Kind = Kind.INSIDE, **facts: Fact
    ) -> AbstractContextManager[Span]:
        above = trace.set_span_in_context(self._span, _ALONE)
        return _lasting(self._tracer, _begun(self._tracer, name, above, kind, facts))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, **facts: Fact) -> None:
        self._span.set_attributes(_named(facts))

    def fail(self, reason: str) -> None:
        self._span.set_attribute("error.type", reason)
        self._span.set_status(Status(StatusCode.ERROR))


def _begun(
    tracer: trace.Tracer, name: str, above: Context, kind: Kind, facts: Mapping[str, Fact]
) -> TheirSpan:
    return tracer.start_span(name, above, _KINDS[kind], _named(facts))


@contextmanager
def _lasting(tracer: trace.Tracer, span: TheirSpan) -> Iterator[Span]:
    """Let a span last as long as the block; of what is raised only the name is told."""
    step = _Step(tracer, span)
    try:
        yield step
    except BaseException as error:
        step.fail(_reason(error))
        raise
    finally:
        span.end()


def _reason(error: BaseException) -> str:
    return error.code.value if isinstance(error, JobError) else type(error).__name__


def _named(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {_NAMES.get(name, f"darkroom.{name}"): value for name, value in facts.items()}


def _context(traceparent: str) -> Context:
    return _FORMAT.extract({_HEADER: traceparent}, _ALONE)
