"""Fetching a picture from the provider's `temporaryUrl`, which is an outsider's word.

Only allowed hosts, never an address inside, bounded in bytes and in total time.
"""

from typing import Self

import httpx

from shared.errors import (
    AddressForbidden,
    FetchFailed,
    ImageExpired,
    ImageInvalid,
    ImageTooLarge,
    JobError,
)
from shared.net.addresses import AddressGuard, names_host
from shared.net.deadline import deadline
from shared.net.outbound import build_client
from shared.settings import Settings

GONE = frozenset({403, 404, 410})
_DEFAULT_PORTS = {"https": 443, "http": 80}


class Downloader:
    """Fetches pictures. Safe for threads."""

    def __init__(
        self,
        client: httpx.Client,
        *,
        allowed_hosts: tuple[str, ...],
        allow_private: tuple[str, ...],
        timeout_seconds: float,
        max_bytes: int,
    ) -> None:
        """Use `client`, whose guard knows `allow_private` too; those hosts need not speak TLS.

        Entries of both lists are read by `names_host`; `timeout_seconds` is the total of a fetch.
        """
        self._client = client
        self._allowed_hosts = allowed_hosts
        self._allow_private = allow_private
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the downloader that the settings describe, with a connection for each thread."""
        return cls(
            build_client(
                concurrency=settings.concurrency,
                timeout_seconds=settings.download_timeout_seconds,
                guard=AddressGuard(settings.onemin_allow_private_hosts),
            ),
            allowed_hosts=settings.onemin_image_hosts,
            allow_private=settings.onemin_allow_private_hosts,
            timeout_seconds=settings.download_timeout_seconds,
            max_bytes=settings.image_max_bytes,
        )

    def fetch(self, url: str) -> bytes:
        """Give the bytes behind `url`, whatever they are.

        Raises ImageInvalid for an address that is not fetched from, ImageExpired where it is no
        longer served, ImageTooLarge, and FetchFailed for all that may go better the next time.
        """
        address = self._permitted(url)
        try:
            with deadline(self._timeout_seconds):
                return self._read(address)
        except AddressForbidden as error:
            raise ImageInvalid(f"The picture is not fetched from there: {error}") from error
        except httpx.HTTPError as error:
            # the class and never the text, which may hold the address with its signature
            raise FetchFailed(
                f"The picture did not come over whole ({type(error).__name__})."
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _permitted(self, url: str) -> httpx.URL:
        try:
            address = httpx.URL(url)
            # as in DNS and in the settings, xn--; the other form is read to see that it is one
            host = address.host and address.raw_host.decode("ascii")
        except (httpx.InvalidURL, UnicodeError) as error:  # the latter is idna's
            raise ImageInvalid("The provider's address of the picture is not one.") from error
        port = address.port or _DEFAULT_PORTS.get(address.scheme)
        if port is None or not host or address.userinfo:
            raise ImageInvalid("The provider's address of the picture is not a plain web address.")
        if not names_host(self._allowed_hosts, host, port):
            raise ImageInvalid(
                f"The provider's address of the picture is at {host[:100]}:{port}, "
                "which DARKROOM_ONEMIN_IMAGE_HOSTS does not allow."
            )
        if address.scheme != "https" and not names_host(self._allow_private, host, port):
            raise ImageInvalid("The provider's address of the picture is not https.")
        return address

    def _read(self, address: httpx.URL) -> bytes:
        # a bomb in a few compressed bytes cannot be sent to who takes no compression
        request = self._client.build_request(
            "GET", address, headers={"Accept": "image/*", "Accept-Encoding": "identity"}
        )
        response = self._client.send(request, stream=True)
        try:
            fault = self._fault(response)
            if fault is not None:
                raise fault
            return self._capped(response)
        finally:
            response.close()

    def _fault(self, response: httpx.Response) -> JobError | None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        length = response.headers.get("content-length", "")
        if response.status_code in GONE:
            return ImageExpired("The provider's address of the picture is no longer served.")
        if response.status_code != httpx.codes.OK:
            return FetchFailed(f"The picture's host answered with status {response.status_code}.")
        if encoding not in {"", "identity"}:
            return FetchFailed("The picture came compressed, though that was not asked for.")
        if response.headers.get("content-type", "").lower().startswith("text/html"):
            return FetchFailed("A web page came in place of the picture.")
        if length.isdigit() and int(length) > self._max_bytes:
            return self._too_large()
        return None

    def _capped(self, response: httpx.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            chunks.append(chunk)
        if not size:
            raise FetchFailed("Nothing came in place of the picture.")
        return b"".join(chunks)

    def _too_large(self) -> ImageTooLarge:
        return ImageTooLarge(f"The picture is larger than {self._max_bytes:,} bytes.")
