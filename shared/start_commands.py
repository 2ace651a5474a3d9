"""The command lines of the service's processes, with all flags they need."""

import sys
from collections.abc import Mapping

#: How many seconds the API waits for running requests when it stops.
API_GRACE_SECONDS = 5


def api_command(**options: str | int) -> list[str]:
    """Return the command of an API process; `options` are further ones of uvicorn (`port=8000`).

    `api.server` adds limits on headers, idle connections and slow bodies that uvicorn lacks. The
    API logs its requests itself.
    """
    given = {
        "http": "api.server:LimitedHttpProtocol",
        "timeout-graceful-shutdown": API_GRACE_SECONDS,
        **{name.replace("_", "-"): value for name, value in options.items()},
    }
    return _python("uvicorn", "--factory", "api.main:create_app", "--no-access-log", *_flags(given))


def worker_command(
    queue: str, *, name: str = "", threads: int | None = None, app: str = "worker.app"
) -> list[str]:
    """Return the command of a worker process for one queue.

    Without `threads`, the setting `concurrency` applies, which the Celery app has. Workers exchange
    no messages: everything they need to know is in Redis.
    """
    flags = {"pool": "threads", "queues": queue, "hostname": f"{name or queue}@%h"}
    count = {} if threads is None else {"concurrency": threads}
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING")
    return _python("celery", "--quiet", "-A", app, "worker", *_flags({**flags, **count}), *quiet)


def _flags(options: Mapping[str, str | int]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
