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
from requests import Session
from requests.adapters import HTTPAdapter

from shared.net.sockets import Egress
from shared.settings import Settings
from shared.storage.http_pool import build_pool

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
        session=_session(Egress.from_settings(settings)),
    )
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_AFTER_MS))
    tracer = provider.get_tracer("darkroom", version("darkroom-service"))
    return tracer, partial(_shut_down, provider)


def _session(egress: Egress) -> Session:
    """Return a session whose connections leave as all others do."""
    session = Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, _EgressAdapter(egress))
    return session


class _EgressAdapter(HTTPAdapter):
    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        super().__init__()

    def init_poolmanager(self, *_: object, **__: object) -> None:
        self.poolmanager = build_pool(
            concurrency=1, timeout_seconds=SEND_SECONDS, egress=self._egress
        )

    def cert_verify(self, *_: object) -> None:
        """Leave the authorities of the pool as they are; requests would add its own."""


def _shut_down(provider: TracerProvider) -> None:
    sending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
    sending.start()
    sending.join(SEND_SECONDS)
