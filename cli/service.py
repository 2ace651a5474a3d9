"""`darkroom api` and `darkroom worker`: the processes of the service, with the flags they need."""

import os
import socket
import ssl
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import ResolvedExistingFile, UInt16
from cyclopts.validators import Number

#: The same as in `darkroom.commands.exits`, which the service does not import.
_USAGE = 2


def _proxies(_: object, value: str | None) -> None:
    """Raise ValueError for anything but `*` or addresses and networks."""
    for part in (value or "*").split(","):
        if part.strip() != "*":
            ip_network(part.strip())


def _plain(_: object, value: str) -> None:
    """Raise ValueError for a name that Celery would interpret differently."""
    if not all(one.isascii() and (one.isalnum() or one in "-_.") for one in value):
        raise ValueError("must have only letters, digits, hyphens, underscores and dots")


def api(
    *,
    host: str = "127.0.0.1",
    port: UInt16 = 8000,
    forwarded_allow_ips: Annotated[str | None, Parameter(validator=_proxies)] = None,
    ssl_certfile: ResolvedExistingFile | None = None,
    ssl_keyfile: ResolvedExistingFile | None = None,
) -> None:
    """Run the HTTP API until Ctrl-C or SIGTERM, with the settings in the DARKROOM_… variables.

    Parameters
    ----------
    host
        The address to listen on; the default is reachable from this machine only.
    port
        The port to listen on.
    forwarded_allow_ips
        Proxies whose X-Forwarded-For header is trusted: addresses or networks, separated by
        commas, or `*`; without it, FORWARDED_ALLOW_IPS.
    ssl_certfile
        PEM file of a certificate and its chain: the API then serves HTTPS only. It is read at the
        start.
    ssl_keyfile
        PEM file of the certificate's key, without a password.

    """
    from shared.start_commands import api_command  # noqa: PLC0415  not needed for `--help`

    _check_free(host, port)
    options = {
        "forwarded_allow_ips": forwarded_allow_ips,
        **_checked_tls(ssl_certfile, ssl_keyfile),
    }
    given = {name: value for name, value in options.items() if value}
    _become(api_command(host=host, port=port, **given))


def worker(
    queue: Literal["generate", "deliver"] = "generate",
    *,
    threads: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1000))] = None,
    name: Annotated[str, Parameter(validator=_plain)] = "",
) -> None:
    """Run a Celery worker until Ctrl-C or SIGTERM, with the settings in the DARKROOM_… variables.

    Parameters
    ----------
    queue
        `generate` makes images, `deliver` sends webhooks.
    threads
        Jobs or deliveries in progress at once; without it, DARKROOM_CONCURRENCY.
    name
        What Celery calls the worker in its log; without it, the name of the queue.

    """
    from shared.start_commands import worker_command  # noqa: PLC0415  not needed for `--help`

    _become(worker_command(queue, name=name, threads=threads))


def _checked_tls(certificate: Path | None, key: Path | None) -> dict[str, str]:
    """Return uvicorn's options for TLS; exit if the files are not a certificate and its key."""
    if certificate is None and key is None:
        return {}
    why = _tls_fault(certificate, key) if certificate and key else "one of the two is missing"
    if why:
        sys.stderr.write(
            f"The API cannot serve HTTPS with --ssl-certfile and --ssl-keyfile: {why}.\n"
        )
        sys.exit(_USAGE)
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


def _tls_fault(certificate: Path, key: Path) -> str | None:
    """Return why these are not the files of a certificate and its key; None if they are."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # without a password, the library would ask for one on the terminal
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        return f"they are not a certificate and its key ({error.reason or 'not PEM'})"
    except OSError as error:
        return error.strerror
    return None


def _check_free(host: str, port: int) -> None:
    """Exit if the address is in use: uvicorn would only log it, and exit with 3."""
    try:
        found = socket.getaddrinfo(
            host or " ", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(found[0][0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[0][4])
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        sys.stderr.write(f"The API cannot listen on {host or '--host'} port {port}: {why}.\n")
        sys.exit(_USAGE)


def _become(command: list[str]) -> None:
    """Replace this process, so that signals and the exit code are those of uvicorn and Celery."""
    os.execv(command[0], command)  # noqa: S606  no shell is wanted
