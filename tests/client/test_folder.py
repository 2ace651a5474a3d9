"""A file of prompts made into a folder, killed half way and run again."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from sandbox.wait import wait_until
from tests.client.conftest import Run, Sandbox
from tests.e2e.up import DARKROOM

pytestmark = pytest.mark.xdist_group("client")


def prompts(path: Path, count: int) -> Path:
    rows = "".join(f'"Boat {n}, at sea",0.25,{n}\n' for n in range(count))
    path.write_text(f"prompt,megapixels,seed\n{rows}")
    return path


def saved_images(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.webp"))


def check_whole(folder: Path, count: int) -> None:
    files = saved_images(folder)
    assert [int(file.name[:4]) for file in files] == list(range(1, count + 1))
    assert files[0].name == "0001-boat-0-at-sea.webp"
    for file in files:
        with Image.open(file) as image:
            image.load()
    left = {path.name for path in folder.iterdir()} - {file.name for file in files}
    assert left == {".darkroom.jsonl"}


@contextmanager
def running(
    environment: dict[str, str], source: Path, out: Path
) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(DARKROOM), "generate", "--from", str(source), "--out", str(out)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def kill_and_finish(
    environment: dict[str, str], run: Run, sandbox: Sandbox, tmp_path: Path, count: int
) -> None:
    """Kill the program at once and half way; then let it finish."""
    source, out = prompts(tmp_path / "prompts.csv", count), tmp_path / "out"
    paid = sandbox.paid()
    for share in (0.0, 0.5):
        least = int(count * share)
        with running(environment, source, out) as program:
            wait_until(
                lambda least=least: (
                    (out / ".darkroom.jsonl").exists()  # type: ignore[misc]
                    and len(saved_images(out)) >= least
                ),
                f"{least} images",
                seconds=count,
            )
            os.kill(program.pid, signal.SIGKILL)
    ended = run("generate", "--from", source, "--out", out)
    assert ended.returncode == 0, ended.stderr
    check_whole(out, count)
    assert sandbox.paid() == paid + count
    # and once more there is nothing left to do
    again = run("generate", "--from", source, "--out", out)
    assert (again.returncode, again.stdout) == (0, "")
    assert sandbox.paid() == paid + count


def test_killed_again_and_again_it_repeats_nothing_and_pays_for_nothing_twice(
    environment: dict[str, str], run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.behave(latency_seconds=0.3)
    kill_and_finish(environment, run, sandbox, tmp_path, 30)


@pytest.mark.long
def test_a_thousand_prompts_killed_half_way_are_a_thousand_images_and_calls(
    environment: dict[str, str], run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    kill_and_finish(environment, run, sandbox, tmp_path, 1000)


def test_lines_that_are_added_are_made_and_no_others(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    source, out = tmp_path / "prompts.txt", tmp_path / "out"
    source.write_text("A gull\n\nA crab\n")
    assert run("generate", "--from", source, "--out", out).returncode == 0
    paid = sandbox.paid()
    source.write_text("A whale\nA crab\nA gull\nA gull\n")
    ended = run("generate", "--from", source, "--out", out)
    assert [Path(line).name for line in sorted(ended.stdout.splitlines())] == [
        "0003-a-whale.webp",
        "0004-a-gull.webp",
    ]
    assert sandbox.paid() == paid + 2
    # what was thrown away is fetched again, unpaid
    (out / "0001-a-gull.webp").unlink()
    assert run("generate", "--from", source, "--out", out).stdout.endswith("0001-a-gull.webp\n")
    assert sandbox.paid() == paid + 2


def test_a_fault_is_named_by_its_line_and_nothing_is_asked_for(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    paid, source, out = sandbox.paid(), tmp_path / "prompts.jsonl", tmp_path / "out"
    source.write_text('{"prompt": "A gull"}\n\n{"prompt": "A crab", "megapixel": "1"}\n')
    ended = run("generate", "--from", source, "--out", out)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "prompts.jsonl, line 3, member `megapixel`: " in ended.stderr
    source.write_text('{"prompt": "A gull"}\n{"prompt": "A crab"}\n')
    assert run("generate", "--from", source, "--out", out).returncode == 0
    assert (len(saved_images(out)), sandbox.paid()) == (2, paid + 2)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("p.jsonl", '{"prompt": "x", "seed": NaN}\n', "line 1"),
        ("p.csv", 'prompt,seed\n"A pier,7\nA gull,8\n', "line 2"),
        ("p.csv", f"prompt\n{'a' * 131_073}\n", "line 2"),
        ("p.csv", "prompt,seed,prompt\na,1,b\n", "line 1"),
        ("p.csv", "prompt,seed\na,-1\n", "line 2"),
    ],
)
def test_a_file_with_a_fault_leaves_nothing_in_the_way_of_the_next_run(
    run: Run, sandbox: Sandbox, tmp_path: Path, name: str, text: str, line: str
) -> None:
    paid, source, out = sandbox.paid(), tmp_path / name, tmp_path / "out"
    source.write_text(text)
    ended = run("generate", "--from", source, "--out", out)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{name}, {line}" in ended.stderr
    assert "Traceback" not in ended.stderr
    source.write_text({".csv": "prompt,seed\nx,7.0\n"}.get(source.suffix, '{"prompt": "x"}'))
    assert run("generate", "--from", source, "--out", out).returncode == 0
    assert (len(saved_images(out)), sandbox.paid()) == (1, paid + 1)


def test_a_prompt_may_have_a_line_separator_of_unicode(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    paid, source = sandbox.paid(), tmp_path / "p.txt"
    source.write_bytes("A pier at \u2028dusk\nA gull\x0bflies\n".encode())
    ended = run("generate", "--from", source, "--out", tmp_path / "out")
    assert (ended.returncode, sandbox.paid()) == (0, paid + 2), ended.stderr
    assert len(saved_images(tmp_path / "out")) == 2


def test_what_failed_is_said_and_tried_again_when_asked_for(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    source, out = tmp_path / "prompts.txt", tmp_path / "out"
    source.write_text("A gull\nA crab\n")
    sandbox.behave(default={"fault": "status", "status": 400})
    ended = run("generate", "--from", source, "--out", out)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "2 of 2 images could not be generated." in ended.stderr
    sandbox.behave(latency_seconds=0.02)
    assert run("generate", "--from", source, "--out", out).returncode == 1
    ended = run("generate", "--from", source, "--out", out, "--retry-failed")
    assert (ended.returncode, len(saved_images(out))) == (0, 2)


def test_variations_of_one_prompt_are_as_many_seeds(run: Run, tmp_path: Path) -> None:
    ended = run("generate", "A gull", "--variations", "3", "--out", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len({file.name for file in saved_images(tmp_path)}) == 3
