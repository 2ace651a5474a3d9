"""Sends spans in batches over OTLP/HTTP, by OpenTelemetry's SDK; loaded where it is asked for."""

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

#: What is not sent yet is lost with a process that is killed.
SEND_AFTER_MS = 1000
#: A collector that is away takes so long for each batch, and holds up the end of a process so long.
SEND_SECONDS = 3.0


def open_otlp(settings: Settings, process: str) -> tuple[Tracer, Callable[[], None]]:
    """Open what sends the spans of this process to the collector of the settings.

    The second of both sends what is not sent yet; where that takes too long it is lost.
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
