"""Each operator event is caused by its fault on a running service, sent once, and ended once."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Any

import httpx
import pytest

from sandbox.wait import wait_until
from shared.operator_events import ENDS, OperatorEvent
from shared.store import keys
from tests.support.background import in_background
from tests.support.cluster import Api, Cluster, fleet
from tests.support.store import World
from tests.support.tls import TLS
from tests.support.webhook_receiver import WebhookReceiver, receiver

pytestmark = pytest.mark.xdist_group("operator-events")

SETTINGS: Mapping[str, object] = {
    "onemin_api_key": "key-1111,key-2222-2222",
    "notify_after_seconds": 1,
    "queue_delayed_seconds": 12,
    "models_check_seconds": 1,
}
THREADS = 4
ASK_EVERY_SECONDS = 0.5
#: A worker checks rejected keys every 15 s, and a team without credits every 30 s.
LONGEST_SECONDS = 100


@dataclass
class Stack:
    """A service with a tenant that asks for images, and two endpoints of operators."""

    here: Cluster
    api: Api
    world: World
    http: httpx.Client
    ops: httpx.Client
    standard: WebhookReceiver
    slack: WebhookReceiver
    secret: str
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, **fields: Any) -> None:
        wanted = {"prompt": f"Image {next(self.numbers)}", "megapixels": "0.25"}
        self.http.post("/v1/jobs", json={"input": wanted, **fields}).raise_for_status()

    def events(self) -> list[dict[str, Any]]:
        """Return the bodies of all webhooks, each verified as a receiver would."""
        return [one.verify(self.secret) for one in self.standard.received]

    def is_quiet(self) -> bool:
        return not self.world.client.exists(keys.episodes())


Fault = Callable[[Stack], AbstractContextManager[None]]


def answering(**step: object) -> Fault:
    """Return the fault that the provider answers every call like this."""

    @contextmanager
    def fault(stack: Stack) -> Iterator[None]:
        stack.here.provider.behave(default={"fault": "status", **step})
        yield
        stack.here.provider.behave()

    return fault


@contextmanager
def keys_rejected(stack: Stack) -> Iterator[None]:
    stack.here.provider.good_keys(["another"])
    yield
    stack.here.provider.good_keys(None)


@contextmanager
def image_host_away(stack: Stack) -> Iterator[None]:
    stack.here.provider.images(state="refuse")
    yield
    stack.here.provider.images()


@contextmanager
def storage_away(stack: Stack) -> Iterator[None]:
    stack.here.s3.child.kill()
    yield
    stack.here.s3.start()


@contextmanager
def backlog(stack: Stack) -> Iterator[None]:
    stack.here.provider.behave(latency_seconds=4)
    for _ in range(5 * THREADS):
        stack.ask()
    yield
    stack.here.provider.behave()


@contextmanager
def endpoint_gone(stack: Stack) -> Iterator[None]:
    with receiver() as gone:
        gone.status = 410
        stack.ask(webhook={"url": gone.url, "events": ["job.succeeded"]})
        yield
        gone.status = 200
        (found,) = stack.http.get("/v1/webhooks/endpoints").json()["data"]
        path = f"/v1/webhooks/endpoints/{found['id']}/enable"
        stack.http.post(path).raise_for_status()


@contextmanager
def model_removed(stack: Stack) -> Iterator[None]:
    """Remove a model that nobody asks for, so that only the list shows it."""
    stack.here.provider.models(removed=["gpt-image-1-mini"])
    yield
    stack.here.provider.models()


@dataclass(frozen=True)
class Case:
    """A fault, and the events that begin because of it, with members of their data."""

    fault: Fault
    begins: Sequence[tuple[OperatorEvent, Mapping[str, object]]]


HELD = OperatorEvent.PROVIDER_HELD
CASES = {
    "endpoint": Case(endpoint_gone, [(OperatorEvent.ENDPOINT_DISABLED, {"reason": "gone"})]),
    "storage": Case(storage_away, [(OperatorEvent.STORAGE_UNAVAILABLE, {})]),
    "circuit": Case(answering(status=500), [(HELD, {"reason": "provider_down"})]),
    "rate": Case(answering(status=429, retry_after=2), [(HELD, {"reason": "provider_rate"})]),
    "credits": Case(answering(status=406), [(HELD, {"reason": "provider_credits"})]),
    "keys": Case(
        keys_rejected,
        [
            (HELD, {"reason": "provider_auth"}),
            (OperatorEvent.PROVIDER_KEY_FAILED, {"key": "…2222"}),
        ],
    ),
    "image host": Case(image_host_away, [(HELD, {"reason": "image_host"})]),
    "queue": Case(backlog, [(OperatorEvent.QUEUE_DELAYED, {"queue": "generate"})]),
    "model": Case(
        model_removed,
        [(OperatorEvent.MODEL_REMOVED, {"model": "gpt-image-1-mini", "reason": "not listed"})],
    ),
}
#: The others are slow together, and wait for checks and probes for up to 30 seconds each.
QUICK = {"endpoint", "storage", "keys"}


def asked(stack: Stack) -> AbstractContextManager[None]:
    """Ask for an image now and then, whatever comes of it."""

    def ask(stop: Event) -> None:
        while not stop.wait(ASK_EVERY_SECONDS):
            with suppress(httpx.HTTPError):
                stack.ask()

    return in_background(ask)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with (
        fleet(tmp_path_factory.mktemp("operator") / "fleet") as here,
        receiver() as standard,
        receiver() as slack,
    ):
        here.changes.update(SETTINGS)
        api = here.api()
        here.worker("generate", threads=THREADS)
        here.worker("deliver", threads=THREADS)
        world = World(here.redis.url)
        headers = {"Authorization": f"Bearer {here.keys.ops_key}"}
        with (
            here.client(api.url) as http,
            httpx.Client(base_url=api.url, headers=headers, timeout=30, verify=TLS) as ops,
        ):
            path = "/ops/v1/webhooks/endpoints"
            made = ops.post(path, json={"url": standard.url}).raise_for_status().json()
            ops.post(path, json={"url": slack.url, "format": "slack"}).raise_for_status()
            yield Stack(here, api, world, http, ops, standard, slack, made["secret"])
        world.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_a_fault_is_notified_once_and_so_is_its_end(stack: Stack, name: str) -> None:
    case = CASES[name]
    for one in (stack.standard, stack.slack):
        one.received.clear()

    def is_sent(event: OperatorEvent, data: Mapping[str, object]) -> bool:
        sent = [one["data"] for one in stack.events() if one["type"] == event]
        return any(data.items() <= one.items() for one in sent)

    def wait_for(events: Mapping[OperatorEvent, OperatorEvent] | None) -> None:
        """Wait for what begins, or for what `events` name as its end."""
        for event, data in case.begins:
            kind = events[event] if events else event
            what = f"{kind} {data}"
            wait_until(partial(is_sent, kind, data), what, seconds=LONGEST_SECONDS)

    with asked(stack):
        with case.fault(stack):
            wait_for(None)
        wait_for(ENDS)
    wait_until(stack.is_quiet, "the end of all episodes", seconds=LONGEST_SECONDS)

    def both_have_all() -> bool:
        return len(stack.slack.received) == len(stack.standard.received)

    wait_until(both_have_all, "the channel to get as much")
    # each once: those of the same type and subject are the two ends of one episode
    found = [(one["type"], one["data"]["began_at"], str(one["data"])) for one in stack.events()]
    assert len(set(found)) == len(found)
    texts = [one.json["text"] for one in stack.slack.received]
    for event, _ in case.begins:
        assert any(text.startswith(f"*{event}* ") for text in texts)
        assert any(text.startswith(f"*{ENDS[event]}* ") for text in texts)


def test_every_event_has_a_fault() -> None:
    assert {event for case in CASES.values() for event, _ in case.begins} == {*ENDS}
