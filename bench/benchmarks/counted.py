"""Row 6: round trips, commands, bytes, requests and connections per job, counted."""

from bench.results import Goal, Line, Row, must_equal
from bench.run import Run
from tests.support.budget import PERMIT, cost_of_a_job
from tests.support.servers import redis_server, s3_server

NUMBER = 6
TITLE = "operations per job, counted as in `make test`"
#: The stock stack with the same state: FastAPI's record and Celery's messages, results and acks.
STOCK_COMMANDS = 32.0


def measure(run: Run) -> Row:
    """Count what the test counts."""
    with redis_server(run.directory / "redis") as redis, s3_server(run.directory / "s3") as s3:
        cost = cost_of_a_job(redis.url, s3, run.directory)
    must_equal([call[0] for call in cost.provider], ["generate", "download"], "provider's calls")
    # a job has one permit; to block for it and for the next may fall on either side of the watch
    trips = float(cost.round_trips - cost.commands[PERMIT] + 1)
    puts = float(cost.s3["PUT"])
    lines = [
        Line(NUMBER, "round trips to Redis", "", [trips], Goal(8, 6, at_most=True)),
        Line(NUMBER, "commands sent to Redis", "", [trips], Goal(20, 16, at_most=True)),
        Line(
            NUMBER, "commands sent", "", [trips], None, "stock Celery, same state", [STOCK_COMMANDS]
        ),
        Line(NUMBER, "bytes sent to Redis", "B", [float(cost.bytes_sent)], None),
        Line(NUMBER, "PUTs", "", [puts], Goal(1, 1, at_most=True)),
        Line(NUMBER, "other S3 calls", "", [cost.s3.total() - puts], Goal(0, 0, at_most=True)),
        Line(
            NUMBER, "new connections", "", [float(cost.new_connections)], Goal(0, 0, at_most=True)
        ),
    ]
    return Row(NUMBER, TITLE, lines, "one paid call, one download, one object")
