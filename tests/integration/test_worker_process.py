"""Real worker processes: started, stopped, killed, and left without their Redis."""

import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from sandbox.provider.server import running
from sandbox.servers import free_port
from sandbox.wait import wait_until
from shared.jobs import State
from shared.start_commands import worker_command
from shared.store import keys
from shared.store.schema_version import SCHEMA
from tests.integration.sandbox_client import Client
from tests.support.servers import RedisServer, S3Server, redis_server
from tests.support.worker_harness import WorkerHarness, settings_for
from tests.support.worker_process import Worker, environment, worker

SUCCEEDED = "succeeded"


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with running() as url:
        yield url


class Place:
    """A world with workers of its own."""

    def __init__(
        self, stack: ExitStack, where: Path, redis_url: str, harness: WorkerHarness
    ) -> None:
        self.stack = stack
        self.where = where
        self.redis_url = redis_url
        self.harness = harness
        self.world = harness.world

    def settings(self, **changes: Any) -> dict[str, Any]:
        provider, s3 = self.harness.provider, self.harness.s3
        quick = {"redis_url": self.redis_url, "provider_rate_per_minute": 0, "log_format": "json"}
        return {**settings_for(s3, provider.url), **quick, **changes}

    def start(self, *, threads: int = 8, **changes: Any) -> Worker:
        run = worker(self.where, self.settings(**changes), threads=threads)
        return self.stack.enter_context(run)

    def accept(self, count: int) -> list[str]:
        return [self.harness.accept() for _ in range(count)]

    def states(self, jobs: list[str]) -> list[str]:
        return [self.harness.job(job).state.value for job in jobs]

    def wait_for(self, jobs: list[str], state: str = SUCCEEDED, *, seconds: float = 20) -> None:
        wait_until(
            lambda: set(self.states(jobs)) == {state}, f"{len(jobs)} jobs {state}", seconds=seconds
        )

    def wait_for_calls(self, count: int) -> None:
        wait_until(lambda: len(self.harness.asked("generate")) >= count, "calls of the provider")


@contextmanager
def place(redis_url: str, s3: S3Server, provider: Client, where: Path) -> Iterator[Place]:
    harness = WorkerHarness(redis_url, s3, provider)
    with ExitStack() as stack:
        stack.callback(harness.close)
        yield Place(stack, where, redis_url, harness)


@pytest.fixture
def here(empty_redis_url: str, s3: S3Server, provider: Client, tmp_path: Path) -> Iterator[Place]:
    with place(empty_redis_url, s3, provider, tmp_path) as made:
        yield made


def test_a_worker_does_the_jobs_each_once(here: Place) -> None:
    # given
    here.start()
    # when
    jobs = here.accept(20)
    here.wait_for(jobs)
    # then
    assert here.harness.paid() == 20
    assert here.harness.slots() == (0, 0)
    wait_until(lambda: here.world.permits() == 0, "the permits that were left to be taken")


def test_a_busy_worker_leaves_permits_for_others(here: Place) -> None:
    # given
    here.harness.provider.behave(latency_seconds=1)
    here.start(threads=2)
    # when
    here.accept(8)
    here.wait_for_calls(2)
    # then all but the two at work are there for others, all the while that it is busy
    # (one more is no harm: a claim makes good what was taken)
    assert here.world.permits() >= 6
    here.wait_for_calls(4)
    assert here.world.permits() >= 4


# stopping -------------------------------------------------------------------------------------


def workers_known(here: Place) -> int:
    return int(here.world.client.hlen(keys.workers()))


def test_an_idle_worker_stops_at_once_and_is_forgotten(here: Place) -> None:
    # given
    one = here.start()
    wait_until(lambda: workers_known(here) == 1, "the worker's first words")
    # when
    one.send(signal.SIGTERM)
    # then
    assert one.wait_for_end(5) == 0
    assert workers_known(here) == 0


def test_a_stopping_worker_finishes_what_it_holds_and_begins_nothing(here: Place) -> None:
    # given
    # longer than a lease, which must be renewed although the worker stops
    here.harness.provider.behave(latency_seconds=3)
    one = here.start(threads=4, lease_seconds=2)
    jobs = here.accept(10)
    here.wait_for_calls(4)
    # when it is asked five times
    for _ in range(5):
        one.send(signal.SIGTERM)
    # then
    assert one.wait_for_end(8) == 0
    assert sorted(here.states(jobs)) == ["queued"] * 6 + [SUCCEEDED] * 4
    assert {here.harness.job(job).attempt for job in jobs} == {0, 1}
    assert here.harness.paid() == 4
    assert here.harness.slots() == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT], ids=str)
def test_a_worker_whose_threads_wait_at_the_gate_stops_soon(
    here: Place, number: signal.Signals
) -> None:
    # given
    here.world.client.hset(keys.gate(), "paused:generate", "1")
    one = here.start(threads=2)
    jobs = here.accept(4)
    # one of the two waits, and the other gives its permits up
    wait_until(lambda: here.world.permits() == 0, "a thread at the gate")
    # when
    one.send(number)
    # then
    one.wait_for_end(6)
    assert here.states(jobs) == ["queued"] * 4


def test_a_worker_that_is_told_to_quit_finishes_what_it_holds(here: Place) -> None:
    here.harness.provider.behave(latency_seconds=1)
    one = here.start(threads=2)
    jobs = here.accept(2)
    here.wait_for_calls(2)
    one.send(signal.SIGQUIT)
    one.wait_for_end(6)
    assert here.states(jobs) == [SUCCEEDED] * 2


@pytest.mark.slow
def test_what_outlasts_the_grace_is_given_back_with_what_was_bought(here: Place) -> None:
    # given a download that takes longer than the grace
    drip = {"fault": "slow_drip", "bytes": 10, "seconds": 1, "times": 1}
    here.harness.provider.behave(drip)
    one = here.start(provider_timeout_seconds=0.5, download_timeout_seconds=60)
    (job_id,) = here.accept(1)
    wait_until(lambda: bool(here.harness.asked("download")), "the download")
    # when
    one.send(signal.SIGTERM)
    # then: the grace is 10.5 s
    one.wait_for_end(14)
    job = here.harness.job(job_id)
    assert (job.state, job.attempt, job.unknown_outcomes) == (State.QUEUED, 0, 0)
    assert here.harness.slots() == (0, 0)
    assert workers_known(here) == 0
    # and another goes on without paying
    assert here.harness.finish(job_id).state is State.SUCCEEDED
    assert here.harness.paid() == 1


@pytest.mark.slow
def test_a_worker_whose_redis_is_frozen_ends_in_time(
    s3: S3Server, provider: Client, tmp_path: Path
) -> None:
    with redis_server(tmp_path / "redis") as own, place(own.url, s3, provider, tmp_path) as here:
        # given
        here.harness.provider.behave(latency_seconds=1)
        one = here.start(threads=4, provider_timeout_seconds=1)
        here.accept(4)
        here.wait_for_calls(4)
        # when
        own.child.send(signal.SIGSTOP)
        one.send(signal.SIGTERM)
        # then: the grace is 11 s, and 3 s more for last words that nobody hears
        try:
            one.wait_for_end(16)
        finally:
            own.child.send(signal.SIGCONT)


# dying ----------------------------------------------------------------------------------------


def test_a_worker_killed_at_the_provider_leaves_an_unknown_outcome(here: Place) -> None:
    # given
    here.harness.provider.behave({"fault": "hang", "seconds": 60})
    one = here.start(lease_seconds=1, provider_timeout_seconds=30)
    (job_id,) = here.accept(1)
    here.wait_for_calls(1)
    here.start(lease_seconds=1)
    # when
    one.kill()
    # then
    here.wait_for([job_id], seconds=60)
    job = here.harness.job(job_id)
    assert (job.attempt, job.calls, job.unknown_outcomes, job.worker_losses) == (1, 2, 1, 1)
    assert here.harness.paid() == 2
    assert here.harness.slots() == (0, 0)


def test_a_worker_killed_after_the_checkpoint_costs_no_further_call(here: Place) -> None:
    # given
    drip = {"fault": "slow_drip", "bytes": 10, "seconds": 1, "times": 1}
    here.harness.provider.behave(drip)
    one = here.start(lease_seconds=1, download_timeout_seconds=600)
    (job_id,) = here.accept(1)
    wait_until(lambda: bool(here.harness.asked("download")), "the download")
    here.start(lease_seconds=1)
    # when
    one.kill()
    # then
    here.wait_for([job_id], seconds=60)
    job = here.harness.job(job_id)
    assert (job.attempt, job.calls, job.unknown_outcomes, job.worker_losses) == (1, 1, 0, 1)
    assert here.harness.paid() == 1


def test_a_job_that_outlasts_its_lease_is_not_rescued_while_its_worker_lives(here: Place) -> None:
    here.harness.provider.behave(latency_seconds=2.5)
    here.start(lease_seconds=1)
    here.start(lease_seconds=1)
    jobs = here.accept(3)
    here.wait_for(jobs)
    assert [here.harness.job(job).worker_losses for job in jobs] == [0, 0, 0]
    assert here.harness.paid() == 3


# without Redis --------------------------------------------------------------------------------


def outlive_redis(own: RedisServer, here: Place, one: Worker) -> int:
    """Kill and restart Redis while jobs run; return how often the worker had to be restarted."""
    jobs = here.accept(4)
    here.wait_for_calls(4)
    own.child.kill()
    own.start()
    restarts = 0

    def is_done() -> bool:
        nonlocal restarts
        if not one.alive:
            one.start()
            restarts += 1
        return set(here.states(jobs)) == {SUCCEEDED}

    wait_until(is_done, "the jobs that were in flight", seconds=20)
    return restarts


def test_a_worker_goes_on_when_its_redis_was_killed_and_is_back(
    s3: S3Server, provider: Client, tmp_path: Path
) -> None:
    with redis_server(tmp_path / "redis") as own, place(own.url, s3, provider, tmp_path) as here:
        # given
        here.harness.provider.behave(latency_seconds=1.5)
        one = here.start(threads=4, lease_seconds=3)
        # when
        restarts = outlive_redis(own, here, one)
        # then
        assert restarts == 0
        assert here.harness.paid() == 4
        # and new jobs are done as before
        here.harness.provider.behave()
        here.wait_for(here.accept(4))
        assert here.harness.paid() == 8


# what it tells --------------------------------------------------------------------------------

NAMES = (
    'darkroom_jobs_finished_total{error_code="",model="M",status="succeeded"}',
    'darkroom_jobs_finished_total{error_code="image_expired",model="M",status="failed"}',
    'darkroom_fallback_jobs_total{model="M"}',
    "darkroom_job_wait_seconds_count",
    "darkroom_job_run_seconds_count",
    'darkroom_job_total_seconds_count{status="failed"}',
    'darkroom_job_attempts_total{outcome="retried"}',
    'darkroom_job_attempts_total{outcome="lost"}',
    'darkroom_provider_requests_total{outcome="ok"}',
    'darkroom_provider_requests_total{outcome="provider_busy"}',
    "darkroom_provider_request_seconds_count",
    "darkroom_provider_unknown_outcomes_total",
    "darkroom_image_bytes_count",
    'darkroom_storage_seconds_count{operation="put"}',
    'darkroom_storage_errors_total{operation="put"}',
    'darkroom_webhook_attempts_total{outcome="delivered"}',
    "darkroom_webhook_delivery_seconds_count",
    'darkroom_webhook_endpoints_disabled_total{reason="gone"}',
    'darkroom_rescued_jobs_total{reason="calling"}',
    "darkroom_redis_errors_total",
)


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {
        name.replace("black-forest-labs/flux-2-klein-9b", "M"): float(value)
        for name, _, value in found
    }


def test_a_worker_tells_its_metrics_from_zero_on(here: Place) -> None:
    # given
    port = free_port()
    here.start(metrics_port=port)
    # then
    before = scrape(port)
    assert {name: before.get(name) for name in NAMES} == dict.fromkeys(NAMES, 0.0)
    assert any(name.startswith("darkroom_build_info{") for name in before)
    # when
    here.harness.provider.behave({"fault": "status", "status": 500}, {"fault": "drop"})
    here.wait_for(here.accept(1))

    # then
    def rose() -> dict[str, float]:
        after = scrape(port)
        return {name: after[name] for name in NAMES if after[name]}

    meant = {
        'darkroom_jobs_finished_total{error_code="",model="M",status="succeeded"}': 1,
        "darkroom_job_wait_seconds_count": 1,
        "darkroom_job_run_seconds_count": 1,
        'darkroom_job_attempts_total{outcome="retried"}': 2,
        'darkroom_provider_requests_total{outcome="ok"}': 1,
        "darkroom_provider_request_seconds_count": 3,
        "darkroom_provider_unknown_outcomes_total": 1,
        "darkroom_image_bytes_count": 1,
        'darkroom_storage_seconds_count{operation="put"}': 1,
    }
    wait_until(lambda: rose() == meant, f"{meant}, not {rose()}")


# what it refuses to start with ----------------------------------------------------------------


def refusal(
    settings: dict[str, Any],
    where: Path,
    *,
    queue: str = "generate",
    pool: str = "threads",
    code: int = 2,
) -> str:
    """Start a worker that must refuse with `code` (2 for settings); return what it said."""
    said = failed_start(settings, queue=queue, pool=pool, code=code)
    assert "Traceback" not in said
    return said


def failed_start(
    settings: dict[str, Any], *, queue: str = "generate", pool: str = "threads", code: int
) -> str:
    """Start a worker that must end by itself with `code`; return what it said."""
    ended = subprocess.run(
        [*worker_command(queue), f"--pool={pool}"],
        env=environment(settings),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=60,
        check=False,
    )
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == code, said
    return said


def lines(said: str) -> list[str]:
    return [line for line in said.splitlines() if line]


def test_what_is_missing_is_named_a_sentence_each(tmp_path: Path) -> None:
    assert lines(refusal({}, tmp_path)) == [
        "The worker cannot start.",
        "DARKROOM_ONEMIN_API_KEY is missing.",
        "DARKROOM_S3_ACCESS_KEY is missing.",
        "DARKROOM_S3_SECRET_KEY is missing.",
    ]


_NEEDED_KEYS = ("ONEMIN_API", "S3_ACCESS", "S3_SECRET")


def test_what_is_wrong_is_named_a_sentence_each(tmp_path: Path) -> None:
    wrong = {"redis_url": "http://127.0.0.1", "lease_seconds": "soon", "log_format": "xml"}
    said = lines(refusal(wrong, tmp_path))
    assert said[0] == "The worker cannot start."
    unusable = [line for line in said[1:] if re.match(r"DARKROOM_(\w+) is not usable: .+\.", line)]
    assert len(unusable) == 3
    # and with it what is missing
    assert said[4:] == [f"DARKROOM_{name}_KEY is missing." for name in _NEEDED_KEYS]


def test_a_password_that_breaks_the_address_of_redis_is_not_shown(tmp_path: Path) -> None:
    said = refusal(with_keys("redis://:Hunter2secret#1@127.0.0.1:6379/0"), tmp_path)
    assert "DARKROOM_REDIS_URL is not usable: in user and password all but" in said
    assert "Hunter2" not in said


def with_keys(redis_url: str, **changes: Any) -> dict[str, Any]:
    keys = {"onemin_api_key": "k", "s3_access_key": "access", "s3_secret_key": "secret-key"}
    return {**keys, "redis_url": redis_url, **changes}


def test_without_redis_it_says_so_and_leaves_the_waiting_to_its_supervisor(tmp_path: Path) -> None:
    said = refusal(with_keys(f"redis://127.0.0.1:{free_port()}/0"), tmp_path, code=4)
    assert lines(said)[-2:] == ["The worker cannot start.", "Redis is not reachable."]


def test_data_that_a_newer_version_has_changed_are_not_touched(
    empty_redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(empty_redis_url) as client:
        client.set(keys.schema(), SCHEMA + 1)
        said = refusal(with_keys(empty_redis_url), tmp_path, code=1)
    assert f"The data in this Redis is of schema {SCHEMA + 1}" in said


def test_a_worker_that_a_defect_keeps_from_starting_ends(empty_redis_url: str) -> None:
    with redis.Redis.from_url(empty_redis_url) as client:
        client.set(keys.signing_key(), "not hexadecimal")
        said = failed_start(with_keys(empty_redis_url), code=1)
        client.flushall()
    assert "worker not started because of a defect in Darkroom" in said


def test_a_metrics_port_that_is_taken_is_named(redis_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(with_keys(redis_url, metrics_port=port), tmp_path)
    assert (
        f"DARKROOM_METRICS_PORT is not usable: the worker cannot listen on 127.0.0.1:{port}" in said
    )


def test_a_queue_that_is_none_is_named(redis_url: str, tmp_path: Path) -> None:
    said = refusal(with_keys(redis_url), tmp_path, queue="generated")
    assert "None of generated is a queue: use -Q generate or -Q deliver." in said


def test_a_pool_of_another_kind_is_refused(redis_url: str, tmp_path: Path) -> None:
    said = refusal(with_keys(redis_url), tmp_path, pool="solo")
    assert "Darkroom's worker runs on threads: start it with -P threads." in said
