"""Standing endpoints of several tenants under load: each gets each event of its tenant once."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.wait import wait_until
from shared.store import keys
from tests.support.cluster import Cluster, fleet
from tests.support.store import World
from tests.support.tls import TLS
from tests.support.webhook_receiver import WebhookReceiver, receiver

pytestmark = pytest.mark.xdist_group("standing-endpoints")

ENDPOINTS = "/v1/webhooks/endpoints"
ENDS = ["job.succeeded", "job.failed", "job.canceled"]
#: What the first two endpoints of a tenant are subscribed to; the others get the ends of jobs.
SUBSCRIPTIONS = (["job.started"], [*ENDS, "batch.completed"])
#: One job of so many has a webhook of its own.
OWN_EVERY = 10
THREADS = 16
#: Webhooks a second that even a busy machine delivers.
SLOWEST = 50

#: Where a webhook arrived, the job or batch that it is about, and its type.
Arrival = tuple[str, str, str]


@dataclass(frozen=True)
class Tenant:
    """A tenant and its standing endpoints, which are paths of one receiver; the last is deleted."""

    name: str
    http: httpx.Client
    inbox: WebhookReceiver
    subscriptions: Sequence[Sequence[str]]
    ids: Sequence[str]

    def create(self, count: int) -> str:
        """Create a batch of which some jobs have a webhook of their own; return its id."""
        own = {"webhook": {"url": f"{self.inbox.url}/own", "events": ENDS}}
        asked = {"prompt": "A pier", "megapixels": "0.25"}
        jobs = [{"input": asked, **(own if n % OWN_EVERY == 0 else {})} for n in range(count)]
        made = self.http.post("/v1/batches", json={"jobs": jobs}).raise_for_status()
        return str(made.json()["id"])

    def wait_until_complete(self, batch_id: str, *, seconds: float) -> None:
        path = f"/v1/batches/{batch_id}"
        wait_until(lambda: bool(self.http.get(path).json()["completed_at"]), path, seconds=seconds)

    @property
    def last(self) -> str:
        return f"{ENDPOINTS}/{self.ids[-1]}"

    @property
    def last_path(self) -> str:
        return f"/hook/{len(self.ids) - 1}"

    def wait_for_last(self, *, pending: bool) -> None:
        """Wait until the last endpoint got a webhook, or has one pending."""

        def has() -> bool:
            if pending:
                return bool(self.http.get(self.last).json()["pending"])
            return bool(self.arrivals(self.last_path))

        wait_until(has, "a webhook for the last endpoint", seconds=300)

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Read all jobs."""
        cursor: dict[str, str] = {}
        while True:
            page = self.http.get("/v1/jobs", params={"limit": 200, **cursor}).json()
            yield from page["data"]
            if not page["next_cursor"]:
                return
            cursor = {"cursor": page["next_cursor"]}

    def arrivals(self, path: str = "") -> Counter[Arrival]:
        """Count what arrived at a path, or at all."""
        bodies = ((one.path, one.json) for one in list(self.inbox.received))
        found = ((where, body["data"]["id"], body["type"]) for where, body in bodies)
        return Counter(one for one in found if path in {"", one[0]})

    def expected(self, batches: Sequence[str]) -> set[Arrival]:
        """Return what must arrive at all endpoints but the last."""
        found = {
            (f"/hook/{number}", batch_id, "batch.completed")
            for number, events in enumerate(self.subscriptions[:-1])
            for batch_id in batches
            if "batch.completed" in events
        }
        for job in self.jobs():
            happened = {"job.started", f"job.{job['status']}"}
            targets = (
                {"/hook/own": ENDS}
                if job["webhook"]
                else {f"/hook/{n}": events for n, events in enumerate(self.subscriptions[:-1])}
            )
            found |= {
                (path, job["id"], kind)
                for path, events in targets.items()
                for kind in happened.intersection(events)
            }
        return found


@dataclass(frozen=True)
class Stack:
    """A service whose tenants are made on demand."""

    here: Cluster
    url: str
    world: World
    operator: httpx.Client
    exits: ExitStack

    def client(self, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        made = httpx.Client(base_url=self.url, headers=headers, timeout=60, verify=TLS)
        return self.exits.enter_context(made)

    def tenant(self, number: int, endpoints: int) -> Tenant:
        """Make a tenant with so many standing endpoints."""
        name = f"tenant-{number}"
        self.operator.post("/ops/v1/tenants", json={"name": name}).raise_for_status()
        made = self.operator.post(f"/ops/v1/tenants/{name}/keys", json={}).raise_for_status()
        http = self.client(made.json()["key"])
        inbox = self.exits.enter_context(receiver(host_of(number)))
        subscriptions = [*SUBSCRIPTIONS, *[ENDS] * endpoints][:endpoints]
        bodies = [
            {"url": f"{inbox.url}/{n}", "events": events} for n, events in enumerate(subscriptions)
        ]
        found = [http.post(ENDPOINTS, json=body).raise_for_status().json()["id"] for body in bodies]
        return Tenant(name, http, inbox, subscriptions, found)

    def pause(self, action: str = "pause") -> None:
        self.operator.post(f"/ops/v1/queues/deliver/{action}").raise_for_status()

    def in_flight(self) -> int:
        return int(self.world.client.zcard(keys.queue_leases("deliveries")))

    def pending(self) -> int:
        return int(self.world.client.hget(keys.counts(), "webhook_pending") or 0)


def host_of(tenant: int) -> str:
    """Return the host of a tenant's receiver: deliveries are shared out by host."""
    return f"127.0.2.{tenant + 1}"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with fleet(tmp_path / "fleet") as here, ExitStack() as exits:
        here.changes["webhook_allow_hosts"] = ",".join(map(host_of, range(9)))
        api = here.api()
        for queue in ("generate", "generate", "deliver"):
            here.worker(queue, threads=THREADS)
        world = exits.enter_context(closing(World(here.redis.url)))
        headers = {"Authorization": f"Bearer {here.keys.ops_key}"}
        operator = httpx.Client(base_url=api.url, headers=headers, timeout=60, verify=TLS)
        yield Stack(here, api.url, world, exits.enter_context(operator), exits)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("tenants", "endpoints", "jobs"),
    [(2, 5, 200), pytest.param(5, 10, 10_000, marks=pytest.mark.long)],
)
def test_each_event_arrives_once_and_a_deleted_endpoint_loses_what_is_pending_alone(
    stack: Stack, capsys: pytest.CaptureFixture[str], tenants: int, endpoints: int, jobs: int
) -> None:
    # given: a first half, of which each endpoint got something
    began = time.monotonic()
    all_tenants = [stack.tenant(number, endpoints) for number in range(tenants)]
    half = jobs // tenants // 2
    batches = {one.name: [one.create(half)] for one in all_tenants}
    for one in all_tenants:
        one.wait_for_last(pending=False)
    # and a second one, of whose events each endpoint has to get some
    stack.pause()
    wait_until(lambda: stack.in_flight() == 0, "the end of all attempts", seconds=60)
    for one in all_tenants:
        batches[one.name].append(one.create(half))
        one.wait_for_last(pending=True)
    # when
    before = {one.name: one.arrivals(one.last_path) for one in all_tenants}
    for one in all_tenants:
        assert one.http.delete(one.last).status_code == 204
    stack.pause("resume")
    # then
    seconds = 60 + jobs * endpoints / SLOWEST
    for one in all_tenants:
        for batch_id in batches[one.name]:
            one.wait_until_complete(batch_id, seconds=seconds)
    wait_until(lambda: stack.pending() == 0, "no pending webhook", seconds=seconds)
    took, delivered = time.monotonic() - began, 0
    for one in all_tenants:
        arrived = one.arrivals()
        assert one.arrivals(one.last_path) == before[one.name]
        assert arrived - before[one.name] == Counter(one.expected(batches[one.name]))
        assert set(before[one.name].values()) == {1}
        # and the log has these alone
        assert stack.world.client.zcard(keys.deliveries(one.name)) == arrived.total()
        delivered += arrived.total()
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{jobs} jobs, {tenants * endpoints} standing endpoints: {delivered} webhooks in "
            f"{took:.0f} s ({delivered / took:.0f} a second), none twice"
        )
