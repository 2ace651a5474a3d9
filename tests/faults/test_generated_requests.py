"""Requests made up from the API reference itself: no 5xx, and every answer as it says."""

import re
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event

import pytest

from shared.errors import LostLease
from shared.store import job_queries
from shared.store.transitions import Claim
from tests.faults.conftest import Tell
from tests.support.api_server import ApiServer, served, settings, tenant_at
from tests.support.background import in_background
from tests.support.delivery_worker import delivering
from tests.support.servers import S3Server
from tests.support.store import World

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def jobs_that_succeed_at_once(api_server: ApiServer) -> AbstractContextManager[None]:
    """Finish whatever is queued, so that nobody waits long for it."""

    def work(over: Event) -> None:
        while not over.wait(0.02):
            finish_next(api_server.world)

    return in_background(work)


def finish_next(world: World) -> None:
    held = world.try_claim()
    if isinstance(held, Claim):
        try:
            world.succeed(held if held.job.answer else world.checkpoint(world.call(held)))
        except LostLease:
            world.store.run(
                job_queries.service_stats()
            )  # canceled meanwhile: nothing is left to do


def generate(url: str, key: str, examples: int, *more: str) -> subprocess.CompletedProcess[str]:
    """Run all phases against the API, with so many examples for each operation."""
    return subprocess.run(
        [
            *(SCHEMATHESIS, "run", f"{url}/openapi.json", "--url", url),
            *("--header", f"Authorization: Bearer {key}"),
            *("--phases", "examples,coverage,fuzzing,stateful"),
            *("--max-examples", str(examples), "--continue-on-failure"),
            # what a schema cannot say (a key that was used, a range beyond the end) is refused too
            *("--exclude-checks", "positive_data_acceptance"),
            *("--request-timeout", "70", "--seed", "7", "--no-color", *more),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
        pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def test_no_generated_request_is_answered_other_than_the_reference_says(
    empty_redis_url: str, s3: S3Server, tell: Tell, examples: int
) -> None:
    with (
        served(settings(empty_redis_url, s3_endpoint=s3.endpoint)) as url,
        tenant_at(url, empty_redis_url) as api_server,
        jobs_that_succeed_at_once(api_server),
        # whoever sends a test event waits for what comes of it
        delivering(empty_redis_url, threads=8, webhook_timeout_seconds=0.5),
    ):
        ended = generate(url, api_server.credentials.api_key, examples)

    assert ended.returncode == 0, ended.stdout[-6000:]
    tell(19, f"generated requests, {examples} an operation", told=counted(ended.stdout))


def counted(said: str) -> str:
    """Find how many requests there were."""
    found = re.search(r"(\d[\d,]*) generated", said)
    return f"{found[1]} generated, none answered otherwise" if found else "all as documented"


@pytest.mark.long
def test_no_generated_request_of_an_operator_is_answered_other_than_the_reference_says(
    empty_redis_url: str,
) -> None:
    with (
        served(settings(empty_redis_url)) as url,
        tenant_at(url, empty_redis_url) as api_server,
    ):
        api_server.create()
        ended = generate(url, api_server.credentials.ops_key, 3, "--include-path-regex", "^/ops/")

    assert ended.returncode == 0, ended.stdout[-6000:]
