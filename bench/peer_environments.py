"""The peers' programs and environments, and how to start them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from bench import allocator
from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http
from shared.settings import inherited_environment
from tests.support.servers import redis_server

_TREE = Path(__file__).resolve().parent.parent
#: The peers' programs.
PROGRAMS = _TREE / "bench" / "peers"
#: Celery and taskiq; arq wants an older client of Redis than they do.
PEERS, ARQ = _TREE / ".venv-peers", _TREE / ".venv-arq"
#: What a client of a peer sends as its key.
API_KEY = "bench-key-0123456789abcdef"


@dataclass(frozen=True)
class Peer:
    """A peer's processes on a Redis of its own."""

    redis_url: str
    environment: Mapping[str, str]
    directory: Path

    @contextmanager
    def program(self, name: str, place: Path, *words: str) -> Iterator[Child]:
        """Run a program of the environment `place`; the log has the `name`."""
        program, *rest = words
        command = [str(place / "bin" / program), *rest]
        log = self.directory / f"{name}.log"
        with Child(command, log, environment=self.environment) as child:
            yield child

    @contextmanager
    def front(self, module: str, place: Path) -> Iterator[tuple[str, Child]]:
        """Serve a module's FastAPI app by one uvicorn process; yield its URL too."""
        port = free_port()
        words = ("uvicorn", f"{module}:app", "--port", str(port), "--no-access-log")
        quiet = ("--log-level", "warning", "--app-dir", PROGRAMS.as_posix())
        with self.program(module, place, *words, *quiet) as front:
            url = f"http://127.0.0.1:{port}"
            wait_for_http(f"{url}/health", status=200)
            yield url, front

    def client(self) -> "redis.Redis":
        """Open a client of the peer's Redis."""
        return redis.Redis.from_url(self.redis_url, decode_responses=True)


@contextmanager
def peer(directory: Path, **told: object) -> Iterator[Peer]:
    """Start a peer on a Redis that fsyncs each write, as ours does; `told`: its settings."""
    with redis_server(directory / "redis", environment=allocator.preloaded()) as server:
        inherited = inherited_environment()
        environment = {
            "PATH": inherited.get("PATH", ""),
            "PYTHONPATH": PROGRAMS.as_posix(),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": server.url,
            "API_KEY": API_KEY,
            **{name.upper(): str(value) for name, value in told.items()},
        }
        yield Peer(server.url, environment, directory)
