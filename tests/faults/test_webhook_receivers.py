"""Row 14: receivers that hang, drip, flood, break off, lead inside, or fail for hours.

Each has an address of its own (127.0.0.x), as each real one has a host of its own; names are those
of a name server here, whose answers change. What leads inside leads to 127.0.0.66, which nobody
allowed and where connections are counted. An hour of the schedule is a tenth of a second.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Any

import orjson
import pytest

from sandbox.wait import wait_until
from shared.settings import Settings
from shared.store import keys
from tests.faults.conftest import Audit, Tell
from tests.faults.dns_server import Names, names
from tests.faults.service import Service, service
from tests.integration.loopback import (
    OK,
    Script,
    answering,
    dripping,
    in_turn,
    read_request,
    serving,
    silent,
)
from tests.support.webhook_receiver import WebhookReceiver, receiver

pytestmark = pytest.mark.xdist_group("faults-2")

SCALE = 36_000
SCHEDULE = tuple(wait / SCALE for wait in Settings().webhook_schedule)
INSIDE = "127.0.0.66"
#: Public by number and given to nobody (2d00::/8 is not allocated): no stranger is called.
NOWHERE = "2d00::1"
ANSWERS: Mapping[str, Sequence[Sequence[str]]] = {
    "turns.test": [[NOWHERE], [INSIDE]],
    "two.test": [[NOWHERE, INSIDE]],
    "other-two.test": [[INSIDE, NOWHERE]],
    "mapped.test": [[f"::ffff:{INSIDE}"]],
    "nat64.test": [["64:ff9b::7f00:42"]],
    "6to4.test": [["2002:7f00:42::1"]],
    "metadata.test": [["169.254.169.254"]],
    "unknown.test": [[]],
}
WELL = answering(OK + b"Content-Length: 0\r\n\r\n")
TEN_GIGABYTES = 10_000_000_000
#: What the kernel takes from a sender before the reader has read any of it, both ends together.
SOCKET_BUFFERS = 16_000_000


@dataclass
class Flood:
    """Answers with 10 GB, or as much of it as is taken; begins with `head`, goes on with `more`."""

    head: bytes
    more: bytes
    taken: list[int] = field(default_factory=list)

    def __call__(self, connection: socket.socket, stopped: Event) -> None:
        read_request(connection)
        connection.sendall(self.head)
        self.taken.append(0)
        while not stopped.is_set() and self.taken[-1] < TEN_GIGABYTES:
            self.taken[-1] += connection.send(self.more)


def closing(connection: socket.socket, _: Event) -> None:
    connection.close()


BODY = Flood(OK + b"Content-Length: %d\r\n\r\n" % TEN_GIGABYTES, b"x" * 65_536)
HINTS = Flood(b"", b"HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n" * 1000)
DRIP = dripping(OK, b"X-Drip: 1\r\n")
#: What each does to one connection after the other, and what the delivery log then shows.
BAD: Mapping[str, tuple[Script, list[int | None]]] = {
    "hangs": (in_turn(silent, silent, WELL), [None, None, 200]),
    "drips": (in_turn(DRIP, DRIP, WELL), [None, None, 200]),
    "closes early": (
        in_turn(closing, answering(b""), answering(b"HTTP/1.1 20"), WELL),
        [None, None, None, 200],
    ),
    "sends 10 GB": (BODY, [200]),
    "sends 10 GB of hints": (in_turn(HINTS, WELL), [None, 200]),
}


@dataclass
class Scene:
    """The service, its bad receivers, and the job that each of them is to be told of."""

    service: Service
    names: Names
    #: by receiver: those that speak HTTP as they should
    receivers: Mapping[str, WebhookReceiver]
    #: connections to where nobody may go
    inside: list[int]
    jobs: dict[str, str]

    def record(self, job_id: str) -> Mapping[str, str]:
        key = keys.delivery(f"msg_{job_id.removeprefix('job_')}_1_succeeded")
        return dict(self.service.world.client.hgetall(key))  # type: ignore[arg-type]  # not asyncio's

    def webhooks_of(self, who: str) -> tuple[str, list[dict[str, Any]]]:
        """Wait for the end of the webhook to `who`; return how it ended, and each attempt."""
        job = self.jobs[who]
        ended = {"delivered", "failed"}
        wait_until(
            lambda: self.record(job).get("state") in ended, f"the webhook to {who}", seconds=30
        )
        record = self.record(job)
        return record["state"], [orjson.loads(line) for line in record["log"].split("\n")]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ExitStack() as stack:
        inside: list[int] = []
        forbidden = stack.enter_context(
            serving(lambda connection, _: inside.append(connection.fileno()), host=INSIDE)
        )
        hosts = [f"127.0.0.{number}" for number in range(10, 10 + len(BAD) + 5)]
        free = iter(hosts)
        urls = {}
        for who, (script, _) in BAD.items():
            host = next(free)
            port = stack.enter_context(serving(script, host=host))
            urls[who] = f"http://{host}:{port}/hook"
        receivers = {
            who: stack.enter_context(receiver(next(free)))
            for who in ("410", "429", "five hours", "301 to metadata", "307 elsewhere")
        }
        receivers["elsewhere"] = stack.enter_context(receiver())
        urls |= {who: one.url for who, one in receivers.items() if who != "elsewhere"}
        urls |= {name: f"http://{name}:{forbidden}/hook" for name in ANSWERS}
        _behave(receivers)
        served = stack.enter_context(names(ANSWERS))
        here = stack.enter_context(
            service(
                tmp_path_factory.mktemp("receivers"),
                DARKROOM_WEBHOOK_SCHEDULE=",".join(map(str, SCHEDULE)),
                DARKROOM_WEBHOOK_TIMEOUT_SECONDS="1",
                DARKROOM_WEBHOOK_ALLOW_HOSTS=",".join(["127.0.0.1", *hosts]),
                FAULTS_NAMES=str(served.port),
            )
        )
        # all at once: each test waits for its own
        jobs = {
            who: here.create(webhook={"url": url, "events": ["job.succeeded"]})
            for who, url in urls.items()
        }
        yield Scene(here, served, receivers, inside, jobs)


def _behave(receivers: Mapping[str, WebhookReceiver]) -> None:
    receivers["410"].status = 410
    receivers["429"].script = [429]
    receivers["429"].headers = {"retry-after": "2"}
    # attempts 1 to 7 are those of the first five hours
    receivers["five hours"].script = [500] * 7
    receivers["301 to metadata"].status = 301
    receivers["301 to metadata"].headers = {"location": "http://169.254.169.254/latest/meta-data/"}
    receivers["307 elsewhere"].status = 307
    receivers["307 elsewhere"].headers = {"location": receivers["elsewhere"].url}


def statuses(attempts: Sequence[Mapping[str, Any]]) -> list[int | None]:
    return [attempt["status"] for attempt in attempts]


def test_healthy_receivers_are_told_at_the_first_attempt_beside_all_of_these(
    scene: Scene, tell: Tell
) -> None:
    here = scene.service
    jobs = here.create_many(8)
    here.wait_for_webhooks(jobs)
    assert {scene.record(job)["attempt"] for job in jobs} == {"1"}
    tell(14, "eight healthy beside all that follow", attempts=len(jobs))


@pytest.mark.parametrize("who", BAD)
def test_a_receiver_that_misbehaves_is_left_in_time_and_told_when_it_is_well(
    scene: Scene, tell: Tell, who: str
) -> None:
    state, attempts = scene.webhooks_of(who)
    assert (state, statuses(attempts)) == ("delivered", BAD[who][1])
    assert all(attempt["error"] for attempt in attempts if attempt["status"] is None)
    tell(14, f"a receiver that {who}", attempts=len(attempts))


@pytest.mark.parametrize("flood", [BODY, HINTS], ids=["10 GB", "10 GB of hints"])
def test_of_an_answer_without_end_little_is_taken(scene: Scene, tell: Tell, flood: Flood) -> None:
    _, attempts = scene.webhooks_of("sends 10 GB" if flood is BODY else "sends 10 GB of hints")
    wait_until(lambda: bool(flood.taken), "the flood")
    assert max(flood.taken) <= SOCKET_BUFFERS
    assert len(attempts[0]["answer"]) <= 1024
    tell(14, "taken of them", bytes=max(flood.taken), kept=len(attempts[0]["answer"]))


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "unknown.test"])
def test_a_name_that_leads_inside_is_never_connected_to(
    scene: Scene, tell: Tell, name: str
) -> None:
    state, attempts = scene.webhooks_of(name)
    # then: judged anew and looked up once each time, and none of it reached anyone
    assert (state, statuses(attempts)) == ("failed", [None] * len(SCHEDULE))
    assert scene.names.asked[name] == len(SCHEDULE)
    refused = [attempt for attempt in attempts if "resolves to an address" in attempt["error"]]
    # the first answer of the name that turns is a public one, to which there is no way
    assert len(refused) == len(SCHEDULE) - (name == "turns.test")
    assert scene.inside == []
    tell(
        14, f"{name} leads to {', '.join(ANSWERS[name][-1])}", attempts=len(attempts), connections=0
    )


def test_a_name_that_nobody_knows_is_told_as_not_resolved(scene: Scene) -> None:
    state, attempts = scene.webhooks_of("unknown.test")
    assert state == "failed"
    sentence = "The host name of the endpoint could not be resolved."
    assert {attempt["error"] for attempt in attempts} == {sentence}


@pytest.mark.parametrize(
    ("who", "status"), [("301 to metadata", 301), ("307 elsewhere", 307)], ids=str
)
def test_a_redirect_is_a_failure_and_is_not_followed(
    scene: Scene, tell: Tell, who: str, status: int
) -> None:
    state, attempts = scene.webhooks_of(who)
    assert (state, statuses(attempts)) == ("failed", [status] * len(SCHEDULE))
    assert len(scene.receivers[who].received) == len(SCHEDULE)
    # 127.0.0.1 is allowed: what kept us from there is not the guard
    assert scene.receivers["elsewhere"].received == []
    tell(14, who, attempts=len(attempts), followed=0)


def test_a_receiver_that_is_gone_is_left_alone(scene: Scene, tell: Tell) -> None:
    state, attempts = scene.webhooks_of("410")
    assert (state, statuses(attempts)) == ("failed", [410])
    assert len(scene.receivers["410"].received) == 1
    tell(14, "410", attempts=1)


def test_a_wish_to_wait_is_followed(scene: Scene, tell: Tell) -> None:
    state, attempts = scene.webhooks_of("429")
    assert (state, statuses(attempts)) == ("delivered", [429, 200])
    first, second = (datetime.fromisoformat(attempt["at"]) for attempt in attempts)
    assert (second - first).total_seconds() >= 2
    tell(14, "429 with Retry-After: 2", waited=(second - first).total_seconds())


def test_after_five_hours_of_500_the_same_message_arrives(scene: Scene, tell: Tell) -> None:
    state, attempts = scene.webhooks_of("five hours")
    received = scene.receivers["five hours"].received
    assert (state, statuses(attempts)) == ("delivered", [500] * 7 + [200])
    assert len({one.id for one in received}) == len({one.body for one in received}) == 1
    assert {one.verify(scene.service.state["webhook_secret"])["type"] for one in received} == {
        "job.succeeded"
    }
    tell(14, "five hours of 500 (0.5 s here), then well", attempts=len(attempts))


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        f"http://{INSIDE}:6379/",
        f"http://[::ffff:{INSIDE}]/",
        "http://[64:ff9b::7f00:42]/",
        "http://2130706498/",
        "http://0177.0.0.102/",
        "http://127.66/",
        "http://[fe80::1%25lo]/",
        "http://hooks.example:25/",
        "http://user@hooks.example/",
        "http://localhost:8000/",
    ],
)
def test_what_can_be_known_to_be_forbidden_is_refused_at_once(scene: Scene, url: str) -> None:
    answer = scene.service.http.post("/v1/jobs", json=scene.service.body(webhook={"url": url}))
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/webhook/url"]


def test_after_all_of_this_nothing_is_owed_and_nobody_was_inside(
    scene: Scene, audit: Audit
) -> None:
    # given
    attempts = [len(scene.webhooks_of(who)[1]) for who in scene.jobs]
    # when
    jobs = scene.service.create_many(2)
    scene.service.wait_for_webhooks(jobs)
    # then
    audit(scene.service, jobs)
    assert scene.inside == []
    assert scene.service.pid("deliver") is not None
    webhooks_of = sum(attempts) + sum(one.path == "/hook" for one in scene.service.hook.received)
    wait_until(
        lambda: counted(scene.service) == webhooks_of, "metrics that agree with the delivery log"
    )


def counted(here: Service) -> float:
    lines = (line for url in here.state["metrics"] for line in here.http.get(url).text.splitlines())
    found = [line for line in lines if line.startswith("darkroom_webhook_attempts_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in found)
