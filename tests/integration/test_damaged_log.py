"""Valkey's append-only file after a power loss: repaired at its end, and nowhere else."""

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from sandbox.devstack.aof import FOLDER, MANIFEST, RUNBOOK, DamagedLog, repair
from sandbox.servers import valkey_program
from tests.support.servers import redis_server

KEYS = 100
VALUE = b"v" * 200
SET = b"*3\r\n$3\r\nSET\r\n$4\r\ntorn\r\n$5\r\nvalue\r\n"
MULTI, EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"

TAILS = {
    "one zero": bytes(1),
    "zeros": bytes(5000),
    "garbage": bytes(range(128, 256)) * 20,
    "garbage that begins as a command": b"*3\xff\x01",
    "garbage that begins as an annotation": b"#\xff\x01\r\nSET",
    "a count without arguments": b"*3\r\n",
    "a length that no memory has": b"*1\r\n$9999999999\r\nSET",
    "a torn command": SET[:-3],
    "a command whose end is zeros": SET[:-6] + bytes(6),
    "a command, then zeros": SET[:-2] + bytes(4096),
    "a torn transaction": MULTI + SET + SET[:9],
    "a transaction without its end": MULTI + SET + SET,
    "a transaction whose end is zeros": MULTI + SET + bytes(len(EXEC)),
    "a torn annotation": b"#TS:17290",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the data of a Valkey that was stopped."""
    with (
        redis_server(tmp_path / "redis", "--appendfsync", "no") as server,
        redis.Redis.from_url(server.url) as client,
    ):
        for number in range(KEYS):
            with client.pipeline(transaction=number % 2 == 0) as pipeline:
                pipeline.set(f"key-{number}", VALUE)
                pipeline.incr("count")
                pipeline.execute()
    return tmp_path / "redis"


def log_of(folder: Path) -> Path:
    return folder / FOLDER / "appendonly.aof.1.incr.aof"


def base_of(folder: Path) -> Path:
    return folder / FOLDER / "appendonly.aof.1.base.rdb"


def everything(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of the data."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def starts_with_everything(folder: Path) -> None:
    with redis_server(folder) as server, redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == KEYS + 1
        assert client.get("count") == str(KEYS).encode()
        client.set("after", 1)
    with redis_server(folder) as server, redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == KEYS + 2


def refused(folder: Path, why: str) -> None:
    before = everything(folder)
    with pytest.raises(DamagedLog, match=why):
        repair(folder, valkey_program())
    assert everything(folder) == before


def test_a_log_that_is_whole_is_left_alone(folder: Path) -> None:
    before = everything(folder)
    assert repair(folder, valkey_program()) is None
    assert everything(folder) == before


def test_annotations_between_commands_are_no_damage(folder: Path) -> None:
    annotated = b"#TS:1729000000\r\n" + log_of(folder).read_bytes() + b"#TS:1729000009\r\n"
    log_of(folder).write_bytes(annotated)
    assert repair(folder, valkey_program()) is None
    starts_with_everything(folder)
    log_of(folder).write_bytes(annotated + bytes(100))
    cut = repair(folder, valkey_program())
    assert cut
    assert cut.size == 100


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS.keys())
def test_what_a_power_loss_left_at_the_end_is_cut_and_a_copy_kept(
    folder: Path, tail: bytes
) -> None:
    # given
    log = log_of(folder)
    whole = log.read_bytes()
    log.write_bytes(whole + tail)
    # when
    cut = repair(folder, valkey_program())
    # then
    assert cut
    assert log.read_bytes() == whole
    assert cut.copy.read_bytes() == whole + tail
    assert cut.size == len(tail)
    assert f"its last {len(tail)} bytes were cut" in str(cut)
    assert str(cut.copy) in str(cut)
    starts_with_everything(folder)


def test_an_end_that_was_never_written_is_cut_where_the_last_file_is_empty(folder: Path) -> None:
    whole = log_of(folder).read_bytes()
    log_of(folder).write_bytes(whole + bytes(50))
    name = "appendonly.aof.2.incr.aof"
    (folder / FOLDER / name).touch()
    with (folder / FOLDER / MANIFEST).open("a") as manifest:
        manifest.write(f"file {name} seq 2 type i\n")
    assert repair(folder, valkey_program())
    assert log_of(folder).read_bytes() == whole
    starts_with_everything(folder)


def test_a_log_that_is_nothing_but_zeros_leaves_an_empty_one(tmp_path: Path) -> None:
    with redis_server(tmp_path):
        pass
    log_of(tmp_path).write_bytes(bytes(8192))
    cut = repair(tmp_path, valkey_program())
    assert cut
    assert cut.size == 8192
    with redis_server(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("damage", [bytes(300), b"$9999\r\n", b"\xff\r\n*1\r\n"])
def test_nothing_is_cut_while_commands_follow_the_damage(folder: Path, damage: bytes) -> None:
    log = bytearray(log_of(folder).read_bytes())
    at = log.index(b"*3\r\n", len(log) // 2)
    log[at : at + len(damage)] = damage
    log_of(folder).write_bytes(log)
    refused(folder, rf"damaged at byte {at}, and whole commands follow")


def test_a_length_that_swallows_the_rest_of_the_log_is_no_torn_end(folder: Path) -> None:
    log = bytearray(log_of(folder).read_bytes())
    at = log.index(b"$200\r\n", len(log) // 2)
    log[at : at + 4] = b"$999999"
    log_of(folder).write_bytes(log)
    refused(folder, "whole commands follow")


def test_a_damaged_file_that_is_not_the_last_is_refused(folder: Path) -> None:
    log = log_of(folder)
    second = log.with_name("appendonly.aof.2.incr.aof")
    second.write_bytes(SET)
    with (folder / FOLDER / MANIFEST).open("a") as manifest:
        manifest.write(f"file {second.name} seq 2 type i\n")
    log.write_bytes(log.read_bytes()[:-3])
    refused(folder, "is not the last file")


@pytest.mark.parametrize("change", ["cut", "flipped", "longer", "zeros", "empty"])
def test_a_damaged_snapshot_is_refused(folder: Path, change: str) -> None:
    content = base_of(folder).read_bytes()
    flipped = content[:20] + bytes([content[20] ^ 1]) + content[21:]
    changed = {
        "cut": content[:-4],
        "flipped": flipped,
        "longer": content + bytes(64),
        "zeros": bytes(len(content)),
        "empty": b"",
    }
    base_of(folder).write_bytes(changed[change])
    refused(folder, r"base\.rdb is damaged")


@pytest.mark.parametrize("content", [b"", bytes(88), b"\xff\xfe", b"file what\n"])
def test_a_damaged_list_of_files_is_refused(folder: Path, content: bytes) -> None:
    (folder / FOLDER / MANIFEST).write_bytes(content)
    refused(folder, MANIFEST)


def test_data_without_its_list_of_files_is_not_taken_for_a_first_start(folder: Path) -> None:
    (folder / FOLDER / MANIFEST).unlink()
    refused(folder, "holds data, but .* is missing")


def test_a_first_start_that_was_cut_off_before_its_list_of_files_is_one_still(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path):
        pass
    (tmp_path / FOLDER / MANIFEST).unlink()
    assert repair(tmp_path, valkey_program()) is None
    assert repair(tmp_path / "empty", valkey_program()) is None
    with redis_server(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == 0


def test_a_file_that_the_list_names_and_is_missing_is_refused(folder: Path) -> None:
    log_of(folder).unlink()
    refused(folder, "is missing, and .* names it")


def test_the_list_of_files_that_the_runbook_has_brings_the_data_back(folder: Path) -> None:
    runbook = (Path(__file__).parents[2] / RUNBOOK).read_text("utf-8")
    written = re.findall(r"^file \S+ seq \d+ type .$", runbook, re.MULTILINE)
    assert len(written) > 1
    (folder / FOLDER / MANIFEST).write_text("\n".join(written) + "\n")
    assert repair(folder, valkey_program()) is None
    starts_with_everything(folder)


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """Let this process write no larger file, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nothing_is_cut_where_no_copy_can_be_kept(folder: Path) -> None:
    log_of(folder).write_bytes(log_of(folder).read_bytes() + bytes(10))
    with no_file_over(10_000):
        refused(folder, "that failed: File too large")
    assert repair(folder, valkey_program())
    starts_with_everything(folder)
