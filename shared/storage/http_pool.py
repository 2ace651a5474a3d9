"""urllib3 connections that keep the thread's deadline, for the minio client.

urllib3's timeouts limit one read, not the total, and with `block=True` it waits for a free
connection without limit. `shared.net.timeouts` limits both here.
"""

import re
import socket
from functools import partial
from http import HTTPStatus
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.response import BaseHTTPResponse

from shared.net.egress import EgressProxy
from shared.net.sockets import DIRECT, BoundedSocket, Egress, open_socket
from shared.net.timeouts import within

#: The body of an S3 error.
_ERROR = re.compile(rb"\s*(?:<\?xml[^>]*>)?\s*<(?:\w+:)?Error[\s>]")
#: A storage that takes longer to accept a connection counts as unreachable.
CONNECT_SECONDS = 5.0


def _open(connection: HTTPConnection, proxy: EgressProxy | None) -> BoundedSocket:
    timeout = connection.timeout
    try:
        return open_socket(
            connection.host,
            connection.port,
            timeout=timeout if isinstance(timeout, float | int) else None,
            proxy=proxy,
        )
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "no connection in time") from error
    except OSError as error:
        raise NewConnectionError(connection, f"no connection: {error}") from error


class _BoundedConnection(HTTPConnection):
    def __init__(self, host: str, *, egress_proxy: EgressProxy | None, **given: Any) -> None:  # noqa: ANN401
        super().__init__(host, **given)
        self._egress_proxy = egress_proxy

    def _new_conn(self) -> BoundedSocket:
        return _open(self, self._egress_proxy)


class _BoundedTLSConnection(_BoundedConnection, HTTPSConnection):
    pass


def _as_expected(response: BaseHTTPResponse, *, is_read: bool) -> BaseHTTPResponse:
    """Make an error readable for the minio client; `is_read` if the body was read already."""
    if is_read and response.status == HTTPStatus.OK and _ERROR.match(response.data):
        # S3 may notice that a write failed after sending the status
        response.status = HTTPStatus.INTERNAL_SERVER_ERROR
        response.headers["content-type"] = "application/xml"
    # rclone labels its errors text/xml, and the client then finds no code in them
    named = response.headers.get("content-type", "")
    if response.status >= HTTPStatus.BAD_REQUEST and named.startswith("text/xml"):
        response.headers["content-type"] = "application/xml"
    return response


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _BoundedConnection

    def urlopen(self, method: str, url: str, **given: Any) -> BaseHTTPResponse:  # type: ignore[override]  # noqa: ANN401
        """Send one request; waiting for a free connection is limited too."""
        wait: Any = within(None)  # declared as whole seconds; any number works
        answer = super().urlopen(method, url, **given, pool_timeout=wait)
        return _as_expected(answer, is_read=given.get("preload_content", True))


class _BoundedTLSPool(_BoundedPool, HTTPSConnectionPool):
    ConnectionCls = _BoundedTLSConnection


def build_pool(*, concurrency: int, timeout_seconds: float, egress: Egress = DIRECT) -> PoolManager:
    """Build a pool for `concurrency` threads; each socket operation may take `timeout_seconds`.

    No retries and no redirects: the job is retried, not the library call. `egress` has the proxy
    and the certificates.
    """
    manager = PoolManager(
        maxsize=concurrency,
        block=True,
        retries=False,
        timeout=Timeout(connect=min(CONNECT_SECONDS, timeout_seconds), read=timeout_seconds),
        ssl_context=egress.context,
    )
    # what a pool does not know goes to its connections
    pools: Any = {  # declared as classes; anything that builds a pool works
        "http": partial(_BoundedPool, egress_proxy=egress.proxy),
        "https": partial(_BoundedTLSPool, egress_proxy=egress.proxy),
    }
    manager.pool_classes_by_scheme = pools
    return manager
