"""urllib3 connections that keep the thread's deadline, for the minio client.

urllib3's timeouts limit one read, not the total, and with `block=True` it waits for a free
connection without limit. `shared.net.timeouts` limits both here.
"""

import re
import socket
import ssl
from http import HTTPStatus
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.response import BaseHTTPResponse

from shared.net.sockets import BoundedSocket, open_socket, tls_context
from shared.net.timeouts import within

#: The body of an S3 error.
_ERROR = re.compile(rb"\s*(?:<\?xml[^>]*>)?\s*<(?:\w+:)?Error[\s>]")
#: A storage that takes longer to accept a connection counts as unreachable.
CONNECT_SECONDS = 5.0


def _open(connection: HTTPConnection) -> BoundedSocket:
    timeout = connection.timeout
    try:
        return open_socket(
            connection.host,
            connection.port,
            timeout=timeout if isinstance(timeout, float | int) else None,
        )
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "no connection in time") from error
    except OSError as error:
        raise NewConnectionError(connection, f"no connection: {error}") from error


class _BoundedConnection(HTTPConnection):
    def _new_conn(self) -> BoundedSocket:
        return _open(self)


class _BoundedTLSConnection(HTTPSConnection):
    def _new_conn(self) -> BoundedSocket:
        return _open(self)


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


class _BoundedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLSConnection

    def urlopen(self, method: str, url: str, **given: Any) -> BaseHTTPResponse:  # type: ignore[override]  # noqa: ANN401
        """Send one request; waiting for a free connection is limited too."""
        wait: Any = within(None)  # as above
        answer = super().urlopen(method, url, **given, pool_timeout=wait)
        return _as_expected(answer, is_read=given.get("preload_content", True))


def build_pool(
    *, concurrency: int, timeout_seconds: float, tls: ssl.SSLContext | None = None
) -> PoolManager:
    """Build a pool for `concurrency` threads; each socket operation may take `timeout_seconds`.

    No retries and no redirects: the job is retried, not the library call. `tls` replaces the
    default certificates.
    """
    manager = PoolManager(
        maxsize=concurrency,
        block=True,
        retries=False,
        timeout=Timeout(connect=min(CONNECT_SECONDS, timeout_seconds), read=timeout_seconds),
        ssl_context=tls or tls_context(),
    )
    manager.pool_classes_by_scheme = {"http": _BoundedPool, "https": _BoundedTLSPool}
    return manager
