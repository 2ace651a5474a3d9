"""`darkroom webhooks`: deliveries and endpoints."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from darkroom.commands.connection import HERE, Limit, Where
from darkroom.commands.exits import DONE, FAILED
from darkroom.commands.output import show_facts, show_json, show_line, show_rows
from darkroom.errors import UsageError
from darkroom.options import EndpointOptions

webhooks = App(name="webhooks", help="Inspect webhook deliveries and endpoints, and redeliver.")

endpoints = App(name="endpoints", help="Manage the endpoints that webhooks are sent to.")
webhooks.command(endpoints)

_ENDPOINTS = ("id", "status", "pending", "parked", "failures", "has_own_secret", "events", "url")
_COLUMNS = ("id", "type", "status", "attempt", "next_attempt_at", "url")


Header = Annotated[
    list[str] | None, Parameter(help="A header to send, as `Name: value`; may be repeated.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class EndpointFlags:
    """The settings of a standing endpoint; those that are not given stay."""

    events: Annotated[
        str | None,
        Parameter(
            help="Events to send, separated by commas, such as job.succeeded,batch.completed."
        ),
    ] = None
    description: Annotated[str | None, Parameter(help="What it is for.")] = None
    header: Header = None
    payload: Annotated[Literal["full", "slim"] | None, Parameter(help="What to send of a job.")] = (
        None
    )
    enabled: Annotated[
        bool | None, Parameter(help="Whether webhooks are sent; those of a disabled endpoint wait.")
    ] = None

    def options(self) -> EndpointOptions:
        """Return what is given, named as in EndpointOptions."""
        given: Any = {name: value for name, value in asdict(self).items() if value is not None}
        if self.events is not None:
            given["events"] = [name.strip() for name in self.events.split(",")]
        if self.header is not None:
            given["headers"] = dict(map(_pair, given.pop("header")))
        options: EndpointOptions = given
        return options


UNCHANGED = EndpointFlags()


@webhooks.command(name="list")
def list_deliveries(
    *,
    job: str | None = None,
    status: Annotated[
        str | None, Parameter(help="pending, sending, parked, delivered, failed, superseded")
    ] = None,
    limit: Limit = 50,
    where: Where = HERE,
) -> int:
    """List deliveries, newest first."""
    with where.client() as client:
        found = client.webhooks.list(job_id=job, status=status)
        rows = [delivery.raw for delivery in islice(found, limit)]
    show_rows(rows, _COLUMNS, as_json=where.json)
    return DONE


@webhooks.command
def show(delivery_id: str, *, where: Where = HERE) -> int:
    """Show a delivery with its attempts."""
    with where.client() as client:
        delivery = client.webhooks.get(delivery_id).raw
    if where.json:
        show_json(delivery)
        return DONE
    separate = {"attempts", "last_attempt"}
    show_facts({name: of for name, of in delivery.items() if name not in separate}, as_json=False)
    attempts = map(_attempt_row, delivery["attempts"])
    show_line("")
    show_rows(attempts, ("attempt", "at", "seconds", "status", "why"), as_json=False)
    return DONE


def _attempt_row(attempt: Mapping[str, Any]) -> dict[str, Any]:
    reason = attempt["error"]["message"] if attempt["error"] else ""
    return {**attempt, "attempt": attempt["number"], "why": reason}


@webhooks.command
def redeliver(
    delivery_id: str | None = None,
    *,
    since: Annotated[
        str | None,
        Parameter(help="Redeliver all that failed since a time such as 2027-01-31T12:00:00Z."),
    ] = None,
    where: Where = HERE,
) -> int:
    """Send one delivery again, or everything that failed since a time."""
    with where.client() as client:
        if delivery_id and not since:
            show_facts(client.webhooks.redeliver(delivery_id).raw, as_json=where.json)
        elif since and not delivery_id:
            show_facts(client.webhooks.redeliver_since(since), as_json=where.json)
        else:
            raise UsageError("Give either one delivery or --since.")
    return DONE


@webhooks.command(name="test")
def send_test(
    receiver_url: str,
    /,
    *,
    slim: Annotated[bool, Parameter(negative="", help="Send the payload `slim`.")] = False,
    header: Header = None,
    where: Where = HERE,
) -> int:
    """Send a signed test event to RECEIVER_URL; show the request and its result.

    Exit with 1 unless the endpoint responded with 2xx.
    """
    headers = dict(_pair(written) for written in header or ())
    body = {"url": receiver_url, "payload": "slim" if slim else "full", "headers": headers}
    with where.client() as client:
        return _show_test(client.webhooks.test(body), as_json=where.json)


def _show_test(raw: Mapping[str, Any], *, as_json: bool) -> int:
    """Show a test event; return the exit code."""
    if as_json:
        show_json(raw)
    else:
        show_line("\n".join(_history_lines(raw)))
    return DONE if raw["status"] == "delivered" else FAILED


@endpoints.command(name="list")
def list_endpoints(*, limit: Limit = 50, where: Where = HERE) -> int:
    """List endpoints, newest first."""
    with where.client() as client:
        rows = [endpoint.raw for endpoint in islice(client.webhooks.endpoints.list(), limit)]
    show_rows(rows, _ENDPOINTS, as_json=where.json)
    return DONE


@endpoints.command(name="create")
def create_endpoint(
    endpoint_url: str,
    /,
    *,
    endpoint: EndpointFlags = UNCHANGED,
    where: Where = HERE,
) -> int:
    """Create a standing endpoint, or set the given options of one that exists.

    It gets the events of --events, of all jobs and batches that name no webhook of their own.
    Without --events, it gets only the webhooks of jobs that name its URL.
    """
    with where.client() as client:
        made = client.webhooks.endpoints.create(endpoint_url, **endpoint.options())
    show_facts(made.raw, as_json=where.json)
    return DONE


@endpoints.command(name="update")
def update_endpoint(
    endpoint_id: str,
    *,
    endpoint: EndpointFlags = UNCHANGED,
    where: Where = HERE,
) -> int:
    """Set the given options of an endpoint."""
    with where.client() as client:
        changed = client.webhooks.endpoints.update(endpoint_id, **endpoint.options())
    show_facts(changed.raw, as_json=where.json)
    return DONE


@endpoints.command(name="delete")
def delete_endpoint(endpoint_id: str, *, where: Where = HERE) -> int:
    """Delete an endpoint with its secret and its pending deliveries."""
    with where.client() as client:
        client.webhooks.endpoints.delete(endpoint_id)
    return DONE


@endpoints.command(name="test")
def send_test_to(endpoint_id: str, *, where: Where = HERE) -> int:
    """Send a signed test event to an endpoint, with its headers; show the request and its result.

    Exit with 1 unless the endpoint responded with 2xx.
    """
    with where.client() as client:
        return _show_test(client.webhooks.endpoints.test(endpoint_id), as_json=where.json)


@endpoints.command
def enable(endpoint_id: str, *, where: Where = HERE) -> int:
    """Enable an endpoint, or retry a failing one at once; pending deliveries are sent."""
    with where.client() as client:
        show_facts(client.webhooks.endpoints.enable(endpoint_id).raw, as_json=where.json)
    return DONE


@endpoints.command
def rotate(endpoint_id: str, *, where: Where = HERE) -> int:
    """Create a new secret for an endpoint and show it; the previous one also signs for a day."""
    with where.client() as client:
        show_facts(client.webhooks.endpoints.rotate(endpoint_id), as_json=where.json)
    return DONE


def _pair(written: str) -> tuple[str, str]:
    name, colon, value = written.partition(":")
    if not colon:
        raise UsageError("A --header is written `Name: value`: one has no colon.")
    return name.strip(), value.strip()


def _history_lines(raw: Mapping[str, Any]) -> Iterator[str]:
    """Format the request as sent, and the response."""
    request, attempt = raw["request"], raw["attempt"]
    if request is None or attempt is None:
        yield f"{raw['id']} was not sent yet: check that a worker runs (`darkroom worker deliver`)."
        return
    yield f"{request['method']} {request['url']}"
    yield from (f"{name}: {value}" for name, value in request["headers"].items())
    yield f"\n{request['body']}\n"
    error = attempt["error"]
    outcome = attempt["status"] or error["code"]
    yield f"{raw['status']}: {outcome} after {attempt['seconds']:.3f} s"
    if error:
        yield error["message"]
    if attempt["answer"]:
        yield attempt["answer"]
