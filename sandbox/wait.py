"""Wait for conditions with a deadline, instead of sleeping."""

import http.client
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from shared.errors import DarkroomError

#: Seconds between two checks.
PAUSE_SECONDS = 0.01
#: The time limit of one check, in seconds.
POLL_INTERVAL_SECONDS = 1.0


class WaitTimeout(DarkroomError):
    """The condition did not become true before the deadline."""


def wait_until(
    fact: Callable[[], bool], what: str, *, seconds: float = 30.0, pause: float = PAUSE_SECONDS
) -> None:
    """Check `fact` until it is true; raise WaitTimeout with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise WaitTimeout(f"This did not happen within {seconds:g} s: {what}.")
        time.sleep(pause)


def wait_for_port(port: int, *, seconds: float = 30.0) -> None:
    """Wait until something listens on 127.0.0.1:`port`."""
    wait_until(lambda: listens(port), f"a server on port {port}", seconds=seconds)


def wait_for_redis(port: int, *, seconds: float = 30.0) -> None:
    """Wait until the Redis on 127.0.0.1:`port` has loaded its data and replies to PING."""
    wait_until(lambda: answers_ping(port), f"Redis on port {port}", seconds=seconds)


def wait_for_http(url: str, *, status: int | None = None, seconds: float = 30.0) -> None:
    """Wait until `url` responds: with `status`, or at all if none is given."""
    wait_until(lambda: answers_http(url, status), f"an answer of {url}", seconds=seconds)


def listens(port: int) -> bool:
    """Return whether something accepts connections on 127.0.0.1:`port`."""
    try:
        with socket.create_connection(("127.0.0.1", port), POLL_INTERVAL_SECONDS):
            return True
    except OSError:
        return False


def answers_ping(port: int) -> bool:
    """Return whether the Redis on 127.0.0.1:`port` is ready; while it loads data it is not."""
    try:
        with socket.create_connection(("127.0.0.1", port), POLL_INTERVAL_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64) == b"+PONG\r\n"
    except OSError:
        return False


def answers_http(url: str, status: int | None = None) -> bool:
    """Return whether `url` (http only) responds with `status`, or at all if none is given."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=POLL_INTERVAL_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        answered = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status is None or answered == status
