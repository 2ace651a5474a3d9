"""Download images from the provider's `temporaryUrl`, which is not trusted.

Only allowed hosts, no private addresses, with limits on bytes and total time.
"""

import contextlib
import re
from typing import Self

import httpx

from shared.errors import (
    AddressForbidden,
    FetchFailed,
    ImageExpired,
    ImageHostDown,
    ImageHostForbidden,
    ImageInvalid,
    ImageTooLarge,
    JobError,
)
from shared.image_files import begins_as_image, is_cut
from shared.net.egress import failure_name
from shared.net.http_client import build_client, decompressed
from shared.net.sockets import Egress
from shared.net.ssrf import AddressGuard, host_matches
from shared.net.timeouts import deadline
from shared.settings import Settings
from worker.provider.error_parsing import requested_wait

GONE = frozenset({403, 404, 410})
#: Statuses with which some storages refuse an expired URL, and how the code in their body says so.
_PERHAPS_EXPIRED = frozenset({400, 401})
_EXPIRED = re.compile(rb'(?:<code>|"code"\s*:\s*")[^<"]*expired', re.IGNORECASE)
#: How much of a refusal is read for its code.
_REFUSAL_BYTES = 2000
#: How web pages, and errors in XML or JSON, begin; no image does.
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*[<{]")
#: 203: a proxy of the network passes the image on.
_SERVED = frozenset({httpx.codes.OK, httpx.codes.NON_AUTHORITATIVE_INFORMATION})
_DEFAULT_PORTS = {"https": 443, "http": 80}
#: The longest wait that a host may ask for, in seconds, before new calls continue.
_RETRY_AFTER_MAX_SECONDS = 45.0


class Downloader:
    """Downloads images. Thread-safe."""

    def __init__(
        self,
        client: httpx.Client,
        *,
        allowed_hosts: tuple[str, ...],
        allow_private: tuple[str, ...],
        timeout_seconds: float,
        max_bytes: int,
    ) -> None:
        """Use `client`, whose guard also knows `allow_private`; those hosts may lack TLS.

        `host_matches` reads the entries of both lists; `timeout_seconds` is the total of a
        download.
        """
        self._client = client
        self._allowed_hosts = allowed_hosts
        self._allow_private = allow_private
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the downloader of the settings, with a connection for each thread."""
        return cls(
            build_client(
                concurrency=settings.concurrency,
                timeout_seconds=settings.download_timeout_seconds,
                guard=AddressGuard(settings.onemin_allow_private_hosts),
                egress=Egress.from_settings(settings),
            ),
            allowed_hosts=settings.onemin_image_hosts,
            allow_private=settings.onemin_allow_private_hosts,
            timeout_seconds=settings.download_timeout_seconds,
            max_bytes=settings.image_max_bytes,
        )

    def fetch(self, url: str) -> bytes:
        """Return the bytes at `url`, whatever they are.

        Raise ImageHostForbidden for a host that the settings do not allow, ImageHostDown if it is
        unreachable or returns something other than an image, ImageExpired if it does not serve this
        URL, ImageInvalid for an invalid URL, ImageTooLarge, and FetchFailed if a retry may succeed.
        """
        address = self._permitted(url)
        try:
            with deadline(self._timeout_seconds):
                data = self._read(address)
        except AddressForbidden as error:
            raise ImageHostForbidden(
                f"Images are not fetched from {_host_of(address)}: {error}", host=_host_of(address)
            ) from error
        except httpx.TimeoutException as error:
            raise _away(address, error) from error
        except httpx.HTTPError as error:
            # the class and never the text, which may contain the URL with its signature
            raise FetchFailed(
                f"The download of the image was incomplete ({type(error).__name__})."
            ) from error
        if not data or _PAGE.match(data[:100]):
            raise _no_image("a web page or an error" if data else "nothing", _host_of(address))
        return data

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _permitted(self, url: str) -> httpx.URL:
        try:
            address = httpx.URL("".join(url.split()))
            # in the form of DNS and the settings, xn--; converted back to check it
            host = address.host and address.raw_host.decode("ascii")
        except (httpx.InvalidURL, UnicodeError) as error:  # the latter is idna's
            raise ImageInvalid("The provider returned an invalid URL for the image.") from error
        port = address.port or _DEFAULT_PORTS.get(address.scheme)
        if port is None or not host:
            raise ImageInvalid("The provider returned an image URL that is not http or https.")
        if address.userinfo:
            raise ImageHostForbidden(
                f"The URL of the image, at {_host_of(address)}, has a user name in it. Images are "
                "fetched without one.",
                host=_host_of(address),
            )
        if not host_matches(self._allowed_hosts, host, port):
            raise ImageHostForbidden(
                f"The image is at {_host_of(address)}, which DARKROOM_ONEMIN_IMAGE_HOSTS does not "
                "allow. Add this host to the setting and restart the workers.",
                host=_host_of(address),
            )
        if address.scheme != "https" and not host_matches(self._allow_private, host, port):
            raise ImageHostForbidden(
                f"The URL of the image, at {_host_of(address)}, is not https. Only hosts in "
                "DARKROOM_ONEMIN_ALLOW_PRIVATE_HOSTS may be used without TLS.",
                host=_host_of(address),
            )
        return address

    def _read(self, address: httpx.URL) -> bytes:
        # what comes compressed anyway is expanded up to the limit of bytes
        request = self._client.build_request(
            "GET", address, headers={"Accept": "image/*", "Accept-Encoding": "identity"}
        )
        try:
            response = self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise _away(address, error) from error
        try:
            fault = self._fault(response, _host_of(address))
            if fault is not None:
                raise fault
            data = self._capped(response)
        finally:
            response.close()
        encoding = response.headers.get("content-encoding", "").strip().lower()
        return data if encoding in {"", "identity"} else self._plain(data)

    def _fault(self, response: httpx.Response, host: str) -> JobError | None:
        if response.status_code not in _SERVED:
            return _refusal(response, host)
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._max_bytes:
            return self._too_large()
        return None

    def _capped(self, response: httpx.Response) -> bytes:
        """Return the body; a complete image also if the host announced more than it sends."""
        chunks: list[bytes] = []
        size = 0
        try:
            for chunk in response.iter_raw():
                size += len(chunk)
                if size > self._max_bytes:
                    raise self._too_large()
                chunks.append(chunk)
        except httpx.HTTPError:
            data = b"".join(chunks)
            if not begins_as_image(data) or is_cut(data):
                raise
            return data
        return b"".join(chunks)

    def _plain(self, data: bytes) -> bytes:
        """Return the image in a response that is labelled as compressed, rightly or wrongly."""
        if begins_as_image(data):
            return data
        data = decompressed(data, most=self._max_bytes)
        if not begins_as_image(data):
            raise FetchFailed(
                "The image host compressed its response, which the request does not allow."
            )
        return data

    def _too_large(self) -> ImageTooLarge:
        return ImageTooLarge(f"The image is larger than {self._max_bytes:,} bytes.")


def _refusal(response: httpx.Response, host: str) -> JobError:
    """Return the error for a status other than 200."""
    status = response.status_code
    if status in GONE or (status in _PERHAPS_EXPIRED and _EXPIRED.search(_beginning(response))):
        return ImageExpired(f"The URL of the image is not served (status {status}).")
    if response.has_redirect_location:
        return FetchFailed(f"The host of the image answered with a redirect (status {status}).")
    return ImageHostDown(
        f"The host of the image, {host}, answered with status {status}.",
        host=host,
        retry_after=requested_wait(response.headers, most=_RETRY_AFTER_MAX_SECONDS),
    )


def _beginning(response: httpx.Response) -> bytes:
    """Return the beginning of a refusal's body, as far as it comes."""
    body = b""
    with contextlib.suppress(httpx.HTTPError):
        for chunk in response.iter_raw():
            body += chunk
            if len(body) >= _REFUSAL_BYTES:
                break
    return body[:_REFUSAL_BYTES]


def _no_image(what: str, host: str) -> ImageHostDown:
    return ImageHostDown(
        f"The host of the image, {host}, sent {what} instead of the image.", host=host
    )


def _away(address: httpx.URL, error: httpx.HTTPError) -> ImageHostDown:
    """Return the error for no response, with the class only: the text may contain the URL."""
    return ImageHostDown(
        f"The host of the image, {_host_of(address)}, cannot be reached or is too slow "
        f"({failure_name(error)}).",
        host=_host_of(address),
    )


def _host_of(address: httpx.URL) -> str:
    """Return the host, cut, with its port if it is not the default of https."""
    port = "" if address.port is None else f":{address.port}"
    return f"{address.host[:100]}{port}"
