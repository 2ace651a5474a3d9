"""The HTTP API as a FastAPI app; `darkroom api` serves it."""

import asyncio
import gc
import multiprocessing
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from uvicorn.config import STARTUP_FAILURE

from api import erasures, events, health, models, usage
from api.auth import Keyring
from api.auth_throttle import AuthThrottle
from api.batch_finalizer import BatchFinalizer
from api.batches import manifest
from api.batches import routes as batches
from api.batches.routes import BATCHES
from api.bodies import BodyLimits
from api.compat.openai import images
from api.compat.openai import models as openai_models
from api.compat.openai.errors import answer as openai_problem
from api.compat.replicate import models as replicate_models
from api.compat.replicate import predictions
from api.compat.replicate.errors import answer as replicate_problem
from api.context import AppContext
from api.cors import Cors
from api.errors import add_handlers
from api.image_streaming import CONNECTIONS, READERS, ImageStreamer
from api.jobs import events as job_events
from api.jobs import image
from api.jobs import routes as jobs
from api.long_poll import NotificationHub
from api.middleware import PrefixMiddleware, RequestMiddleware
from api.openapi import document_of
from api.ops import audit, operator_endpoints, stats
from api.ops import deliveries as ops_deliveries
from api.ops import endpoints as ops_endpoints
from api.ops import jobs as ops_jobs
from api.ops import keys as ops_keys
from api.ops import provider_keys as ops_provider_keys
from api.ops import queues as ops_queues
from api.ops import tenants as ops_tenants
from api.ops import usage as ops_usage
from api.people import People
from api.previews import Previews
from api.records import READERS as HISTORY_READERS
from api.records import Records
from api.redis_monitor import RedisMonitor
from api.routing import FastRoute, Route
from api.shutdown import on_stop_signal
from api.web import pages
from api.webhooks import deliveries, endpoints, test_event
from shared import logs, metrics
from shared.celery_app import build_celery, build_scripts
from shared.errors import InvalidSettings
from shared.history import open_database
from shared.settings import S3_KEYS, Settings, load_settings, require
from shared.signing import ImageUrlSigner
from shared.storage.client import Storage
from shared.store.connection import connect_async
from shared.store.durability import Replicas
from shared.store.group_commit import GroupCommitClient
from shared.tracing.spans import Tracer, open_tracer

if TYPE_CHECKING:
    from shared.history.database import Database
    from shared.history.reader import HistoryReader

#: One connection for the committer, one for the monitor, one for the notification reader, and a
#: spare for replacing a broken one.
_CONNECTIONS = 8
_FAILED = 500
#: The exit code for invalid settings, as of every command.
WRONG_SETTINGS = 2
#: All routers, in matching order.
ROUTERS: tuple[APIRouter, ...] = (
    *(erasures.tenant_routes, jobs.router, job_events.router, image.router),
    *(batches.router, manifest.router, events.router),
    *(deliveries.router, test_event.router, endpoints.router),
    *(usage.router, models.router),
    *(images.router, openai_models.router, predictions.router, replicate_models.router),
    health.router,
    *(ops_tenants.router, ops_keys.router, ops_provider_keys.router),
    *(ops_queues.router, ops_jobs.router),
    *(stats.router, ops_deliveries.router, ops_endpoints.router, ops_usage.router),
    operator_endpoints.router,
    *(erasures.operator_routes, audit.router),
    pages.router,
)
ROUTES: tuple[Route, ...] = tuple(
    route for router in ROUTERS for route in router.routes if isinstance(route, Route)
)
#: Routes that create jobs, for the service-level objectives.
ACCEPTING = (
    *("/v1/jobs", BATCHES, "/openai/v1/images/generations", "/replicate/v1/predictions"),
    "/replicate/v1/models/{owner}/{name}/predictions",
)


def create_app(settings: Settings | None = None, *, has_fast_route: bool = True) -> FastAPI:
    """Build the app; without `settings` they are read from the environment.

    Invalid or missing settings end the process with a sentence for each. With `has_fast_route` off,
    `POST /v1/jobs` is served like every other route.
    """
    settings, tracer, storage = _checked(settings)
    app = FastAPI(
        title="Darkroom",
        version=version("darkroom-service"),
        description="Image generation as a service: jobs, batches and webhooks.",
        openapi_url=None,  # one of our own routes serves it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # it would check on every request what the middleware already knows
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan(settings, tracer, storage),
    )
    # flat: an included router would be matched a second time for each request
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    add_handlers(app)
    if has_fast_route:
        create = next(route for route in ROUTES if route.endpoint is jobs.create_job)
        app.add_middleware(FastRoute, route=create, serve=jobs.create_job_fast)
    _add_middleware(app, settings, tracer)
    # as FastAPI documents for apps that change their OpenAPI document
    app.openapi = document_of(app, ROUTES, settings)  # type: ignore[method-assign]
    return app


def _add_middleware(app: FastAPI, settings: Settings, tracer: Tracer) -> None:
    """Add the middleware; the one added last is outermost."""
    prefix = settings.public_prefix
    app.add_middleware(
        RequestMiddleware,
        bodies=BodyLimits(
            settings.max_body_bytes,
            larger={BATCHES: settings.max_batch_bytes},
            held=settings.max_held_bytes,
            held_of_tenant=settings.max_tenant_held_bytes,
        ),
        # the form of problems below the paths of other services' APIs
        dialects={
            "/openai/": openai_problem,
            "/replicate/": partial(replicate_problem, prefix=prefix),
        },
        tracer=tracer,
        cors=Cors(settings.cors_origins),
        prefix=prefix,
    )
    # if a route starts with the prefix, nothing is stripped
    is_own = any(route.path.startswith(f"{prefix}/") for route in ROUTES)
    app.add_middleware(PrefixMiddleware, prefix="" if is_own else prefix)


def begin_metrics() -> None:
    """Create the label sets whose first increment matters: a route's success, and its failures.

    All others appear with their first request, because too many would never be used.
    """
    for route in ROUTES:
        failures = [status for status in route.responses if int(status) >= _FAILED]
        for status in (route.status_code or 200, *failures):
            metrics.HTTP_REQUESTS.labels(route.path_format, min(route.methods or ()), str(status))
    for path in ACCEPTING:
        metrics.HTTP_REQUEST_SECONDS.labels(path)


def _checked(settings: Settings | None) -> tuple[Settings, Tracer, Storage]:
    try:
        checked = settings or load_settings(*S3_KEYS)
        require(checked, *S3_KEYS)
        storage = Storage.from_settings(checked, concurrency=CONNECTIONS)
        tracer = open_tracer(checked, "api")
        _refuse_workers()
    except InvalidSettings as error:
        sys.stderr.write(f"The API cannot start.\n{error}\n")
        # with this exit code, the supervisor of uvicorn does not restart the process
        is_one_of_several = multiprocessing.parent_process() is not None
        sys.exit(STARTUP_FAILURE if is_one_of_several else WRONG_SETTINGS)
    if settings is None:  # a caller that passes settings has set up logging
        logs.configure(checked)
    return checked, tracer, storage


def _refuse_workers() -> None:
    """Raise InvalidSettings in one of several worker processes behind one port.

    Each process counts for itself, so `/metrics` would show another one each time.
    """
    if multiprocessing.parent_process() is not None and "--reload" not in sys.argv:
        raise InvalidSettings(
            "Several workers behind one port (--workers, WEB_CONCURRENCY) cannot be measured: "
            "start one process per port, as many as you need, and put a proxy in front of them."
        )


def _lifespan(
    settings: Settings, tracer: Tracer, storage: Storage
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
            parts = await _open(settings, storage, stack)
            app.state.parts = parts
            # FastAPI would do this at the first request and delay all others
            list(iter_route_contexts(app.routes))
            # loaded modules stay: a full collection would stop the loop for 60 to 90 ms
            gc.freeze()
            loop = asyncio.get_running_loop()
            with on_stop_signal(partial(loop.call_soon_threadsafe, parts.notifications.close)):
                yield

    return lifespan


async def _open(settings: Settings, storage: Storage, stack: AsyncExitStack) -> AppContext:
    """Open the routes' dependencies; Redis may become available later."""
    metrics.begin(settings.models)
    begin_metrics()
    pool = connect_async(settings, connections=_CONNECTIONS)
    stack.push_async_callback(pool.disconnect)
    scripts = build_scripts(settings, build_celery(settings))
    timeout = settings.redis_timeout_seconds
    replicas = Replicas.from_settings(settings)
    committer = await stack.enter_async_context(
        GroupCommitClient(pool, scripts, timeout_seconds=timeout, replicas=replicas)
    )
    batch_finalizer = await stack.enter_async_context(BatchFinalizer(committer))
    redis_monitor = await stack.enter_async_context(
        RedisMonitor(
            pool, committer, ImageUrlSigner(settings.image_url_seconds), settings.model_prices
        )
    )
    notifications = await stack.enter_async_context(
        NotificationHub(pool, block_seconds=min(1.0, timeout / 2))
    )
    stack.callback(storage.close)
    threads = stack.enter_context(ThreadPoolExecutor(READERS, "storage"))
    records = stack.enter_context(_open_history(settings, committer, redis_monitor))
    streamer = ImageStreamer(storage, threads)
    return AppContext(
        settings=settings,
        committer=committer,
        batch_finalizer=batch_finalizer,
        redis_monitor=redis_monitor,
        notifications=notifications,
        keyring=Keyring(committer, AuthThrottle(settings.auth_failures_per_minute)),
        people=People(settings),
        storage=storage,
        images=streamer,
        previews=Previews(streamer, records, committer, max_pixels=settings.image_max_pixels),
        records=records,
    )


@contextmanager
def _open_history(
    settings: Settings, committer: GroupCommitClient, redis_monitor: RedisMonitor
) -> Iterator[Records]:
    """Open the history, if there is one; its database may become available later."""
    database = open_database(settings, connections=HISTORY_READERS)
    with ThreadPoolExecutor(HISTORY_READERS, "history") as threads:
        try:
            yield Records(
                committer,
                _reader(database) if database else None,
                threads,
                redis_monitor.now_ms,
                timeout_seconds=settings.history_timeout_seconds,
            )
        finally:
            if database:
                database.close()


def _reader(database: "Database") -> "HistoryReader":
    from shared.history.reader import HistoryReader  # noqa: PLC0415  SQLAlchemy takes 0.3 s to load

    return HistoryReader(database)
