"""The operations of the clients, each a generator of requests; see `darkroom.protocol`."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from typing import Any, Generic
from urllib.parse import quote

from darkroom.errors import AcceptUnknown, Conflict, DarkroomError, NotFound
from darkroom.images import checked
from darkroom.models import (
    FINAL,
    Batch,
    Delivery,
    Endpoint,
    Event,
    I_co,
    ImageFacts,
    Job,
    Model,
    Queue,
    Raw,
    Usage,
    UsageReport,
    from_json,
    job_of,
)
from darkroom.options import job_body, jobs_query, key_header
from darkroom.protocol import Item, Request, Steps, Stream
from darkroom.retries import (
    UNCHANGED,
    RetryPolicy,
    check_deleted,
    content_of,
    json_of,
    lines_of,
    send_with_retries,
)

#: The longest time that the service holds a response.
HELD_SECONDS = 60
PAGE = 200
_ENDPOINTS = "/v1/webhooks/endpoints"
_PAGE_MEMBERS = ("data", "next_cursor")


class Operations(Generic[I_co]):
    """Build requests and parse responses; `bind` makes an image downloadable."""

    def __init__(self, bind: Callable[[ImageFacts], I_co], retry_policy: RetryPolicy) -> None:
        self._bind = bind
        self._retry_policy = retry_policy

    # jobs

    def submit(
        self, prompt: str, options: Mapping[str, Any], *, held_seconds: int = 0
    ) -> Steps[Job[I_co]]:
        """Create a job; the response is held until the job is final, up to a time."""
        prefer = {"Prefer": f"wait={held_seconds}"} if held_seconds else {}
        raw = yield from self._accepted(
            Request(
                "POST",
                "/v1/jobs",
                body=job_body(prompt, options),
                headers={**key_header(options), **prefer},
                held_seconds=held_seconds,
            )
        )
        return self._job(raw)

    def reproduce(self, job_id: str, idempotency_key: str | None) -> Steps[Job[I_co]]:
        """Create a job for the same image: the same input and seed."""
        headers = key_header({"idempotency_key": idempotency_key})
        path = f"{_job_path(job_id)}/reproduce"
        return self._job((yield from self._accepted(Request("POST", path, headers=headers))))

    def get_job(self, job_id: str) -> Steps[Job[I_co]]:
        """Read a job."""
        return self._job((yield from self._read(_job_path(job_id), "id")))

    def cancel_job(self, job_id: str) -> Steps[Job[I_co]]:
        """Cancel a job."""
        return (yield from self._move(job_id, "cancel", done=frozenset({"canceled"})))

    def retry_job(self, job_id: str) -> Steps[Job[I_co]]:
        """Retry a job."""
        return (yield from self._move(job_id, "retry", done=frozenset({"queued", "running"})))

    def delete_job(self, job_id: str) -> Steps[None]:
        """Delete a job and its image."""
        request = Request("DELETE", _job_path(job_id))
        check_deleted((yield from send_with_retries(request, self._retry_policy)))

    def list_jobs(self, wanted: Mapping[str, Any]) -> Stream[Job[I_co]]:
        """Yield the matching jobs, newest first."""
        yield from self._pages("/v1/jobs", jobs_query(wanted), self._job)

    def watch(self, job_id: str, ends_at: float | None = None) -> Stream[Job[I_co]]:
        """Yield a job at once and at each change, until it is final or the time is over.

        `ends_at` is in monotonic seconds. The service holds each response until there is a change.
        """
        etag, left = "", float(HELD_SECONDS)
        while True:
            answer = yield from send_with_retries(
                self._held(job_id, etag, left), self._retry_policy
            )
            if answer.status != UNCHANGED:
                job = self._job(json_of(answer, "id"))
                etag = answer.headers.get("etag", "")
                yield Item(job)
                if job.is_final:
                    return
            if ends_at is not None:
                left = ends_at - answer.at
                if left <= 0:
                    return

    def image_bytes(self, image: ImageFacts, *, preview: bool) -> Steps[bytes]:
        """Download an image, and verify that the bytes are the stored ones; or its preview."""
        query = {"size": "preview"} if preview else {}
        request = Request("GET", f"{_job_path(image.job_id)}/image", query)
        answer = yield from send_with_retries(request, self._retry_policy)
        return content_of(answer, "image/") if preview else checked(image, answer.content)

    # batches

    def create_batch(self, body: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[Batch]:
        """Create a batch."""
        chosen = {name: value for name, value in options.items() if value is not None}
        chosen.pop("idempotency_key", None)
        request = Request(
            "POST", "/v1/batches", body={**chosen, **body}, headers=key_header(options)
        )
        return from_json(Batch, (yield from self._accepted(request)))

    def get_batch(self, batch_id: str) -> Steps[Batch]:
        """Read a batch."""
        return from_json(Batch, (yield from self._read(_batch_path(batch_id), "id")))

    def list_batches(self) -> Stream[Batch]:
        """Yield the batches, newest first."""
        yield from self._pages("/v1/batches", {}, lambda raw: from_json(Batch, raw))

    def cancel_batch(self, batch_id: str) -> Steps[Batch]:
        """Cancel the jobs of a batch that are not final."""
        path = f"{_batch_path(batch_id)}/cancel"
        answer = yield from send_with_retries(Request("POST", path), self._retry_policy)
        return from_json(Batch, json_of(answer, "id"))

    def manifest(self, batch_id: str) -> Steps[list[Raw]]:
        """Read requests and results, a line for each stored job, in order."""
        path = f"{_batch_path(batch_id)}/manifest"
        answer = yield from send_with_retries(Request("GET", path), self._retry_policy)
        return lines_of(answer, "id")

    def results(self, batch_id: str, only: Callable[[Raw], bool] | None) -> Stream[Job[I_co]]:
        """Yield the jobs of a batch as they become final, starting with those that are.

        `only` selects jobs by their line of the manifest. One request waits for changes of all of
        them; each job is read once.
        """
        # the cursor of the feed is read first, so that no change in between is missed
        cursor = (yield from self._feed("now", held_seconds=0))["next_cursor"]
        lines = yield from self.manifest(batch_id)
        pending = {line["id"]: line["status"] for line in lines if not only or only(line)}
        ready = [job_id for job_id, status in pending.items() if status in FINAL]
        while pending:
            for job_id in ready:
                if pending.pop(job_id, None) is not None:
                    yield Item((yield from self.get_job(job_id)))
            if pending:
                page = yield from self._feed(cursor, held_seconds=HELD_SECONDS)
                cursor = page["next_cursor"]
                ready = [event["job_id"] for event in page["data"] if event.get("status") in FINAL]

    # other resources

    def models(self) -> Steps[list[Model]]:
        """Read the offered models."""
        raw = yield from self._read("/v1/models", "data")
        return [from_json(Model, model) for model in raw["data"]]

    def usage(self, days: int) -> Steps[Usage]:
        """Read the limits, and what is used and left of them."""
        return from_json(
            Usage, (yield from self._read("/v1/usage", "limits", query={"days": days}))
        )

    def usage_report(self, wanted: Mapping[str, str]) -> Steps[UsageReport]:
        """Read the usage of some days, grouped."""
        members = ("from", "to", "group_by", "data", "total")
        raw = yield from self._read("/v1/usage", *members, query=wanted)
        first, last = date.fromisoformat(raw["from"]), date.fromisoformat(raw["to"])
        return from_json(UsageReport, raw, first=first, last=last)

    def usage_csv(self, wanted: Mapping[str, str]) -> Steps[str]:
        """Read the same as CSV."""
        request = Request("GET", "/v1/usage", wanted, headers={"Accept": "text/csv"})
        answer = yield from send_with_retries(request, self._retry_policy)
        return content_of(answer, "text/csv").decode()

    def events(self, after: str | None, *, follow: bool) -> Stream[Event]:
        """Yield the changes of the feed, forever with `follow`."""
        while True:
            page = yield from self._feed(after, held_seconds=HELD_SECONDS if follow else 0)
            for event in page["data"]:
                yield Item(from_json(Event, event))
            if not page["data"] and not follow:
                return
            after = page["next_cursor"]

    def deliveries(self, wanted: Mapping[str, Any]) -> Stream[Delivery]:
        """Yield the deliveries, newest first."""
        path = "/v1/webhooks/deliveries"
        yield from self._pages(path, wanted, lambda raw: from_json(Delivery, raw))

    def delivery(self, delivery_id: str) -> Steps[Delivery]:
        """Read a delivery with its attempts."""
        return from_json(Delivery, (yield from self._read(_delivery_path(delivery_id), "id")))

    def redeliver(self, delivery_id: str) -> Steps[Delivery]:
        """Send a delivery again."""
        path = f"{_delivery_path(delivery_id)}/redeliver"
        return from_json(Delivery, (yield from self._posted(path)))

    def endpoints(self) -> Stream[Endpoint]:
        """Yield the endpoints, newest first."""
        yield from self._pages(_ENDPOINTS, {}, lambda raw: from_json(Endpoint, raw))

    def create_endpoint(self, url: str, options: Mapping[str, Any]) -> Steps[Endpoint]:
        """Create an endpoint, or set options of an existing one."""
        return from_json(Endpoint, (yield from self.post(_ENDPOINTS, {"url": url, **options})))

    def get_endpoint(self, endpoint_id: str) -> Steps[Endpoint]:
        """Read an endpoint."""
        return from_json(Endpoint, (yield from self._read(_endpoint_path(endpoint_id), "id")))

    def update_endpoint(self, endpoint_id: str, options: Mapping[str, Any]) -> Steps[Endpoint]:
        """Set options of an endpoint."""
        request = Request("PATCH", _endpoint_path(endpoint_id), body=options)
        answer = yield from send_with_retries(request, self._retry_policy)
        return from_json(Endpoint, json_of(answer, "id"))

    def delete_endpoint(self, endpoint_id: str) -> Steps[None]:
        """Delete an endpoint with its pending deliveries."""
        request = Request("DELETE", _endpoint_path(endpoint_id))
        check_deleted((yield from send_with_retries(request, self._retry_policy)))

    def test_endpoint(self, endpoint_id: str) -> Steps[Raw]:
        """Send a signed test event to an endpoint."""
        path = f"{_endpoint_path(endpoint_id)}/test"
        request = Request("POST", path, held_seconds=HELD_SECONDS)
        return json_of((yield from send_with_retries(request, self._retry_policy)))

    def enable_endpoint(self, endpoint_id: str) -> Steps[Endpoint]:
        """Enable an endpoint; its pending deliveries are sent."""
        path = f"{_endpoint_path(endpoint_id)}/enable"
        return from_json(Endpoint, (yield from self._posted(path)))

    def rotate_secret(self, endpoint_id: str) -> Steps[Raw]:
        """Create a new secret for an endpoint; do not repeat a request whose response was lost."""
        path = f"{_endpoint_path(endpoint_id)}/secret/rotate"
        request = Request("POST", path, idempotent=False)  # each one would create another secret
        return json_of((yield from send_with_retries(request, self._retry_policy)))

    def post(self, path: str, body: Any, *, held_seconds: float = 0) -> Steps[Raw]:  # noqa: ANN401
        """Send a request that is safe to repeat, and read the response."""
        request = Request("POST", path, body=body, held_seconds=held_seconds)
        return json_of((yield from send_with_retries(request, self._retry_policy)))

    def queues(self) -> Steps[list[Queue]]:
        """Read the state of the queues, with an operator key."""
        raw = yield from self._read("/ops/v1/queues", "data")
        return [from_json(Queue, queue) for queue in raw["data"]]

    def hold_queue(self, name: str, verb: str) -> Steps[Queue]:
        """Pause or resume a queue, with an operator key."""
        path = f"/ops/v1/queues/{_step(name)}/{verb}"
        return from_json(Queue, (yield from self._posted(path)))

    # helpers

    def _job(self, raw: Raw) -> Job[I_co]:
        return job_of(raw, self._bind)

    def _read(self, path: str, *members: str, query: Mapping[str, Any] | None = None) -> Steps[Raw]:
        """Read an object that has at least these members."""
        request = Request("GET", path, query or {})
        return json_of((yield from send_with_retries(request, self._retry_policy)), *members)

    def _accepted(self, request: Request) -> Steps[Raw]:
        """Create something with its idempotency key.

        If the service does not know whether it did, read the resource: if it exists it was
        accepted, and if not the same request is sent with the same key.
        """
        unknown = False
        try:
            for _ in range(self._retry_policy.retries):
                try:
                    answer = yield from send_with_retries(request, self._retry_policy)
                    return json_of(answer, "id")
                except AcceptUnknown as error:
                    unknown, made, pause = True, error.made, error.retry_after or 0.0
                poll = Request("GET", made, after_seconds=pause)
                with suppress(NotFound):
                    answer = yield from send_with_retries(poll, self._retry_policy)
                    return json_of(answer, "id")
            return json_of((yield from send_with_retries(request, self._retry_policy)), "id")
        except DarkroomError as error:
            error.outcome_unknown = error.outcome_unknown or unknown
            raise

    def _posted(self, path: str) -> Steps[Raw]:
        """Apply a change that is safe to repeat, and read the result."""
        return json_of((yield from send_with_retries(Request("POST", path), self._retry_policy)))

    def _move(self, job_id: str, verb: str, *, done: frozenset[str]) -> Steps[Job[I_co]]:
        """Change a job; ignore a refusal if the job is already in that state (perhaps by us)."""
        try:
            request = Request("POST", f"{_job_path(job_id)}/{verb}")
            answer = yield from send_with_retries(request, self._retry_policy)
        except Conflict:
            job = yield from self.get_job(job_id)
            if job.status in done:
                return job
            raise
        return self._job(json_of(answer, "id"))

    def _held(self, job_id: str, etag: str, left: float) -> Request:
        seconds = max(1, min(HELD_SECONDS, int(left)))
        query = {"wait": seconds} if etag else {}
        headers = {"If-None-Match": etag} if etag else {}
        return Request("GET", _job_path(job_id), query, headers=headers, held_seconds=seconds)

    def _feed(self, after: str | None, *, held_seconds: int) -> Steps[Raw]:
        query = {"after": after, "wait": held_seconds or None, "limit": 1000}
        request = Request("GET", "/v1/events", _without_none(query), held_seconds=held_seconds)
        return json_of((yield from send_with_retries(request, self._retry_policy)), *_PAGE_MEMBERS)

    def _pages(
        self, path: str, wanted: Mapping[str, Any], read: Callable[[Raw], Any]
    ) -> Stream[Any]:
        """Yield the entries of a list, page after page."""
        query = {"limit": PAGE, **_without_none(wanted)}
        while True:
            page = yield from self._read(path, *_PAGE_MEMBERS, query=query)
            for raw in page["data"]:
                yield Item(read(raw))
            if not page["next_cursor"]:
                return
            query["cursor"] = page["next_cursor"]


def _without_none(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _job_path(job_id: str) -> str:
    return f"/v1/jobs/{_step(job_id)}"


def _batch_path(batch_id: str) -> str:
    return f"/v1/batches/{_step(batch_id)}"


def _delivery_path(delivery_id: str) -> str:
    return f"/v1/webhooks/deliveries/{_step(delivery_id)}"


def _endpoint_path(endpoint_id: str) -> str:
    return f"{_ENDPOINTS}/{_step(endpoint_id)}"


def _step(text: str) -> str:
    """Encode an id as a path segment; raise NotFound for one that would lead to another path.

    One that is not Unicode is the id of nothing, and stays so.
    """
    if text in {"", ".", ".."} or "/" in text:
        raise NotFound(f"{text!r} is not an id. Ids are like job_01m8…: copy the whole id.")
    return quote(text, safe="", errors="replace")
