"""The commands that the service adds to the `darkroom` program."""

import getpass
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli import build
from shared.keys import parse_key
from shared.settings import inherited_environment
from shared.store.audit import read_audit
from shared.store.opening import open_tenant
from shared.store.tenants import authenticate
from tests.store import World

DARKROOM = Path(sys.executable).with_name("darkroom")


def darkroom(*words: str, redis_url: str) -> subprocess.CompletedProcess[str]:
    environment = {**inherited_environment(), "DARKROOM_REDIS_URL": redis_url}
    return subprocess.run(
        [DARKROOM, *words], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_tenant_is_made_with_keys_that_open(empty_redis_url: str) -> None:
    ended = darkroom("tenants", "create", "shop", redis_url=empty_redis_url)

    assert ended.returncode == 0, ended.stderr
    told = dict(line.split("  ", 1) for line in ended.stdout.splitlines())
    key = parse_key(told["api key"].strip())
    assert key is not None
    world = World(empty_redis_url)
    holder = world.store.run(authenticate(key.id))
    assert holder is not None
    assert (holder.tenant, key.matches(holder.key_hash)) == ("shop", True)
    world.close()


class Program:
    """The program without a process of its own: starting one costs more than what it does."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        """Give the exit code, and what was written to stdout and stderr."""
        try:
            build()(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        else:
            code = 0
        return (code, *self._capsys.readouterr())

    def told(self, *words: str) -> Any:
        code, out, wrong = self.run(*words, "--json")
        assert code == 0, wrong
        return json.loads(out)


@pytest.fixture
def program(
    empty_redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Program:
    monkeypatch.setenv("DARKROOM_REDIS_URL", empty_redis_url)
    return Program(capsys)


@pytest.mark.parametrize(
    ("url", "exit_code", "sentence"),
    [
        ("redis://127.0.0.1:9/0", 4, "Redis did not do it: Redis is not reachable. Check DARKROOM"),
        ("http://127.0.0.1", 2, "DARKROOM_REDIS_URL is not usable"),
    ],
)
def test_a_redis_that_is_away_is_said_in_a_sentence(
    program: Program, monkeypatch: pytest.MonkeyPatch, url: str, exit_code: int, sentence: str
) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", url)
    code, out, wrong = program.run("tenants", "create", "shop")
    assert (code, out) == (exit_code, "")
    assert wrong.startswith(sentence)


def test_keys_are_made_listed_replaced_and_revoked(program: Program) -> None:
    program.told("tenants", "create", "shop")
    scopes = ("--scopes", "jobs:read", "--label", "reports")
    made = program.told("keys", "create", "shop", *scopes)
    assert (made["scopes"], made["label"]) == (["jobs:read"], "reports")
    later = program.told("keys", "rotate", "shop", made["id"])
    assert (later["scopes"], later["label"]) == (["jobs:read"], "reports")
    program.told("keys", "revoke", "shop", later["id"])

    listed = program.told("keys", "list", "shop")["data"]

    states = {key["id"]: (key["state"], key["replaced_by"]) for key in listed}
    assert states[made["id"]] == ("living", later["id"])
    assert states[later["id"]] == ("revoked", None)
    assert not any("key" in key or "hash" in key for key in listed)


def test_what_a_tenant_may_is_set_and_shown(program: Program) -> None:
    program.told("tenants", "create", "shop")
    limits = ("--weight", "2.5", "--max-running", "3", "--budget-action", "hold")
    program.told("tenants", "set", "shop", *limits)
    again = program.told("tenants", "set", "shop", "--max-running", "none")
    assert (again["weight"], again["max_running"], again["budget_action"]) == (2.5, None, "hold")
    assert again == program.told("tenants", "show", "shop")
    assert program.told("tenants", "list")["data"] == [again]
    plain = program.run("tenants", "list")[1].splitlines()
    assert [line.split()[0] for line in plain] == ["name", "shop"]


def test_what_the_program_changed_is_in_the_audit(program: Program, empty_redis_url: str) -> None:
    program.told("tenants", "create", "shop")
    program.told("tenants", "set", "shop", "--weight", "2")
    with closing(World(empty_redis_url)) as world:
        entries = world.store.run(read_audit(limit=10))
    assert [entry.action for entry in entries] == [
        *("tenant.set", "key.create", "key.create", "tenant.create")
    ]
    assert {entry.by for entry in entries} == {f"cli:{getpass.getuser()}"}
    assert entries[0].detail == {"weight": 2.0}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("tenants create a:b", "A tenant's name must have"),
        ("tenants show nobody", "There is no tenant nobody."),
        ("tenants set nobody --weight 2", "There is no tenant nobody."),
        ("tenants set shop", "Name what to change, such as --weight 2."),
        ("tenants set shop --weight much", "--weight must be a number."),
        ("keys list nobody", "There is no tenant nobody."),
        ("keys create nobody", "There is no such tenant."),
        ("keys create shop --scopes jobs:all", "--scopes must be one of"),
        ("keys create shop --label \udcff", "--label is not valid Unicode"),
        (
            "keys create shop --expires-at 2020-01-01T00:00:00Z",
            "--expires-at must be in the future.",
        ),
        ("keys rotate shop 000000000000", "There is no such key."),
        ("keys revoke shop 000000000000", "The tenant shop has no key 000000000000."),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    program: Program, empty_redis_url: str, words: str, sentence: str
) -> None:
    with closing(World(empty_redis_url)) as world:
        open_tenant(world.store, "shop", by="test")
    code, out, wrong = program.run(*words.split())
    # no such thing is refused; words that cannot be are a matter of usage
    assert (code, out) == (3 if " no " in sentence else 2, "")
    assert wrong.startswith(sentence)
