"""Send spans in batches over OTLP/HTTP with OpenTelemetry's SDK; loaded on demand."""

import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

from shared.settings import Settings

#: Unsent spans are lost if a process is killed.
SEND_AFTER_MS = 1000
#: The time limit per batch, which also delays the exit of a process if the collector is down.
SEND_SECONDS = 3.0


def open_otlp(settings: Settings, process: str) -> tuple[Tracer, Callable[[], None]]:
    """Open the exporter to the collector of the settings.

    The second result flushes unsent spans; after its time limit they are lost.
    """
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
    tracer = provider.get_tracer("darkroom", version("darkroom-service"))
    return tracer, partial(_shut_down, provider)


def _shut_down(provider: TracerProvider) -> None:
    sending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
    sending.start()
    sending.join(SEND_SECONDS)
