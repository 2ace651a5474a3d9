"""Credentials that AWS, or an S3 server with a token service, gives to a process for a time.

The minio client's providers fetch them; this module decides which one applies and when to fetch
again. They renew ten seconds before the end, in each thread for itself, and a failed renewal fails
the request: here one thread renews early, and the others go on with what is still valid.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from minio.credentials.credentials import Credentials
from minio.credentials.providers import (
    AWSConfigProvider,
    EnvAWSProvider,
    IamAwsProvider,
    Provider,
)
from urllib3 import PoolManager

from shared.errors import StorageDown
from shared.net.egress import failure_name
from shared.net.sockets import Egress
from shared.settings import inherited_environment
from shared.storage.http_pool import build_pool

#: The client does not use credentials this long before they expire.
_UNUSED_SECONDS = 10.0
#: A source that takes longer to answer gives none.
_TIMEOUT_SECONDS = 5.0
#: Where EC2, ECS and EKS serve credentials to the machine itself: no proxy leads there.
_METADATA_HOSTS = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254")

#: Builds a provider that has fetched nothing yet.
NewProvider: TypeAlias = Callable[[], Provider]


@dataclass(frozen=True, slots=True)
class Renewal:
    """When credentials are fetched again.

    They are renewed `early_seconds` before they expire, or in the last `early_share` of a shorter
    life: AWS has new ones five minutes before the end (IMDS, "Retrieve security credentials").
    After a failed renewal, the next attempt waits `retry_seconds`.
    """

    early_seconds: float = 300.0
    early_share: float = 0.25
    retry_seconds: float = 5.0

    def seconds_until(self, credentials: Credentials) -> float:
        """Return the seconds until new credentials are renewed."""
        if credentials.expiration is None:
            return math.inf
        # the client keeps the time in UTC without a zone
        expires = credentials.expiration.replace(tzinfo=UTC)
        left = (expires - datetime.now(UTC)).total_seconds()
        early = max(min(self.early_seconds, left * self.early_share), _UNUSED_SECONDS)
        return max(left - early, 0)


#: The renewal that fits the lifetimes of AWS credentials.
RENEWAL = Renewal()


def temporary_credentials(egress: Egress, renewal: Renewal = RENEWAL) -> "RenewedCredentials":
    """Return the credentials that the environment of the process leads to; fetch nothing yet."""
    proxy = egress.proxy and replace(
        egress.proxy, direct_hosts=(*egress.proxy.direct_hosts, *_METADATA_HOSTS)
    )
    pool = build_pool(
        concurrency=1, timeout_seconds=_TIMEOUT_SECONDS, egress=replace(egress, proxy=proxy)
    )
    return RenewedCredentials(*_source(pool), renewal)


def _source(pool: PoolManager) -> tuple[str, NewProvider]:
    """Return where the environment of the process says that credentials are, and their provider.

    In the order of AWS's own clients: variables, a web identity (also of Kubernetes' service
    accounts), a credentials file, the role of the container (ECS, EKS), that of the instance.
    """
    environment = inherited_environment()
    if environment.get("AWS_ACCESS_KEY_ID"):
        return "AWS_ACCESS_KEY_ID", EnvAWSProvider
    if environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        endpoint = environment.get("AWS_ENDPOINT_URL_STS")
        return "the web identity", lambda: IamAwsProvider(
            custom_endpoint=endpoint, http_client=pool
        )
    file = environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    if _is_file(file):
        return file, AWSConfigProvider
    if any(
        environment.get(f"AWS_CONTAINER_CREDENTIALS_{kind}_URI") for kind in ("RELATIVE", "FULL")
    ):
        return "the container's role", lambda: IamAwsProvider(http_client=pool)
    endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    return "the instance's role", lambda: IamAwsProvider(custom_endpoint=endpoint, http_client=pool)


def _is_file(path: str) -> bool:
    try:
        return Path(path).expanduser().is_file()
    except RuntimeError:  # ~ has no home
        return False


class RenewedCredentials(Provider):
    """Credentials that are fetched when they are needed, and again before they expire.

    Thread-safe.
    """

    def __init__(self, source: str, new_provider: NewProvider, renewal: Renewal = RENEWAL) -> None:
        """Fetch by a new provider each time; messages name the `source`."""
        self._source = source
        self._new_provider = new_provider
        self._renewal = renewal
        self._lock = threading.Lock()
        self._current: Credentials | None = None
        self._failure = ""
        #: when they may be fetched next, and were fetched last, on the monotonic clock
        self._renew_at = 0.0
        self._fetched_at = 0.0

    def retrieve(self) -> Credentials:
        """Return valid credentials; raise StorageDown if there are none."""
        current = self._valid()
        if current and (time.monotonic() < self._renew_at or self._lock.locked()):
            return current
        with self._lock:
            current = self._valid()
            if time.monotonic() >= self._renew_at:  # no other thread has renewed them
                current = self._fetch() or current
            if current is None:
                raise StorageDown(f"There are no S3 credentials. {self._failure}")
            return current

    def discard(self) -> None:
        """Fetch others for the next request, because the storage refuses these."""
        with self._lock:
            if time.monotonic() >= self._fetched_at + self._renewal.retry_seconds:
                self._current = None
                self._renew_at = 0.0

    def _valid(self) -> Credentials | None:
        current = self._current
        return current if current and not current.is_expired() else None

    def _fetch(self) -> Credentials | None:
        """Fetch and keep credentials; None if that fails, and the reason is kept."""
        self._fetched_at = time.monotonic()
        try:
            fetched = self._new_provider().retrieve()
        except Exception as error:  # noqa: BLE001  many kinds, for files and replies of any form
            # the text may quote the file, or a URL with a token
            reason = failure_name(error)
            self._failure = f"{self._source[0].upper()}{self._source[1:]} gives none ({reason})."
            self._renew_at = self._fetched_at + self._renewal.retry_seconds
            return None
        self._current = fetched
        self._renew_at = self._fetched_at + self._renewal.seconds_until(fetched)
        return fetched
