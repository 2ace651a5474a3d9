"""The HTTP API as a FastAPI app; `darkroom api` serves it."""

import asyncio
import gc
import multiprocessing
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE

from api import reference, reference_ops
from api.auth import Keyring
from api.auth_throttle import AuthThrottle
from api.batch_finalizer import BatchFinalizer
from api.bodies import BodyLimits
from api.compat.openai.errors import answer as openai_problem
from api.compat.replicate.errors import answer as replicate_problem
from api.compat.routes import explained
from api.context import AppContext
from api.cors import Cors
from api.image_streaming import READERS, ImageStreamer
from api.long_poll import NotificationHub
from api.middleware import RequestMiddleware
from api.problems import problem_of
from api.redis_monitor import Watch
from api.routes import BATCHES, ROUTES, begin_metrics
from api.routing import allowed
from api.shutdown import on_stop_signal
from shared import logs, metrics
from shared.celery_app import build_celery, build_scripts
from shared.errors import InvalidSettings
from shared.settings import Settings, load_settings, require
from shared.storage.client import Storage
from shared.store.connection import connect_async
from shared.store.durability import Replicas
from shared.store.group_commit import GroupCommitClient
from shared.tracing.spans import Tracer, open_tracer

#: One for the committer, one for the watch, one for the wake reader, and one to spare while a
#: broken one is replaced.
_CONNECTIONS = 8
_METHOD_NOT_ALLOWED = 405
#: The settings that it cannot be without.
_NEEDED = ("s3_access_key", "s3_secret_key")
#: What a process ends with that cannot start as it is set, as every command of ours does.
WRONG_SETTINGS = 2
#: How problems are told under the paths of other services' dialects.
_DIALECTS = {"/openai/": openai_problem, "/replicate/": replicate_problem}


class DarkroomApi(FastAPI):
    """The app. Every request passes the edge, and goes the shortest way to its route."""

    def guard(self, settings: Settings, tracer: Tracer) -> None:
        """Put the edge around everything."""
        self._prefix = settings.public_prefix
        #: what begins a path whose prefix no proxy took away; nothing where a route begins so too
        own = (route.path.startswith(f"{self._prefix}/") for route in ROUTES)
        self._unstripped = "" if any(own) else f"{self._prefix}/"
        self._edge = RequestMiddleware(
            self._dispatch,
            bodies=BodyLimits(
                settings.max_body_bytes,
                larger={BATCHES: settings.max_batch_bytes},
                held=settings.max_held_bytes,
                held_of_tenant=settings.max_tenant_held_bytes,
            ),
            dialects=_DIALECTS,
            tracer=tracer,
            cors=Cors(settings.cors_origins),
            prefix=self._prefix,
        )
        self._short = {
            (method, route.path): route
            for route in ROUTES
            if "{" not in route.path
            for method in route.accepted
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve whatever comes."""
        if scope["type"] == "http":
            scope["app"] = self
            self._strip(scope)
            await self._edge(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _strip(self, scope: Scope) -> None:
        """Take away what stands in front of the path: uvicorn's `--root-path`, or our prefix."""
        if scope.get("root_path"):
            scope["path"] = scope["path"].removeprefix(scope["root_path"])
            scope["root_path"] = ""
        if self._unstripped and scope["path"].startswith(self._unstripped):
            scope["path"] = scope["path"][len(self._prefix) :]

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go straight to a route whose path has no parts to be read, else let the router find it.

        FastAPI's own layers are left out: they catch and close what the edge and `Direct` routes
        catch and close already. So a route that wants dependencies solved would not work here.
        """
        route = self._short.get((scope["method"], scope["path"]))
        if route is None:
            await self._find(scope, receive, send)
        else:
            scope["route"] = route
            scope["path_params"] = {}
            await route.app(scope, receive, send)

    async def _find(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.router(scope, receive, send)
        except HTTPException as error:
            problem = problem_of(error)
            if problem.kind.status == _METHOD_NOT_ALLOWED:
                problem.headers = {"Allow": allowed(self.routes, scope)}
            raise explained(problem, scope["path"]) from error

    def openapi(self) -> dict[str, Any]:
        """Give the OpenAPI document, made once."""
        if self.openapi_schema is None:
            document = reference.complete(super().openapi())
            document["servers"] = [{"url": self._prefix or "/"}]
            self.openapi_schema = reference_ops.complete_ops(document)
        return self.openapi_schema


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the app; without `settings` they are read from the environment.

    A wrong or missing setting ends the process with a sentence for each.
    """
    settings, tracer, storage = _checked(settings)
    app = DarkroomApi(
        title="Darkroom",
        version=version("darkroom-service"),
        description="Image generation as a service: ask once, get the image, whatever happens.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # its own would ask of every request what the edge knows already
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan(settings, tracer, storage),
    )
    app.router.routes.extend(ROUTES)
    app.guard(settings, tracer)
    return app


def _checked(settings: Settings | None) -> tuple[Settings, Tracer, Storage]:
    try:
        checked = settings or load_settings(*_NEEDED)
        require(checked, *_NEEDED)
        storage = Storage.from_settings(checked, concurrency=READERS)
        tracer = open_tracer(checked, "api")
        _refuse_workers()
    except InvalidSettings as error:
        sys.stderr.write(f"The API cannot start.\n{error}\n")
        # by which uvicorn's supervisor of several workers knows that starting again is in vain
        is_one_of_several = multiprocessing.parent_process() is not None
        sys.exit(STARTUP_FAILURE if is_one_of_several else WRONG_SETTINGS)
    if settings is None:  # who brings settings has set up logging too
        logs.configure(checked)
    return checked, tracer, storage


def _refuse_workers() -> None:
    """Raise BadSettings in one of several worker processes behind one port.

    Each counts for itself, and `/metrics` would show those of another one each time.
    """
    if multiprocessing.parent_process() is not None and "--reload" not in sys.argv:
        raise InvalidSettings(
            "Several workers behind one port (--workers, WEB_CONCURRENCY) cannot be measured: "
            "start one process a port, as many as you need, and a proxy before them."
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
            # what is loaded stays: each full collection would stop the loop for 60 to 90 ms
            gc.freeze()
            loop = asyncio.get_running_loop()
            with on_stop_signal(partial(loop.call_soon_threadsafe, parts.notifications.close)):
                yield

    return lifespan


async def _open(settings: Settings, storage: Storage, stack: AsyncExitStack) -> AppContext:
    """Open what the routes work with; Redis may be away and come later."""
    metrics.begin()
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
    redis_monitor = await stack.enter_async_context(Watch(pool, committer))
    notifications = await stack.enter_async_context(
        NotificationHub(pool, block_seconds=min(1.0, timeout / 2))
    )
    stack.callback(storage.close)
    threads = stack.enter_context(ThreadPoolExecutor(READERS, "storage"))
    return AppContext(
        settings=settings,
        committer=committer,
        batch_finalizer=batch_finalizer,
        redis_monitor=redis_monitor,
        notifications=notifications,
        keyring=Keyring(committer, AuthThrottle(settings.auth_failures_per_minute)),
        storage=storage,
        images=ImageStreamer(storage, threads),
    )
