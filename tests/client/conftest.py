"""One running stack for all that is tried of the client and the program."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

import darkroom
from darkroom.cli import main
from shared.settings import inherited_environment
from tests.e2e.up import Up, clean_environment, up
from tests.support.tls import TLS


class Ended(NamedTuple):
    """What became of the program."""

    returncode: int
    stdout: str
    stderr: str


#: Runs the program with these words; keywords are further variables of its environment.
Run = Callable[..., Ended]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    data = tmp_path_factory.mktemp("client") / "data"
    with up(data, "--no-demo", "--concurrency", "8") as running:
        yield running


@pytest.fixture(scope="session")
def environment(stack: Up) -> dict[str, str]:
    state = stack.state
    return {
        **clean_environment(),
        "DARKROOM_URL": state["api"],
        "DARKROOM_API_KEY": state["api_key"],
        "DARKROOM_OPS_KEY": state["ops_key"],
    }


@pytest.fixture
def client(stack: Up) -> Iterator[darkroom.Client]:
    with darkroom.Client(stack=stack.data / "stack.json") as client:
        yield client


@pytest.fixture
def run(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run the program in a folder of its own, in this process: starting one costs half a second."""
    for name in inherited_environment().keys() - environment.keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def program(*words: object, **more: str) -> Ended:
        capsys.readouterr()
        with monkeypatch.context() as patched:
            for name, value in more.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main([str(word) for word in words])
        told = capsys.readouterr()
        return Ended(int(ended.value.code or 0), told.out, told.err)

    return program


class Sandbox:
    """What the provider was asked, and how it behaves."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, verify=TLS)

    def paid(self) -> int:
        """Count the calls that were billed."""
        calls: list[dict[str, Any]] = self._client.get("/_sandbox/calls").json()["calls"]
        return sum(1 for call in calls if call["paid"])

    def behave(self, **behavior: Any) -> None:
        self._client.put("/_sandbox/behavior", json=behavior).raise_for_status()

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def sandbox(stack: Up) -> Iterator[Sandbox]:
    sandbox = Sandbox(stack.state["provider_url"])
    sandbox.behave(latency_seconds=0.02)
    yield sandbox
    sandbox.behave(latency_seconds=0.02)
    sandbox.close()


@pytest.fixture
def at_home(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder of one's own, with the service in the environment."""
    for name in ("DARKROOM_URL", "DARKROOM_API_KEY"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.chdir(tmp_path)
    return tmp_path
