"""`darkroom up`: one command starts everything, keeps it running, and leaves nothing behind."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import answers_http, answers_ping, wait_until
from tests.e2e.up import DARKROOM, START_SECONDS, Up, as_list, clean_environment, gone, up
from tests.support.servers import redis_server

pytestmark = [
    pytest.mark.skipif(find_spec("api.main") is None, reason="there is no API to start yet"),
    pytest.mark.xdist_group("up"),
]


def refused(*arguments: str, environment: Mapping[str, str] | None = None, code: int = 2) -> str:
    """Start a stack that cannot start (2 is wrong words or settings), and give what it says."""
    ended = subprocess.run(
        [DARKROOM, "up", *arguments],
        env={**clean_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("up") / "data", "--no-demo", "--concurrency", "4") as running:
        yield running


def test_everything_that_stack_json_names_answers(stack: Up) -> None:
    state = stack.state
    # the API looks at Redis once a second
    wait_until(lambda: answers_http(f"{state['api']}/readyz", 200), "the API to be ready")
    assert answers_ping(int(state["redis_url"].split(":")[2].partition("/")[0]))
    assert answers_http(f"http://{state['s3']['endpoint']}/")
    assert answers_http(f"{state['provider_url']}/_sandbox/calls", 200)
    assert all(answers_http(url, 200) for url in state["metrics"])
    assert len(state["pids"]["worker"]) == 2
    assert {"api_key", "ops_key", "webhook_secret", "tenant"} <= state.keys()
    assert stat.S_IMODE((stack.data / "stack.json").stat().st_mode) == 0o600


def test_it_prints_a_link_to_the_playground_that_carries_the_local_key_and_no_other(
    stack: Up,
) -> None:
    link = f"{stack.state['api']}/#key={stack.state['api_key']}"

    def printed() -> bool:
        return any(
            line.split() == ["playground", link]
            for line in stack.child.log.read_text().splitlines()
        )

    wait_until(printed, "the link")
    for secret in ("ops_key", "webhook_secret"):
        assert stack.state[secret] not in stack.child.log.read_text()


@pytest.mark.parametrize("kind", ["api", "worker", "provider", "s3", "redis"])
def test_what_is_killed_is_replaced_on_the_same_port_and_written_down(stack: Up, kind: str) -> None:
    before = stack.state
    [killed, *_] = as_list(before["pids"][kind])
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in stack.pids, f"another {kind}", seconds=START_SECONDS)
    test_everything_that_stack_json_names_answers(stack)
    assert {**stack.state, "pids": None} == {**before, "pids": None}


def test_a_second_start_in_the_same_directory_is_refused(stack: Up) -> None:
    told = refused("--data", str(stack.data), code=1)
    assert f"pid {stack.child.pid}" in told
    assert stack.state["api"] in told


def test_a_taken_port_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused("--data", str(tmp_path / "data"), "--port", str(port), code=1)
    assert told.startswith(f"Port {port} is taken; ")


def test_data_that_cannot_be_repaired_are_named_with_what_to_do(tmp_path: Path) -> None:
    with redis_server(tmp_path / "data" / "redis"):
        pass
    log = tmp_path / "data" / "redis" / "appendonlydir"
    (log / "appendonly.aof.1.base.rdb").write_bytes(b"")
    told = refused("--data", str(tmp_path / "data"), "--port", str(free_port()), code=1)
    assert f"Redis cannot start: {log}/appendonly.aof.1.base.rdb is damaged" in told
    assert "deploy/runbooks/RedisLogDamaged.md" in told


@pytest.mark.slow
def test_stacks_that_start_in_the_same_moment_find_ports_of_their_own(tmp_path: Path) -> None:
    # without the sandbox a process less each
    told = {**clean_environment(), "DARKROOM_ONEMIN_API_KEY": "none"}
    with ExitStack() as running:
        stacks = []
        for name in ("one", "two", "three", "four"):
            command = [str(DARKROOM), "up", "--data", str(tmp_path / name), "--no-demo"]
            child = Child(command, tmp_path / f"{name}.out", environment=told, grace_seconds=30)
            stacks.append(Up(tmp_path / name, running.enter_context(child)))
        for stack in stacks:
            wait_until(lambda one=stack: one.ready, "stack.json", seconds=2 * START_SECONDS)  # type: ignore[misc]
        states = [stack.state for stack in stacks]
        assert len({state["api"] for state in states}) == len(stacks)
        assert all(answers_http(f"{state['api']}/healthz", 200) for state in states)
        assert not any("chosen again" in stack.child.log.read_text() for stack in stacks)


#: `darkroom up` where another program takes a port of Redis, then the API's, then a worker's,
#: after they were chosen and before they are listened on.
RACED = """
import socket, sys
from pathlib import Path
from sandbox.devstack import ports
from sandbox.devstack.plan import StackOptions
from sandbox.devstack.run import run
from sandbox.devstack.tenant import open_local_tenant
lost = []
def choose(remembered, *, requested, workers):
    chosen = ports.choose(remembered, requested=requested, workers=workers)
    wanted = (chosen.redis, chosen.api, chosen.metrics[-1])[len(lost) :]
    lost.extend(socket.create_server(("127.0.0.1", port)) for port in wanted[:1])
    return chosen
sys.exit(run(StackOptions(Path(sys.argv[1]), demo=False), open_local_tenant, choose))
"""


@pytest.mark.slow
def test_a_port_that_is_lost_before_it_is_listened_on_is_chosen_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACED, str(tmp_path / "data")]
    with Child(command, tmp_path / "out", environment=clean_environment()) as child:
        stack = Up(tmp_path / "data", child)
        wait_until(lambda: stack.ready, "stack.json", seconds=2 * START_SECONDS)
        test_everything_that_stack_json_names_answers(stack)
        said = child.log.read_text()
    for name in ("redis", "api", "deliver"):
        assert f"was taken by another program before {name} could listen on it." in said


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    wrong = {"DARKROOM_CONCURRENCY": "many"}
    told = refused("--data", str(tmp_path / "data"), environment=wrong)
    assert told.startswith("DARKROOM_CONCURRENCY is not usable")


def test_every_option_that_cannot_be_is_named(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    options = ("--provider", "1min", "--port", "0", "--workers", "0", "--concurrency", "-1")
    assert refused("--data", data, *options).splitlines() == [
        "DARKROOM_ONEMIN_API_KEY is missing.",
        "--port 0 is not a port: use a number from 1 to 65535.",
        "--workers 0 is not possible: use a number from 1 to 64.",
        "--concurrency -1 is not possible: use a number from 1 to 1000.",
    ]
    too_many = ("--workers", "65", "--concurrency", "1001")
    assert refused("--data", data, *too_many).splitlines() == [
        "--workers 65 is not possible: use a number from 1 to 64.",
        "--concurrency 1001 is not possible: use a number from 1 to 1000.",
    ]


def test_it_ends_with_0_and_leaves_nothing_and_comes_back_with_the_same_keys(
    tmp_path: Path,
) -> None:
    with up(tmp_path / "data") as first:
        before, pids = first.state, first.pids
        images = first.data / "images"
        wait_until(lambda: any(images.glob("*.webp")), "the image", seconds=START_SECONDS)
        [call] = asked_of_the_provider(before)
        assert first.child.stop() == 0, first.child.said()
        assert gone(pids)
        assert not (first.data / "stack.json").exists()
        [saved] = images.iterdir()
        with Image.open(saved) as image:
            image.load()
            assert image.format == "WEBP"
            said = (
                f"saved {saved}: image/webp, {image.width} × {image.height}, seed {call['seed']},"  # noqa: RUF001  a size
            )
            assert image.width / image.height == pytest.approx(16 / 9, rel=0.02)
        assert said in first.child.log.read_text()
    with up(tmp_path / "data", "--no-demo") as second:
        after = second.state
    for name in ("api_key", "ops_key", "webhook_secret", "s3", "redis_url", "provider_url"):
        assert after[name] == before[name]


def asked_of_the_provider(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = httpx.get(f"{state['provider_url']}/_sandbox/calls").json()["calls"]
    return [call for call in calls if call["kind"] == "generate"]


def test_ctrl_c_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = [str(DARKROOM), "up", "--data", str(data)]
    with Child(command, tmp_path / "out", environment=clean_environment()) as child:
        children = psutil.Process(child.pid).children
        wait_until(lambda: len(children()) > 2, "the first processes", seconds=START_SECONDS)
        pids = [process.pid for process in children()]
        child.send(signal.SIGINT)
        wait_until(lambda: not child.alive, "its end", seconds=START_SECONDS)
        assert child.stop() == 0, child.said()
        assert gone(pids)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_killed_9_it_leaves_nothing_behind_and_can_be_started_again(tmp_path: Path) -> None:
    with up(tmp_path / "data", "--no-demo") as stack:
        pids = stack.pids
        stack.child.kill()
        wait_until(lambda: gone(pids), "the end of all processes")
        stack.child.start()
        wait_until(lambda: stack.ready and not set(stack.pids) & set(pids), "a stack again")
