"""What the routes work with: built once a process, handed on with the app."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from structlog.contextvars import bind_contextvars

from api.auth import Keyring
from api.edge import REQUEST_ID, SPAN, TENANT
from api.pictures import Pictures
from api.tender import Tender
from api.wake import Wake
from api.watch import Watch
from shared.settings import Settings
from shared.storage import Storage
from shared.store.audit import Deed
from shared.store.committer import Committer
from shared.store.reading import Standing, read
from shared.store.tenants import Holder
from shared.tracing.spans import Span
from shared.view import View


@dataclass(frozen=True, slots=True)
class Parts:
    """One process' connections and what it remembers."""

    settings: Settings
    committer: Committer
    tender: Tender
    watch: Watch
    wake: Wake
    keyring: Keyring
    storage: Storage
    pictures: Pictures

    @property
    def view(self) -> View:
        """What writes jobs; raises StoreDown before the signing secret was ever read."""
        return View(self.settings.public_url, self.watch.signing_key())

    @property
    def prices(self) -> Mapping[str, float]:
        """What one call of a model may cost, in credits, where the operator named a price."""
        return self.settings.credits_per_image

    def price_of(self, model: str) -> float | None:
        """Estimate the credits of one call; None where the operator named no price."""
        return self.prices.get(model)

    async def read(self, job_id: str, tenant: str) -> Standing | None:
        """Read a job of this tenant ('' for any); None where there is none."""
        return await self.committer.run(read(job_id, tenant=tenant))


def parts_of(request: Request) -> Parts:
    """Give the parts of the app that serves this request."""
    return cast("Parts", request.scope["app"].state.parts)


async def tenant_of(request: Request) -> Holder:
    """Give the tenant that asks; raises a Problem where its key lacks the scope of the route."""
    return await _holder_of(request)


async def operator_of(request: Request) -> Deed:
    """Give who operates, and for which request; raises a Problem where the key may not."""
    holder = await _holder_of(request)
    return Deed(holder.key_id, request.scope[REQUEST_ID])


async def _holder_of(request: Request) -> Holder:
    holder = await parts_of(request).keyring.holder(
        request.headers.get("authorization"),
        request.scope["route"].scope,
        request.client.host if request.client else "",
        request.scope["route"].schemes,
    )
    request.scope[TENANT] = holder.tenant
    span_of(request).note(tenant=holder.tenant)
    bind_contextvars(tenant=holder.tenant)
    return holder


def span_of(request: Request) -> Span:
    """Give the step of a trace that serves this request."""
    return cast("Span", request.scope[SPAN])
