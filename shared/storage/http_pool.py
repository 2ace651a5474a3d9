"""urllib3's connections, made to keep the thread's deadline: the minio client runs on them.

urllib3 has timeouts a read, none in total, and with `block=True` it waits for a free connection
without any. Both end here with `shared.net.timeouts`.
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
#: A storage that takes longer than this to take a connection is as good as away.
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
    """Let an error look like one to the minio client; `is_read` where the body is there already."""
    if is_read and response.status == HTTPStatus.OK and _ERROR.match(response.data):
        # S3 may find out that a write failed after it has sent the status
        response.status = HTTPStatus.INTERNAL_SERVER_ERROR
        response.headers["content-type"] = "application/xml"
    # rclone calls its errors text/xml, and the client then reads no code out of them
    named = response.headers.get("content-type", "")
    if response.status >= HTTPStatus.BAD_REQUEST and named.startswith("text/xml"):
        response.headers["content-type"] = "application/xml"
    return response


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _BoundedConnection

    def urlopen(self, method: str, url: str, **given: Any) -> BaseHTTPResponse:  # type: ignore[override]  # noqa: ANN401
        """Send one request; waiting for a free connection is bounded too."""
        wait: Any = within(None)  # declared as whole seconds; any number will do
        answer = super().urlopen(method, url, **given, pool_timeout=wait)
        return _as_expected(answer, is_read=given.get("preload_content", True))


class _BoundedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLSConnection

    def urlopen(self, method: str, url: str, **given: Any) -> BaseHTTPResponse:  # type: ignore[override]  # noqa: ANN401
        """Send one request; waiting for a free connection is bounded too."""
        wait: Any = within(None)  # as above
        answer = super().urlopen(method, url, **given, pool_timeout=wait)
        return _as_expected(answer, is_read=given.get("preload_content", True))


def build_pool(
    *, concurrency: int, timeout_seconds: float, tls: ssl.SSLContext | None = None
) -> PoolManager:
    """Build a pool for `concurrency` threads; each socket operation may take `timeout_seconds`.

    No retries and no redirects: trying again is a move of the job, not of a library. `tls` replaces
    the usual certificates.
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
