"""What the stack keeps in its directory."""

import os
import stat
from pathlib import Path

import pytest

from sandbox.devstack.directory import (
    AlreadyRuns,
    BadDirectory,
    locked,
    note_address,
    prepare,
    read_json,
    write_json,
)
from sandbox.devstack.keys import (
    TenantKeys,
    s3_keys,
    save_tenant_keys,
    set_damaged_aside,
    tenant_keys,
)


def test_what_is_written_is_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    write_json(path, {"number": 1})
    write_json(path, {"number": 2})
    assert read_json(path) == {"number": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_empty_and_a_broken_one_is_named(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") == {}
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(BadDirectory, match=r"broken\.json cannot be read"):
        read_json(tmp_path / "broken.json")


def test_a_second_start_is_refused_with_the_pid_and_address_of_the_first(tmp_path: Path) -> None:
    directory = prepare(tmp_path / "data")
    with locked(directory):
        note_address(directory, "http://127.0.0.1:8000")
        with pytest.raises(AlreadyRuns, match=rf"pid {os.getpid()}\) at http://127"):
            locked(directory).__enter__()
    with locked(directory):
        pass


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadDirectory, match="Name another with --data"):
        prepare(tmp_path / "file" / "data")
    with pytest.raises(BadDirectory, match=r"~nobody-here/x cannot be used: .* Name another"):
        prepare(Path("~nobody-here/x"))


def test_a_file_that_finds_no_room_is_named_and_the_one_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_json(path, {"number": 1})
    (tmp_path / ".keys.json.new").mkdir()  # in the way of the new one
    with pytest.raises(BadDirectory, match=r"keys\.json cannot be written: .* --data"):
        write_json(path, {"number": 2})
    assert read_json(path) == {"number": 1}


def test_a_lock_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(BadDirectory, match="lock cannot be written"):
        locked(tmp_path).__enter__()


def test_keys_are_made_once(tmp_path: Path) -> None:
    assert s3_keys(tmp_path) == s3_keys(tmp_path)
    assert tenant_keys(tmp_path) is None
    made = TenantKeys("local", "dk_a", "dk_o", "whsec_x")
    save_tenant_keys(tmp_path, made)
    assert tenant_keys(tmp_path) == made
    assert len(s3_keys(tmp_path).secret_key) == 40


@pytest.mark.parametrize(
    "content",
    ["", '{"s3": {"acc', "\0" * 200, "[]", '{"s3": "what?"}', '{"tenant": {"api_key": 1}}'],
)
def test_keys_that_no_stack_wrote_are_kept_aside_for_new_ones(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    aside = set_damaged_aside(tmp_path)
    assert aside is not None
    assert aside.read_text() == content
    assert tenant_keys(tmp_path) is None
    assert s3_keys(tmp_path) == s3_keys(tmp_path)
    assert set_damaged_aside(tmp_path) is None


def test_a_stack_that_has_stopped_leaves_no_pid_behind(tmp_path: Path) -> None:
    directory = prepare(tmp_path / "data")
    with locked(directory):
        assert (directory / "running.json").exists()
    assert not (directory / "running.json").exists()


def test_a_holder_that_cannot_be_read_is_no_reason_to_start_twice(tmp_path: Path) -> None:
    directory = prepare(tmp_path / "data")
    with locked(directory):
        (directory / "running.json").write_text("\0")
        with pytest.raises(AlreadyRuns, match="pid unknown"):
            locked(directory).__enter__()
