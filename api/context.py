"""What the routes work with: built once a process, handed on with the app."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from structlog.contextvars import bind_contextvars

from api.auth import Keyring
from api.batch_finalizer import BatchFinalizer
from api.image_streaming import ImageStreamer
from api.long_poll import NotificationHub
from api.middleware import REQUEST_ID, SPAN, TENANT
from api.redis_monitor import Watch
from shared.serializers import View
from shared.settings import Settings
from shared.storage.client import Storage
from shared.store.audit import AuditContext
from shared.store.group_commit import GroupCommitClient
from shared.store.job_queries import QueuedJob, read_job
from shared.store.tenants import Principal
from shared.tracing.spans import Span


@dataclass(frozen=True, slots=True)
class AppContext:
    """One process' connections and what it remembers."""

    settings: Settings
    committer: GroupCommitClient
    batch_finalizer: BatchFinalizer
    redis_monitor: Watch
    notifications: NotificationHub
    keyring: Keyring
    storage: Storage
    images: ImageStreamer

    @property
    def view(self) -> View:
        """What writes jobs; raises StoreDown before the signing secret was ever read."""
        return View(self.settings.public_url, self.redis_monitor.signing_key())

    @property
    def prices(self) -> Mapping[str, float]:
        """What one call of a model may cost, in credits, where the operator named a price."""
        return self.settings.credits_per_image

    def price_of(self, model: str) -> float | None:
        """Estimate the credits of one call; None where the operator named no price."""
        return self.prices.get(model)

    async def read(self, job_id: str, tenant: str) -> QueuedJob | None:
        """Read a job of this tenant ('' for any); None where there is none."""
        return await self.committer.run(read_job(job_id, tenant=tenant))


def app_context(request: Request) -> AppContext:
    """Give the parts of the app that serves this request."""
    return cast("AppContext", request.scope["app"].state.parts)


async def current_tenant(request: Request) -> Principal:
    """Give the tenant that asks; raises a Problem where its key lacks the scope of the route."""
    return await _principal_of(request)


async def current_operator(request: Request) -> AuditContext:
    """Give who operates, and for which request; raises a Problem where the key may not."""
    principal = await _principal_of(request)
    return AuditContext(principal.key_id, request.scope[REQUEST_ID])


async def _principal_of(request: Request) -> Principal:
    principal = await app_context(request).keyring.principal(
        request.headers.get("authorization"),
        request.scope["route"].scope,
        request.client.host if request.client else "",
        request.scope["route"].schemes,
    )
    request.scope[TENANT] = principal.tenant
    span_of(request).note(tenant=principal.tenant)
    bind_contextvars(tenant=principal.tenant)
    return principal


def span_of(request: Request) -> Span:
    """Give the step of a trace that serves this request."""
    return cast("Span", request.scope[SPAN])
