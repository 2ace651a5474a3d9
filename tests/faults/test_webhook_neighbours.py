"""Row 14: receivers that hang or fail do not delay the others, and in the end hear all.

The worker that delivers is a real one; the jobs end here, so that nothing but it is measured. Each
receiver has an address of its own, by which deliveries are shared out.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared.jobs import JobSpec
from shared.settings import Settings
from shared.store import keys
from tests.conftest import InTime
from tests.faults.conftest import Tell
from tests.faults.dns_server import Names, names
from tests.integration.loopback import serving, silent
from tests.support.store import World
from tests.support.webhook_receiver import Received, WebhookReceiver, receiver
from tests.support.worker_harness import INPUT
from tests.support.worker_process import worker

pytestmark = pytest.mark.xdist_group("faults-2")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MINUTE = 60
NEEDED = {"onemin_api_key": "k", "s3_access_key": "access-key", "s3_secret_key": "secret-key"}


@dataclass
class WaitingClients:
    """Many receivers, and a store that owes them webhooks."""

    world: World
    receivers: Sequence[WebhookReceiver]

    def end_jobs(self, each: int, to: Sequence[WebhookReceiver]) -> dict[str, WebhookReceiver]:
        """Let `each` jobs a receiver end, in turns, all before the first is told; return whose."""
        self.world.client.hset(keys.gate(), "paused:deliver", 1)
        owed = {self._queue_delivery(one): one for _ in range(each) for one in to}
        self.world.client.hdel(keys.gate(), "paused:deliver")
        return owed

    def _queue_delivery(self, to: WebhookReceiver) -> str:
        webhook = {"url": to.url, "events": ["job.succeeded"]}
        spec = JobSpec("m", INPUT, webhook=webhook)
        host = to.url.split("/")[2].split(":")[0]
        job = self.world.accept(spec=spec, webhook=webhook, webhook_host=host)
        self.world.succeed(self.world.checkpoint(self.world.call(self.world.claim())))
        return job

    def wait_for(self, owed: Mapping[str, WebhookReceiver], *, seconds: float) -> None:
        """Wait until each of these jobs was told to its receiver."""
        at = list({id(one): one for one in owed.values()}.values())
        wait_until(
            lambda: owed.keys() <= {one.json["data"]["id"] for one in received(at)},
            f"{len(owed)} webhooks",
            seconds=seconds,
        )

    def wait_for_end(self, owed: Mapping[str, WebhookReceiver], *, seconds: float) -> None:
        """Wait until nothing is owed; each job must have been told under its one id."""
        counts, client = keys.counts(), self.world.client
        wait_until(
            lambda: client.hget(counts, "webhook_pending") == "0", "no debt", seconds=seconds
        )
        ids: dict[str, set[str]] = {}
        for one in received(self.receivers):
            one.verify(SECRET)
            ids.setdefault(one.json["data"]["id"], set()).add(one.id)
        assert ids == {job: {f"msg_{job.removeprefix('job_')}_1_succeeded"} for job in owed}
        assert client.zcard(keys.queue_leases("deliveries")) == 0


def received(at: Sequence[WebhookReceiver]) -> list[Received]:
    return [one for each in at for one in list(each.received)]


def lasted(at: Sequence[WebhookReceiver]) -> float:
    """Return the seconds from the first to the last webhook."""
    times = [one.at for one in received(at)]
    return max(times) - min(times)


#: Opens a crowd of so many receivers, with a deliver worker of these settings.
Open = Callable[..., WaitingClients]


@pytest.fixture
def open_waiting_clients(empty_redis_url: str, tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda count, **how: stack.enter_context(
            _crowd(empty_redis_url, tmp_path, count, **how)
        )


@contextmanager
def _crowd(
    redis_url: str, directory: Path, count: int, *, threads: int, **changes: Any
) -> Iterator[WaitingClients]:
    hosts = [f"127.0.1.{number}" for number in range(1, count + 1)]
    settings = {**NEEDED, "webhook_allow_hosts": ",".join(hosts), **changes}
    world = World(redis_url, **settings)
    world.client.hset(keys.tenant("acme"), "webhook_secret", SECRET)
    with ExitStack() as stack:
        stack.callback(world.close)
        receivers = [stack.enter_context(receiver(host)) for host in hosts]
        told = {**settings, "redis_url": redis_url}
        stack.enter_context(worker(directory, told, "deliver", threads=threads))
        yield WaitingClients(world, receivers)


def pending_for(
    owed: Mapping[str, WebhookReceiver], some: Sequence[WebhookReceiver]
) -> dict[str, WebhookReceiver]:
    return {job: to for job, to in owed.items() if any(to is one for one in some)}


def test_a_hanging_receiver_holds_its_slots_and_no_one_else(
    open_waiting_clients: Open, tell: Tell
) -> None:
    # given: one never answers and one only fails, and both have as much to hear as the others
    often = ",".join(["0", *["0.5"] * 100])
    crowd = open_waiting_clients(
        6, threads=8, webhook_max_per_host=2, webhook_timeout_seconds=60, webhook_schedule=often
    )
    hanging, failing, *healthy = crowd.receivers
    hanging.held, failing.status = True, 500
    # when
    owed = crowd.end_jobs(10, crowd.receivers)
    crowd.wait_for(pending_for(owed, healthy), seconds=30)
    # then: while it hangs all others have heard everything, at the first attempt
    assert len(hanging.received) <= 2
    assert [len(one.received) for one in healthy] == [10] * 4
    # and when both are well they hear it too
    hanging.held, failing.status = False, 200
    crowd.wait_for_end(owed, seconds=30)
    tell(14, "one of 6 receivers hangs, one fails", webhooks=len(owed))


def cancel_and_notify(world: World, tenant: str, host: str, port: int) -> str:
    """Let a job of the tenant end, and owe its webhook; return the delivery's key."""
    webhook = {"url": f"http://{host}:{port}/hook", "events": ["job.canceled"]}
    job = world.accept(tenant, webhook=webhook, webhook_host=host)
    world.cancel(job, tenant)
    return keys.delivery(f"msg_{job.removeprefix('job_')}_1_canceled")


@contextmanager
def delivering_to_names(
    redis_url: str, directory: Path, hosts: Mapping[str, str], *, threads: int
) -> Iterator[tuple[World, Names]]:
    """Run a deliver worker that knows these names, and waits for an answer for a minute."""
    changes = {**NEEDED, "webhook_allow_hosts": ".test,127.0.1.2", "webhook_timeout_seconds": "60"}
    world = World(redis_url, **changes)
    with ExitStack() as stack:
        stack.callback(world.close)
        served = stack.enter_context(names({name: [[to]] for name, to in hosts.items()}))
        settings = {**changes, "redis_url": redis_url}
        told = {"FAULTS_NAMES": str(served.port), "FAULTS_TRAPS": str(directory)}
        app = "tests.faults.worker_app"
        stack.enter_context(
            worker(directory, settings, "deliver", threads=threads, app=app, **told)
        )
        yield world, served


def test_hundreds_of_hosts_of_one_tenant_that_never_answer_delay_no_other_tenant(
    empty_redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    hosts = {f"host{number}.test": "127.0.1.1" for number in range(400)}
    with (
        delivering_to_names(empty_redis_url, tmp_path, hosts, threads=16) as (world, served),
        receiver("127.0.1.2") as hook,
        # the first to go, so that the worker need not wait for an answer at its end
        serving(silent, host="127.0.1.1") as port,
    ):
        for tenant in ("flood", "plain"):
            world.client.hset(keys.tenant(tenant), "webhook_secret", SECRET)
        # given
        flood = [cancel_and_notify(world, "flood", host, port) for host in hosts]
        wait_until(lambda: served.asked.total() > 0, "an attempt that hangs")
        # when
        webhook_port = int(hook.url.split("/")[2].split(":")[1])
        plain = [cancel_and_notify(world, "plain", "127.0.1.2", webhook_port) for _ in range(30)]
        wait_until(
            lambda: all(world.client.hget(one, "state") == "delivered" for one in plain),
            "the other tenant's webhooks",
            seconds=30,
        )
        # then: no attempt that hangs has ended, and they hold less than half of the threads
        assert not any(world.client.hexists(one, "log") for one in flood)
        assert served.asked.total() <= 8
        assert len(hook.received) == 30
        tell(26, "400 hosts that never answer", delivered_beside=len(plain))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_that_hang_and_two_that_fail_for_a_minute_cost_sixteen_others_nothing(
    open_waiting_clients: Open, tell: Tell, in_time: InTime
) -> None:
    # given: the usual settings, and a first run without the bad ones
    crowd = open_waiting_clients(20, threads=Settings().concurrency)
    bad, healthy = crowd.receivers[:4], crowd.receivers[4:]
    crowd.wait_for_end(crowd.end_jobs(50, healthy), seconds=120)
    alone = lasted(healthy)
    for one in crowd.receivers:
        one.received.clear()
    # when
    for number, one in enumerate(bad):
        one.held, one.status = (True, 200) if number < 2 else (False, 500)
    owed = crowd.end_jobs(50, crowd.receivers)
    began = time.monotonic()
    crowd.wait_for(pending_for(owed, healthy), seconds=120)
    beside = lasted(healthy)
    wait_until(lambda: time.monotonic() - began > MINUTE, "the end of a minute", seconds=90)
    for one in bad:
        one.held, one.status = False, 200
    # then
    crowd.wait_for_end(owed, seconds=600)
    in_time(beside, 2 * alone)
    tell(
        14,
        "1,000 jobs, 2 of 20 receivers hang, 2 fail",
        healthy_without=alone,
        healthy_beside=beside,
        all_after=time.monotonic() - began,
        sent=len(received(crowd.receivers)),
    )
