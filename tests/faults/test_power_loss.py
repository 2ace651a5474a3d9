"""Row 28: the power fails. What lies behind the last acknowledged write is torn, zeros or garbage.

The loss itself is a `kill -9` of the whole stack; what the disk was left with is made afterwards.
"""

from pathlib import Path

import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from tests.e2e.up import START_SECONDS, Up, gone
from tests.faults.conftest import Tell
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-4")

JOBS = 6
#: Longer than the test takes: what is at the provider is cut off there.
CALL_SECONDS = 60
TAILS = (bytes(4096), b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET")
#: Files that a start writes again, as a power loss may leave them.
HALVES = {
    "stack.json": '{"api": "http://127',
    "ports.json": "\0" * 64,
    "running.json": "",
    "keys.json": '{"s3": {"access_key": "',
}


def lose_power(here: Service, tail: bytes) -> None:
    pids = here.up.pids
    here.up.child.kill()
    wait_until(lambda: gone(pids), "the end of all processes")
    with (here.data / "redis/appendonlydir/appendonly.aof.1.incr.aof").open("ab") as log:
        log.write(tail)
    for name, content in HALVES.items():
        (here.data / name).write_text(content)


def is_written(stack: Up) -> bool:
    assert stack.child.alive, stack.child.said(60)
    try:
        return bool(stack.state)
    except (FileNotFoundError, ValueError):
        return False


def started_again(before: Service) -> Service:
    """Start the stack again; nothing listens where it did."""
    before.close()
    before.up.child.start()
    wait_until(lambda: is_written(before.up), "a whole stack.json", seconds=START_SECONDS)
    return Service(before.up, before.hook, before.crash_points)


@pytest.mark.slow
def test_after_a_power_loss_it_starts_by_itself_with_all_that_was_acknowledged(
    tmp_path: Path, tell: Tell
) -> None:
    jobs: list[str] = []
    with service(tmp_path, workers=1, concurrency=JOBS) as here:
        for number, tail in enumerate(TAILS, 1):
            # given
            here.provider.behave(latency_seconds=CALL_SECONDS)
            asked = here.create_many(JOBS)
            wait_until(lambda: len(here.calls(asked)) > 1, "jobs at the provider")  # noqa: B023
            # when
            lose_power(here, tail)
            before = here.state
            here = started_again(here)  # noqa: PLW2901  the same stack, in other processes
            # then
            assert f"its last {len(tail)} bytes were cut" in here.up.child.said(100)
            copies = list((here.data / "redis").glob("*.damaged-*"))
            assert len(copies) == number
            given_out = {"Authorization": f"Bearer {before['api_key']}"}
            assert here.http.get(f"/v1/jobs/{asked[0]}", headers=given_out).status_code == 200
            jobs += asked
            done = here.wait_for_end(jobs)
            assert {job.state for job in done} == {State.SUCCEEDED}
            assert {len(here.stored(job.id)) for job in done} == {1}
        here.close()
    tell(28, "power lost, and the end of the log", losses=len(TAILS), jobs=len(jobs))
