"""`darkroom api` and `darkroom worker`: the processes of the service, with the flags they need."""

import os
from typing import Annotated, Literal

from cyclopts import Parameter


def api(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    forwarded_allow_ips: Annotated[str | None, Parameter(name="--forwarded-allow-ips")] = None,
) -> None:
    """Run the HTTP API until Ctrl-C or SIGTERM, with the settings in the DARKROOM_… variables.

    Parameters
    ----------
    host
        The address to listen on; the default is reachable from this machine only.
    port
        The port to listen on.
    forwarded_allow_ips
        Proxies whose X-Forwarded-For header is trusted: addresses separated by commas, or `*`.

    """
    from shared.start_commands import api_command  # noqa: PLC0415  not needed for `--help`

    proxies = {"forwarded_allow_ips": forwarded_allow_ips} if forwarded_allow_ips else {}
    _become(api_command(host=host, port=port, **proxies))


def worker(
    queue: Literal["generate", "deliver"],
    /,
    *,
    threads: int | None = None,
    name: str = "",
) -> None:
    """Run a Celery worker until Ctrl-C or SIGTERM, with the settings in the DARKROOM_… variables.

    Parameters
    ----------
    queue
        `generate` makes images, `deliver` sends webhooks.
    threads
        Jobs or deliveries in progress at once; without it, DARKROOM_CONCURRENCY.
    name
        What the worker is called in the console; without it, the name of the queue.

    """
    from shared.start_commands import worker_command  # noqa: PLC0415  not needed for `--help`

    _become(worker_command(queue, name=name, threads=threads))


def _become(command: list[str]) -> None:
    """Replace this process: signals and the exit code are those of uvicorn and Celery."""
    os.execv(command[0], command)  # noqa: S606  no shell is wanted
