"""The dependencies of the routes: built once per process and stored in the app."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import Request
from structlog.contextvars import bind_contextvars

from api.auth import Keyring, require_scope
from api.batch_finalizer import BatchFinalizer
from api.image_streaming import ImageStreamer
from api.long_poll import NotificationHub
from api.middleware import REQUEST_ID, SPAN
from api.people import People
from api.previews import Previews
from api.records import Records
from api.redis_monitor import RedisMonitor
from api.server import TENANT
from shared.api_keys import OPS_SCOPES
from shared.model_catalog import Catalog
from shared.serializers import View
from shared.settings import Settings
from shared.storage.client import Storage
from shared.store.audit import AuditContext
from shared.store.group_commit import GroupCommitClient
from shared.store.job_queries import QueuedJob
from shared.store.tenants import Principal
from shared.tracing.spans import Span


@dataclass(frozen=True, slots=True)
class AppContext:
    """The connections and caches of a process."""

    settings: Settings
    committer: GroupCommitClient
    batch_finalizer: BatchFinalizer
    redis_monitor: RedisMonitor
    notifications: NotificationHub
    keyring: Keyring
    people: People
    storage: Storage
    images: ImageStreamer
    previews: Previews
    records: Records

    @property
    def view(self) -> View:
        """The writer of jobs; raise StoreDown until the signing secret has been read."""
        settings = self.settings
        return View(
            settings.public_url,
            self.redis_monitor.signer,
            settings.image_base_url,
            settings.models,
        )

    @property
    def models(self) -> Catalog:
        """The models that can be generated, by id."""
        return self.settings.models

    def models_for(self, principal: Principal) -> Catalog:
        """Return the models that the tenant and the key may use, by id."""
        return {name: one for name, one in self.models.items() if principal.may_use(name)}

    @property
    def prices(self) -> Mapping[str, float]:
        """The estimated credits of a call by model, where there is a price."""
        return self.settings.prices

    def price_of(self, model: str) -> float | None:
        """Return the estimated credits of a call; None without a price."""
        return self.prices.get(model)

    async def read(self, job_id: str, tenant: str) -> QueuedJob | None:
        """Read a job of this tenant ('' for any); return None if there is none."""
        return await self.records.job(job_id, tenant)

    async def wait_for(
        self, job_id: str, tenant: str, enough: Callable[[QueuedJob], bool], seconds: float
    ) -> QueuedJob | None:
        """Wait up to `seconds` until the job is `enough`; return its state then.

        Return None if the job does not exist (any more). Raise StoreError, HistoryDown.
        """
        ends_at = time.monotonic() + seconds
        with self.notifications.subscribe(job_id) as subscription:
            while True:
                queued_job = await self.read(job_id, tenant)
                if queued_job is None or enough(queued_job) or self.notifications.closing:
                    return queued_job
                if not await subscription.wait_until(ends_at):
                    return queued_job


async def app_context(request: Request) -> AppContext:
    """Return the context of the app that serves this request."""
    return cast("AppContext", request.scope["app"].state.parts)


Context = Annotated[AppContext, Depends(app_context)]


async def current_tenant(request: Request) -> Principal:
    """Return the calling tenant; raise a Problem if its key lacks the scope of the route."""
    route, parts = request.scope["route"], await app_context(request)
    authorization = request.headers.get("authorization")
    person = None
    if authorization is None and route.scope in OPS_SCOPES:
        person = parts.people.principal(request)
    if person is not None:
        require_scope(person, route.scope)
    principal = person or await parts.keyring.principal(
        authorization,
        route.scope,
        request.client.host if request.client else "",
        route.schemes,
    )
    request.scope[TENANT] = principal.tenant
    span_of(request).note(tenant=principal.tenant)
    bind_contextvars(tenant=principal.tenant)
    return principal


CurrentTenant = Annotated[Principal, Depends(current_tenant)]


async def current_operator(request: Request, principal: CurrentTenant) -> AuditContext:
    """Return the calling operator, with the request for the audit."""
    return AuditContext(principal.key_id, request.scope[REQUEST_ID])


CurrentOperator = Annotated[AuditContext, Depends(current_operator)]


def span_of(request: Request) -> Span:
    """Return the trace span of this request."""
    return cast("Span", request.scope[SPAN])


def is_final(queued_job: QueuedJob) -> bool:
    """Return whether a job is final."""
    return queued_job.job.state.is_final
