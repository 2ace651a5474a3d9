"""The HTTP client of 1min.ai: generate an image, look up a record. `responses` reads replies."""

import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import quote

import httpx
import orjson

from shared.errors import (
    DarkroomError,
    JobError,
    ProviderAuth,
    ProviderBusy,
    ProviderDown,
    ProviderTimeout,
    RequestBlocked,
    UnknownOutcome,
)
from shared.jobs import ProviderResult
from shared.net.egress import failure_name
from shared.net.http_client import build_client, decompressed
from shared.net.sockets import Egress
from shared.net.timeouts import deadline, remaining
from shared.settings import Settings
from shared.store.provider_models import ListedModel
from worker.provider.echo import Request
from worker.provider.error_parsing import Reply, excerpt
from worker.provider.responses import Unfinished, read_answer, read_models, read_record

T = TypeVar("T")
#: Far more than any reply seen; a longer one is cut and then unreadable.
REPLY_BYTES_MAX = 1_000_000
POLL_SECONDS = 0.5
#: How long the record of a call may be missing after the reply that named it, as where a look-up
#: reads a replica of the provider's database.
NEW_RECORD_SECONDS = 10.0
#: The pauses before the look-ups of a record that was finished without an image.
LATE_IMAGE_PAUSES_SECONDS = (0.0, 0.5, 1.0, 2.0)
#: The id of a record that never exists: looking it up is free and shows whether a key is valid.
NO_RECORD = "00000000-0000-0000-0000-000000000000"

#: The list of models that generate images; it needs no key.
_MODELS = "/models?feature=IMAGE_GENERATOR"
#: Asks for a response that is not compressed.
_PLAIN = {"Accept-Encoding": "identity"}
#: The characters of a key: visible ASCII.
_SENDABLE = re.compile(r"[!-~]+")

#: What httpx raises before the first byte of a request is sent.
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class Stopped(DarkroomError):
    """The process stops while it waits for a record, which any other process can look up."""


class Provider(Protocol):
    """The provider as jobs need it."""

    def generate(
        self,
        request: Request,
        *,
        key: str,
        on_submitted: Callable[[str], None] | None = None,
    ) -> ProviderResult:
        """Generate an image, which may be billed; see `OneMin.generate`."""
        ...

    def look_up(
        self, record_id: str, *, key: str, request: Request | None = None, wait: bool = True
    ) -> ProviderResult | None:
        """Look up an earlier call, for free; see `OneMin.look_up`."""
        ...

    def check_key(self, key: str) -> None:
        """Check a key, for free; raise ProviderAuth if it is rejected."""
        ...

    def list_models(self) -> list[ListedModel]:
        """List the models that the provider offers; see `OneMin.list_models`."""
        ...


class OneMin:
    """The API of 1min.ai. Thread-safe; each call has its own `key`."""

    def __init__(
        self,
        client: httpx.Client,
        *,
        base_url: str,
        auth_header: str,
        timeout_seconds: float,
        asynchronous: bool = False,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        """Use `client` (of `shared.net.http_client`); a call takes at most `timeout_seconds`.

        `asynchronous` (experimental) submits and polls; `pause` waits between polls, and returns
        True at once if the process stops.
        """
        self._client = client
        self._base_url = base_url
        self._auth_header = auth_header
        self._timeout_seconds = timeout_seconds
        self._asynchronous = asynchronous
        self._pause = pause or threading.Event().wait

    @classmethod
    def from_settings(cls, settings: Settings, stopping: threading.Event | None = None) -> Self:
        """Build the provider of the settings, with a connection for each thread.

        `stopping` is set when the process is asked to stop.
        """
        return cls(
            build_client(
                concurrency=settings.concurrency,
                timeout_seconds=settings.provider_timeout_seconds,
                egress=Egress.from_settings(settings),
            ),
            base_url=settings.onemin_base_url,
            auth_header=settings.onemin_auth_header,
            timeout_seconds=settings.provider_timeout_seconds,
            asynchronous=settings.onemin_async,
            pause=stopping.wait if stopping else None,
        )

    def generate(
        self,
        request: Request,
        *,
        key: str,
        on_submitted: Callable[[str], None] | None = None,
    ) -> ProviderResult:
        """Request one image and wait for it.

        `on_submitted` gets the record's id as soon as the provider works on it: from then on the
        call must be settled by `look_up`, never repeated. Raise a JobError: UnknownOutcome if the
        image may have been generated and billed, ProviderTimeout if the record is still unfinished
        at the time limit. Raise Stopped if the process stops in the meantime.
        """
        with deadline(self._timeout_seconds):
            reply = self._submit(request, key)
            try:
                found = self._read(reply, key, request)
            except ProviderAuth as error:
                if reply.status == httpx.codes.UNAUTHORIZED or not self._accepts(key):
                    raise
                raise _blocked(error) from error
            if isinstance(found, ProviderResult):
                return found
            if on_submitted is not None:
                on_submitted(found.record_id)
            return self._settle(found.record_id, key, request)

    def look_up(
        self, record_id: str, *, key: str, request: Request | None = None, wait: bool = True
    ) -> ProviderResult | None:
        """Look up the result of an earlier call, waiting while the provider still works on it.

        If the record differs from `request`, the answer has warnings. Without `wait`, look only
        once.

        Return None if the provider knows no such record, so nothing was generated, or if it is
        unfinished without `wait`. Raise ProviderRejected, ContentRejected or RecordFailed for a
        failed record, ProviderTimeout for one unfinished at the time limit, ProviderAuth,
        ProviderBusy or ProviderDown if the look-up itself failed, RequestBlocked if the key works
        but may not read this record, Stopped if the process stops in the meantime.
        """
        with deadline(self._timeout_seconds):
            try:
                if wait:
                    return self._follow(record_id, key, request)
                found = self._poll_record(record_id, key, request)
            except ProviderAuth as error:
                if record_id == NO_RECORD or not self._accepts(key):
                    raise
                raise _blocked(error) from error
            return found if isinstance(found, ProviderResult) else None

    def check_key(self, key: str) -> None:
        """Check a key with one request, for free.

        Raise ProviderAuth if it is rejected, ProviderBusy or ProviderDown if that is not known.
        """
        self.look_up(NO_RECORD, key=key, wait=False)

    def list_models(self) -> list[ListedModel]:
        """List the models that the provider offers, without a key; raise ProviderDown."""
        with deadline(self._timeout_seconds):
            try:
                asked = self._client.build_request("GET", self._base_url + _MODELS, headers=_PLAIN)
                reply = self._exchange(asked)
            except httpx.HTTPError as error:
                raise ProviderDown(f"1min.ai cannot be asked ({failure_name(error)}).") from error
        return read_models(reply)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _submit(self, request: Request, key: str) -> Reply:
        body: dict[str, Any] = {
            "type": request.feature,
            "model": request.model,
            "promptObject": dict(request.prompt_object),
        }
        if self._asynchronous:
            body["async"] = True
        sent = self._request("POST", "/api/features", key, content=orjson.dumps(body))
        try:
            return self._exchange(sent)
        except NEVER_SENT as error:
            raise ProviderDown(f"1min.ai cannot be reached ({failure_name(error)}).") from error
        except httpx.HTTPError as error:
            raise UnknownOutcome(
                f"1min.ai did not respond to the request ({failure_name(error)}): "
                "the image may have been made."
            ) from error

    def _read(self, reply: Reply, key: str, request: Request) -> ProviderResult | Unfinished:
        """Read the reply to a request; a record that names no image is looked up, for free."""
        try:
            return _judged(read_answer, reply, key, request)
        except UnknownOutcome as error:
            found = self._find_image(error.record_id, key, request) if error.record_id else None
            if found is None:
                raise
            return found

    def _find_image(
        self, record_id: str, key: str, request: Request
    ) -> ProviderResult | Unfinished | None:
        """Look up a record that may name its image in a moment; return None if it does not."""
        # a stop must not release the job: the call is paid for, and its record is not stored
        with contextlib.suppress(Stopped):
            for seconds in LATE_IMAGE_PAUSES_SECONDS:
                if not self._rest(seconds):
                    break
                with contextlib.suppress(JobError):
                    found = self._poll_record(record_id, key, request)
                    if found is not None:
                        return found
        return None

    def _accepts(self, key: str) -> bool:
        """Return whether a free check shows that the key works.

        A firewall in front of 1min.ai answers 403 to single prompts, a refusal may quote a prompt
        about API keys, and a record may belong to another team. If that took the key out of use,
        one such job would stop all others, again and again until its deadline.
        """
        try:
            self._poll_record(NO_RECORD, key, None)
        except JobError:
            return False
        return True

    def _poll_record(
        self, record_id: str, key: str, request: Request | None
    ) -> ProviderResult | Unfinished | None:
        path = f"/api/results/{quote(record_id, safe='')}"
        try:
            reply = self._exchange(self._request("GET", path, key))
        except httpx.HTTPError as error:
            raise ProviderDown(f"1min.ai cannot be asked ({failure_name(error)}).") from error
        return _judged(read_record, reply, key, request)

    def _settle(self, record_id: str, key: str, request: Request) -> ProviderResult:
        """Follow an accepted call: whatever fails now, an image may have been generated."""
        try:
            answer = self._follow(record_id, key, request, appears_within=NEW_RECORD_SECONDS)
        except (ProviderAuth, ProviderBusy, ProviderDown) as error:
            unknown = UnknownOutcome(f"1min.ai took the request. {error}")
            unknown.evidence = error.evidence
            raise unknown from error
        if answer is None:
            raise _forgotten()
        return answer

    def _follow(
        self, record_id: str, key: str, request: Request | None, *, appears_within: float = 0.0
    ) -> ProviderResult | None:
        """Poll a record until it is finished; one that is missing may appear within some seconds.

        Return None if the provider knows no such record.
        """
        appears_by = time.monotonic() + appears_within
        while True:
            trouble: JobError = ProviderTimeout("1min.ai did not finish the image in time.")
            try:
                found = self._poll_record(record_id, key, request)
            except (ProviderBusy, ProviderDown) as error:
                trouble = error
            else:
                is_awaited = found is None and time.monotonic() < appears_by
                if not is_awaited and not isinstance(found, Unfinished):
                    return found
                trouble = _forgotten() if is_awaited else trouble
            if not self._rest(trouble.retry_after or POLL_SECONDS):
                raise trouble

    def _rest(self, seconds: float) -> bool:
        """Pause between two polls; return False if there is no time left for another."""
        left = remaining() or 0.0
        if left <= seconds:
            return False
        if self._pause(seconds):
            raise Stopped("The worker is stopping; another one can look up the record.")
        return True

    def _request(
        self, method: str, path: str, key: str, *, content: bytes | None = None
    ) -> httpx.Request:
        if not _SENDABLE.fullmatch(key):
            raise ProviderAuth(
                "This API key has characters that no HTTP header can carry. Set it again, as "
                "1min.ai shows it."
            )
        value = f"Bearer {key}" if self._auth_header.lower() == "authorization" else key
        headers = {self._auth_header: value, **_PLAIN}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self._client.build_request(
            method, f"{self._base_url}{path}", headers=headers, content=content
        )

    def _exchange(self, request: httpx.Request) -> Reply:
        response = self._client.send(request, stream=True)
        try:
            body, is_whole = _capped(response)
        finally:
            response.close()
        return Reply(response.status_code, dict(response.headers), body, is_whole)


def _forgotten() -> UnknownOutcome:
    return UnknownOutcome("1min.ai accepted the request but no longer finds its record.")


def _blocked(error: ProviderAuth) -> RequestBlocked:
    blocked = RequestBlocked("1min.ai refuses this request, but accepts the API key.")
    blocked.evidence = error.evidence
    return blocked


def _judged(
    read: Callable[[Reply, Request | None], T], reply: Reply, key: str, request: Request | None
) -> T:
    """Read a reply; its errors carry an excerpt for operators."""
    with contextlib.suppress(JobError):
        return read(reply, request)
    # it may repeat the key, and clients see the messages of refusals and failed records
    masked = replace(reply, body=reply.body.replace(key.encode(), b"***")) if key else reply
    try:
        return read(masked, request)
    except JobError as error:
        error.evidence = excerpt(masked, secret=key)
        raise


def _capped(response: httpx.Response) -> tuple[bytes, bool]:
    """Return the body as far as it comes, and whether the connection brought it to its end.

    The status alone decides most refusals, and a record may be complete before the end. A
    compressed body is read although the request allows none, and one that is only labelled so.
    """
    body, is_whole = bytearray(), True
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > REPLY_BYTES_MAX:
                break
    except httpx.HTTPError:
        is_whole = False
    return decompressed(bytes(body[:REPLY_BYTES_MAX]), most=REPLY_BYTES_MAX), is_whole
