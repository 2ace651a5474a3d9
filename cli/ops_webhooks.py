"""The commands for the endpoints that get events of the service.

Like those of `cli.tenants`, they connect to Redis directly, with the same exit codes; `test` ends
with 1 unless the endpoint responded with 2xx.
"""

import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import cyclopts

from cli.printing import Json, print_facts, print_table

ops_webhooks = cyclopts.App(help="Manage the webhook endpoints of operators, such as one in Slack.")

_COLUMNS = ("id", "status", "pending", "failures", "format", "description", "url")


@cyclopts.Parameter(name="*")
@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """The settings of an endpoint; those that are not given stay."""

    events: Annotated[
        str | None,
        cyclopts.Parameter(
            help="Events to send, separated by commas, such as provider.held,provider.resumed; "
            "without it, a new endpoint gets all but audit.recorded."
        ),
    ] = None
    description: Annotated[str | None, cyclopts.Parameter(help="What it is for.")] = None
    header: Annotated[
        list[str] | None,
        cyclopts.Parameter(negative="", help="A header to send, as `Name: value`."),
    ] = None
    format: Annotated[
        Literal["standard", "slack"] | None,
        cyclopts.Parameter(
            help="`standard`: signed Standard Webhooks, as for a new endpoint. `slack`: for an "
            "incoming webhook of Slack."
        ),
    ] = None
    enabled: Annotated[
        bool | None, cyclopts.Parameter(help="Whether webhooks are sent to it; if not, they wait.")
    ] = None

    def given(self) -> dict[str, object]:
        """Return the given options, named as in the API."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if self.events is not None:
            given["events"] = [name.strip() for name in self.events.split(",")]
        if self.header is not None:
            given["headers"] = dict(map(_pair, given.pop("header")))
        return given


def _pair(written: str) -> tuple[str, str]:
    """Return the name and the value of a header; a wrong one is not shown: it may be a secret."""
    from cli.admin import USAGE, end  # noqa: PLC0415

    name, colon, value = written.partition(":")
    if not colon:
        end("A --header is written `Name: value`: one has no colon.", USAGE)
    return name.strip(), value.strip()


_UNCHANGED = EndpointOptions()


@ops_webhooks.command
def create(url: str, *, endpoint: EndpointOptions = _UNCHANGED, json: Json = False) -> None:
    """Create an endpoint, or set the given options of the one with this URL.

    The secret that signs its webhooks is shown only when it is created.
    """
    # imported late, here as below, so that other commands start fast
    from cli import operator_endpoints  # noqa: PLC0415

    print_facts(operator_endpoints.create(url, endpoint.given()), json=json)


@ops_webhooks.command(name="list")
def list_endpoints(*, json: Json = False) -> None:
    """List the endpoints, newest first."""
    from cli import operator_endpoints  # noqa: PLC0415

    print_table(operator_endpoints.list_all(), _COLUMNS, json=json)


@ops_webhooks.command
def update(endpoint_id: str, *, endpoint: EndpointOptions = _UNCHANGED, json: Json = False) -> None:
    """Set the given options of an endpoint."""
    from cli import operator_endpoints  # noqa: PLC0415

    print_facts(operator_endpoints.update(endpoint_id, endpoint.given()), json=json)


@ops_webhooks.command
def delete(endpoint_id: str, *, json: Json = False) -> None:
    """Delete an endpoint with its secret and its pending deliveries."""
    from cli import operator_endpoints  # noqa: PLC0415

    print_facts(operator_endpoints.delete(endpoint_id), json=json)


@ops_webhooks.command(name="test")
def send_test(endpoint_id: str, *, json: Json = False) -> None:
    """Send a test event to an endpoint and show its result; this needs a running worker."""
    from cli import operator_endpoints  # noqa: PLC0415

    sent = operator_endpoints.send_test(endpoint_id)
    attempt = sent["attempt"] or {}
    error = attempt.get("error") or {}
    facts = {
        "status": sent["status"],
        "response": attempt.get("status"),
        "error": error.get("message"),
        "answer": attempt.get("answer"),
    }
    print_facts(sent if json else facts, json=json)
    if sent["status"] != "delivered":
        sys.exit(1)


@ops_webhooks.command
def enable(endpoint_id: str, *, json: Json = False) -> None:
    """Enable an endpoint, or retry a failing one at once; its pending deliveries are sent."""
    from cli import operator_endpoints  # noqa: PLC0415

    print_facts(operator_endpoints.enable(endpoint_id), json=json)


@ops_webhooks.command
def rotate(endpoint_id: str, *, json: Json = False) -> None:
    """Create a new secret for an endpoint and show it; the previous one also signs for a day."""
    from cli import operator_endpoints  # noqa: PLC0415

    print_facts(operator_endpoints.rotate(endpoint_id), json=json)
