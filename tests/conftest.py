"""What many tests ask for by name; every server is one per test process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
import structlog

from tests.support.postgres import PostgresServer, postgres_server
from tests.support.secret_scan import leaks
from tests.support.servers import RedisServer, S3Server, redis_server, s3_server

#: What the logs of this run gave away.
LEAKS = pytest.StashKey[list[str]]()
#: The most characters of a parameter in the id of a test.
ID_CHARACTERS = 60
#: Checks seconds measured against the most they may be.
InTime = Callable[[float, float], None]


# Hypothesis asserts by default how long an example and its making may take.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


# structlog's default shows the local variables of each traceback, which takes ten seconds for those
# of a worker
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--timed",
        action="store_true",
        help="hold measured seconds against their limits: for a machine that does nothing else",
    )


def pytest_make_parametrize_id(val: object) -> str | None:
    """Shorten the ids of long values: pytest passes the id of a test to every child process.

    Linux refuses an environment variable of more than 128 KiB.
    """
    if isinstance(val, str | bytes) and len(val) > ID_CHARACTERS:
        return f"{val[:ID_CHARACTERS]!a}…{len(val)}"
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole run where a log of any process has a key, a secret or a prompt in it."""
    if hasattr(session.config, "workerinput"):  # whoever runs the others looks at all
        return
    temporary = session.config._tmp_path_factory  # type: ignore[attr-defined]  # the plugin's
    looked, found = leaks(temporary.getbasetemp())
    session.config.stash[LEAKS] = [
        f"Searched {looked} logs for secrets: {len(found) or 'none'} found.",
        *found,
    ]
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(LEAKS, []):
        terminalreporter.write_line(line)


@pytest.fixture
def in_time(request: pytest.FixtureRequest) -> InTime:
    """Hold seconds against a limit where `--timed` says that the machine is free for it."""
    timed = request.config.getoption("--timed")

    def check(seconds: float, limit: float) -> None:
        assert seconds < limit or not timed

    return check


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(valkey: RedisServer) -> str:
    """Whatever earlier tests left is still in it: for an empty one ask for `empty_redis_url`."""
    return valkey.url


@pytest.fixture
def empty_redis_url(redis_url: str) -> Iterator[str]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield redis_url
        # the next test may not work with what is there now, such as data of another schema
        client.flushall()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def history_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database for the history: a file, then a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create("history")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
