"""What one job costs in round trips, end to end, in a quiet world. Numbers, not timings."""

from pathlib import Path

from tests.support.budget import HOUSEKEEPING, JOB, KOMBU, PERMIT, cost_of_a_job
from tests.support.servers import S3Server


def test_a_job_costs_six_round_trips_one_put_one_post_and_one_get(
    empty_redis_url: str, s3: S3Server, tmp_path: Path
) -> None:
    cost = cost_of_a_job(empty_redis_url, s3, tmp_path)
    # one command a round trip; the blocking for this permit and for the next one may each begin
    # before or after what is watched, so that none, one or two of them are seen
    permits = cost.commands.pop(PERMIT, 0)
    assert cost.commands == {f"script {name}": 1 for name in JOB}
    assert permits <= 2
    assert cost.round_trips + 1 <= 6
    assert cost.bytes_sent <= 4_000
    # nothing else but the housekeeping, ours and kombu's; CLIENT and MONITOR are who watches
    housekeeping = {f"script {name}" for name in HOUSEKEEPING}
    assert {*cost.others} - housekeeping <= {"PING", "CLIENT", "MONITOR", KOMBU}
    assert cost.s3 == {"PUT": 1}
    assert cost.provider == [("generate", "ok", True), ("download", "ok", False)]
    assert cost.new_connections == 0
