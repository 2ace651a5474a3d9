"""The Python client of Darkroom: `darkroom.generate("A lighthouse").save("lighthouse.webp")`."""

import atexit
from functools import lru_cache
from typing import Unpack

from darkroom import webhooks
from darkroom.async_client import AsyncClient
from darkroom.client import Client
from darkroom.config import ServiceConfig, load_config
from darkroom.errors import (
    Conflict,
    DarkroomError,
    Fault,
    ImageBroken,
    InvalidInput,
    JobFailed,
    NotConfigured,
    NotFound,
    RateLimited,
    StillRunning,
    Unauthorized,
    Unavailable,
    WebhookInvalid,
)
from darkroom.images import AsyncImage, Image
from darkroom.models import Batch, Delivery, Endpoint, Event, Job, Model, Queue, Usage, UsageReport
from darkroom.options import BatchOptions, JobFilter, JobOptions
from darkroom.retries import RetryPolicy

__all__ = [
    "AsyncClient",
    "AsyncImage",
    "Batch",
    "BatchOptions",
    "Client",
    "Conflict",
    "DarkroomError",
    "Delivery",
    "Endpoint",
    "Event",
    "Fault",
    "Image",
    "ImageBroken",
    "InvalidInput",
    "Job",
    "JobFailed",
    "JobFilter",
    "JobOptions",
    "Model",
    "NotConfigured",
    "NotFound",
    "Queue",
    "RateLimited",
    "RetryPolicy",
    "StillRunning",
    "Unauthorized",
    "Unavailable",
    "Usage",
    "UsageReport",
    "WebhookInvalid",
    "generate",
    "webhooks",
]


def generate(
    prompt: str, *, timeout_seconds: float | None = None, **options: Unpack[JobOptions]
) -> Image:
    """Generate an image and wait for it, with DARKROOM_URL and DARKROOM_API_KEY.

    See `Client.generate`; for anything more, use a Client.
    """
    client = _client(load_config())
    return client.generate(prompt, timeout_seconds=timeout_seconds, **options)


@lru_cache(maxsize=4)
def _client(config: ServiceConfig) -> Client:
    """Return a cached client per service, because the image is downloaded afterwards."""
    client = Client(config.url, config.key)
    atexit.register(client.close)
    return client
