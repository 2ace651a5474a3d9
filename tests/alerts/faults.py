"""What makes each alert fire, on a service that runs. Each ends with its block."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Timer

import httpx

from sandbox.wait import wait_until
from shared.store import keys
from shared.store.provider_keys import remove_provider_key
from tests.alerts.alert_stack import THREADS, AlertStack
from tests.support.background import in_background
from tests.support.cluster import Api, WorkerProcess
from tests.support.forward_proxy import ForwardProxy
from tests.support.provider_keys import add, operator
from tests.support.webhook_receiver import receiver

Fault = Callable[[AlertStack], AbstractContextManager[None]]
#: A webhook that came later than this was not delivered in time.
LATE_SECONDS = 61.0
SLOW_IMAGE_SECONDS = 10.5
SLOW_REDIS_SECONDS = 0.4


@dataclass(frozen=True)
class Case:
    """An alert, what is done to the service, and how long that may take to show."""

    alert: str
    what: str
    fault: Fault
    severities: Sequence[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60


@contextmanager
def _away(*lost: Api | WorkerProcess | ForwardProxy) -> Iterator[None]:
    for one in lost:
        one.child.kill()
    try:
        yield
    finally:
        for one in lost:
            one.child.start()


def api_away(here: AlertStack) -> AbstractContextManager[None]:
    return _away(here.api)


def generate_away(here: AlertStack) -> AbstractContextManager[None]:
    return _away(*here.generate)


def deliver_away(here: AlertStack) -> AbstractContextManager[None]:
    return _away(here.deliver)


@contextmanager
def workers_lost(here: AlertStack) -> Iterator[None]:
    """Kill both workers while each of their threads waits for the provider."""
    here.here.provider.behave(latency_seconds=10)
    here.ask(2 * THREADS)
    wait_until(
        lambda: int(here.world.client.zcard(keys.queue_leases("jobs"))) == 2 * THREADS,
        "each thread at a job",
    )
    with _away(*here.generate):
        here.here.provider.behave()
    yield


@contextmanager
def _configured(here: AlertStack, name: str, value: object, after: object) -> Iterator[None]:
    here.world.client.config_set(name, str(value))
    try:
        yield
    finally:
        here.world.client.config_set(name, str(after))


def evicting(here: AlertStack) -> AbstractContextManager[None]:
    return _configured(here, "maxmemory-policy", "allkeys-lru", "noeviction")


def no_log(here: AlertStack) -> AbstractContextManager[None]:
    return _configured(here, "appendonly", "no", "yes")


def little_memory(here: AlertStack) -> AbstractContextManager[None]:
    used = int(here.world.client.info("memory")["used_memory"])
    return _configured(here, "maxmemory", int(used / 0.75), 0)


@contextmanager
def workers_frozen(here: AlertStack) -> Iterator[None]:
    """Freeze every worker, so that none sweeps."""
    workers = (*here.generate, here.deliver)
    for worker in workers:
        worker.child.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            worker.child.send(signal.SIGCONT)


@contextmanager
def _provider(
    here: AlertStack, default: object = "ok", *, latency_seconds: float = 0
) -> Iterator[None]:
    here.here.provider.behave(default=default, latency_seconds=latency_seconds)
    try:
        yield
    finally:
        here.here.provider.behave()


def _answering(status: int) -> Fault:
    return partial(_provider, default={"fault": "status", "status": status})


@contextmanager
def keys_rejected(here: AlertStack) -> Iterator[None]:
    """Let the provider know none of our keys, neither for calls nor for the free check."""

    def accept(good: list[str] | None) -> None:
        url = f"{here.here.provider.url}/_sandbox/keys"
        httpx.put(url, json={"good": good}).raise_for_status()

    accept(["another"])
    try:
        yield
    finally:
        accept(None)


@contextmanager
def key_sealed_elsewhere(here: AlertStack) -> Iterator[None]:
    """Store a provider key with a seal key that no worker has."""
    key_id = add(here.world, "a-key-that-no-worker-opens")
    try:
        yield
    finally:
        here.world.store.run(remove_provider_key(operator(), key_id))


def egress_proxy_away(here: AlertStack) -> AbstractContextManager[None]:
    return _away(here.proxy)


def unknown_outcomes(here: AlertStack) -> AbstractContextManager[None]:
    return _provider(here, {"fault": "made_but_522"})


def slow_images(here: AlertStack) -> AbstractContextManager[None]:
    return _provider(here, latency_seconds=SLOW_IMAGE_SECONDS)


@contextmanager
def too_much_asked(here: AlertStack) -> Iterator[None]:
    with _provider(here, latency_seconds=4):
        here.ask(80)
        yield


@contextmanager
def paused(here: AlertStack) -> Iterator[None]:
    here.ops.post("/ops/v1/queues/generate/pause").raise_for_status()
    try:
        yield
    finally:
        here.ops.post("/ops/v1/queues/generate/resume").raise_for_status()


@contextmanager
def storage_away(here: AlertStack) -> Iterator[None]:
    here.here.s3.child.kill()
    try:
        yield
    finally:
        here.here.s3.start()


@contextmanager
def history_away(here: AlertStack) -> Iterator[None]:
    here.history.child.kill()
    try:
        yield
    finally:
        here.history.start()


@contextmanager
def unreadable_job(here: AlertStack) -> Iterator[None]:
    """Let a final job be due whose record lacks nearly everything."""
    job_id, client = "job_00000000000000000000000000", here.world.client
    client.hset(keys.job(job_id), mapping={"tenant": "t", "state": "failed", "version": "1"})
    client.zadd(keys.archive_due(), {job_id: 1})
    try:
        yield
    finally:
        client.delete(keys.job(job_id))
        for due in (keys.archive_due(), keys.archive_refused()):
            client.zrem(due, job_id)


@contextmanager
def image_host_away(here: AlertStack) -> Iterator[None]:
    here.here.provider.images(state="refuse")
    try:
        yield
    finally:
        here.here.provider.images()


@contextmanager
def redis_away(here: AlertStack) -> Iterator[None]:
    here.here.redis.child.kill()
    try:
        yield
    finally:
        here.here.redis.start()


def redis_slow(here: AlertStack) -> AbstractContextManager[None]:
    """Freeze Redis again and again for less than anybody gives up, while jobs are asked for."""
    child = here.here.redis.child

    def ask(_: int) -> None:
        with suppress(httpx.HTTPError):
            here.http.post("/v1/jobs", json=here.body())

    def freeze(stop: Event) -> None:
        with ThreadPoolExecutor(4) as pool:
            while not stop.wait(SLOW_REDIS_SECONDS):
                child.send(signal.SIGSTOP)
                asking = pool.map(ask, range(4))
                stop.wait(SLOW_REDIS_SECONDS)
                child.send(signal.SIGCONT)
                list(asking)

    return in_background(freeze)


@contextmanager
def late_endpoint(here: AlertStack) -> Iterator[None]:
    """Let a receiver refuse for a minute what it then takes."""
    with receiver() as late:
        late.status = 503
        here.ask(60, late.url)
        over = Timer(LATE_SECONDS, lambda: setattr(late, "status", 200))
        over.start()
        try:
            yield
        finally:
            over.join()


@contextmanager
def hanging_endpoint(here: AlertStack) -> Iterator[None]:
    """Let a receiver take more than a thousand webhooks and answer none, for a while."""
    with receiver() as hanging:
        hanging.held = True
        jobs = [{**here.body(hanging.url), "priority": "low"} for _ in range(1_100)]
        made = here.http.post("/v1/batches", json={"jobs": jobs})
        assert made.status_code == 202, made.text
        batch = f"/v1/batches/{made.json()['id']}"
        here.http.post(f"{batch}/cancel").raise_for_status()
        yield
        hanging.held = False
        wait_until(
            lambda: here.http.get(batch).json()["status"] == "completed", "the end of a batch"
        )
        wait_until(
            lambda: int(here.world.client.hget(keys.counts(), "webhook_pending") or 0) < 100,
            "webhooks to be sent",
            seconds=120,
        )


@contextmanager
def endpoints_gone(here: AlertStack) -> Iterator[None]:
    """Let a dozen receivers say that they want no more; then switch them on again."""
    with receiver() as gone:
        gone.status = 410
        for number in range(12):
            here.ask(1, f"{gone.url}/{number}")
        yield
        gone.status = 200
        found = here.http.get("/v1/webhooks/endpoints").json()["data"]
        for endpoint in found:
            if endpoint["url"].startswith(gone.url):
                path = f"/v1/webhooks/endpoints/{endpoint['id']}/enable"
                here.http.post(path).raise_for_status()


PAGE, TICKET, BOTH = ("page",), ("ticket",), ("page", "ticket")

#: What is measured as a share of all goes first: while nearly nothing was good yet.
OBJECTIVES = (
    Case("DarkroomTimeToImage", "images take 10.5 s", slow_images, BOTH, seconds=180),
    Case(
        "DarkroomWebhookDelivery",
        "a receiver takes them after 61 s",
        late_endpoint,
        BOTH,
        seconds=180,
    ),
    Case("DarkroomAcceptLatency", "Redis frozen 0.4 s of 0.8", redis_slow, BOTH),
    Case("DarkroomAcceptAvailability", "Redis killed", redis_away, BOTH),
)

SYMPTOMS = (
    Case("DarkroomApiDown", "the API killed", api_away, PAGE),
    Case("DarkroomWorkersDown", "both killed", generate_away, PAGE, {"queue": "generate"}),
    Case("DarkroomWorkersDown", "killed", deliver_away, PAGE, {"queue": "deliver"}),
    Case("DarkroomNotReady", "maxmemory-policy allkeys-lru", evicting, PAGE),
    Case("DarkroomSweepNotRunning", "all workers frozen", workers_frozen, PAGE),
    Case("DarkroomWorkersLost", "workers killed with 16 jobs", workers_lost, TICKET),
    Case("DarkroomRedisNotDurable", "appendonly no", no_log, PAGE),
    Case("DarkroomRedisMemoryHigh", "maxmemory at 133 % of what is used", little_memory, TICKET),
    Case("DarkroomQueueOld", "80 jobs at 4 a second", too_much_asked, PAGE, {"queue": "generate"}),
    Case("DarkroomQueuePaused", "paused by an operator", paused, TICKET, seconds=120),
    Case("DarkroomProviderCircuitOpen", "1min.ai answers 500", _answering(500), PAGE),
    Case("DarkroomProviderCreditsGone", "1min.ai answers 406", _answering(406), PAGE),
    Case("DarkroomProviderKeysDead", "1min.ai knows no key of ours", keys_rejected, TICKET),
    Case(
        "DarkroomProviderKeysUnreadable",
        "a key is stored with another seal key",
        key_sealed_elsewhere,
        TICKET,
        seconds=120,
    ),
    Case("DarkroomUnknownOutcomes", "1min.ai makes it and answers 522", unknown_outcomes, TICKET),
    Case("DarkroomStorageAway", "the storage killed", storage_away, PAGE),
    Case("DarkroomImageHostAway", "the image host refuses connections", image_host_away, PAGE),
    Case("DarkroomStorageErrors", "the storage killed", storage_away, TICKET),
    Case("DarkroomHistoryBehind", "PostgreSQL killed", history_away, TICKET, seconds=180),
    Case("DarkroomHistoryRefusesJobs", "a record cannot be read", unreadable_job, TICKET),
    Case("DarkroomWebhookBacklog", "1,100 owed to one that hangs", hanging_endpoint, TICKET),
    Case("DarkroomWebhookEndpointsOff", "12 receivers answer 410", endpoints_gone, TICKET),
    Case("DarkroomEgressProxyDown", "the egress proxy killed", egress_proxy_away, PAGE),
    Case("DarkroomWebhookFailures", "12 receivers answer 410", endpoints_gone, TICKET),
)

CASES = (*OBJECTIVES, *SYMPTOMS)
