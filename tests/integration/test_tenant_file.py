"""`darkroom tenants export` and `apply`: tenants survive the loss of Redis, with their keys."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.wait import wait_until
from shared.api_keys import new_key, parse_key
from shared.model_catalog import DEFAULT_MODEL
from shared.settings import inherited_environment
from shared.store import endpoints, keys
from shared.store.api_keys import list_api_keys
from shared.store.audit import AuditContext, read_audit
from shared.store.tenants import authenticate
from tests.integration.conftest import Program
from tests.integration.test_commands import DARKROOM
from tests.support.models import KLEINS
from tests.support.store import World, memory_limit

URL = "https://shop.example.com/hooks"
OWN = "whsec_b3duLXNlY3JldC1vZi1vbmUtZW5kcG9pbnQtMTIzNA=="


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    with closing(World(empty_redis_url)) as opened:
        yield opened


@pytest.fixture
def passphrase(tmp_path: Path) -> str:
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery staple\n")
    return str(path)


def customers(program: Program, world: World) -> dict[str, str]:
    """Make two tenants and an operator; return their keys, and the first one's webhook secret."""
    shop = program.run_json("tenants", "create", "shop")
    limits = ("--weight", "2", "--max-running", "5", "--may-disable-safety")
    program.run_json(
        *("tenants", "set", "shop", *limits, "--monthly-credits", "900", "--models", *KLEINS)
    )
    expires = ("--label", "reports, 2027", "--expires-at", "2099-01-31T00:00:00Z")
    own = ("--monthly-credits", "500", "--requests-per-minute", "60", "--models", DEFAULT_MODEL)
    reports = program.run_json("keys", "create", "shop", "--scopes", "jobs:read", *expires, *own)
    revoked = program.run_json("keys", "create", "shop")
    program.run_json("keys", "revoke", "shop", revoked["id"])
    other = program.run_json("tenants", "create", "other")
    ops = program.run_json("ops-keys", "create", "--scopes", "ops:read")
    endpoint = world.store.run(
        endpoints.ensure_endpoint("shop", api_key="", url=URL, host="shop.example.com")
    )
    assert endpoint
    audit_context = AuditContext("test", "")
    world.store.run(endpoints.rotate_any_secret(audit_context, endpoint, OWN))
    return {
        "shop": shop["api_key"],
        "secret": shop["webhook_secret"],
        "reports": reports["key"],
        "revoked": revoked["key"],
        "other": other["api_key"],
        "ops": ops["key"],
    }


def exported(program: Program, path: Path, *words: str) -> str:
    code, out, wrong = program.run("tenants", "export", *words)
    assert (code, wrong) == (0, "")
    path.write_text(out)
    return out


def opens(world: World, text: str) -> tuple[str, list[str]] | None:
    """Return the holder and the scopes of a key, None if it opens nothing."""
    key = parse_key(text)
    assert key
    holder = world.store.run(authenticate(key.id))
    if holder is None or not key.matches(holder.key_hash):
        return None
    return holder.tenant, sorted(holder.scopes)


def assert_no_secret_in(text: str, held: dict[str, str]) -> None:
    keys_held = [parse_key(one) for one in held.values() if one.startswith("dk_")]
    for secret in (held["secret"], OWN, *(key.secret for key in keys_held if key)):
        assert secret not in text


def without_time(text: str) -> Any:
    facts = yaml.safe_load(text)
    return {name: value for name, value in facts.items() if name not in ("exported_at", "salt")}


def test_a_lost_redis_costs_no_customer_a_new_key(
    program: Program, world: World, tmp_path: Path, passphrase: str
) -> None:
    # given tenants in a file, and a Redis that has lost them
    held = customers(program, world)
    path = tmp_path / "tenants.yaml"
    sealed = exported(program, path, "--passphrase-file", passphrase)
    bare = exported(program, tmp_path / "bare.yaml")
    world.client.flushall()

    # when
    apply = ("tenants", "apply", str(path), "--passphrase-file", passphrase)
    rows = {row["tenant"]: row for row in program.run_json(*apply)["data"]}

    # then the same keys open the same
    assert opens(world, held["shop"]) == ("shop", ["jobs:read", "jobs:write"])
    assert opens(world, held["reports"]) == ("shop", ["jobs:read"])
    assert opens(world, held["revoked"]) is None
    assert opens(world, held["other"]) == ("other", ["jobs:read", "jobs:write"])
    assert opens(world, held["ops"]) == ("@operators", ["ops:read"])
    # and the same secrets sign
    read = endpoints.read_webhook_secret
    assert world.store.run(read("shop")) == held["secret"]
    page = world.store.run(endpoints.list_endpoints("shop", limit=10))
    (own,) = [one for one in page.endpoints if one.has_secret]
    assert (own.url, world.store.run(read("shop", endpoint_id=own.id))) == (URL, OWN)
    # and all else is as it was, the second time unchanged
    assert {row["change"] for row in rows.values()} == {"created", "changed"}
    assert without_time(exported(program, tmp_path / "again.yaml")) == without_time(bare)
    again = program.run_json(*apply)
    assert {row["change"] for row in again["data"]} == {"unchanged"}
    assert again["webhook_secrets"] == {}
    assert_no_secret_in(sealed + bare, held)
    actions = [entry.action for entry in world.store.run(read_audit(limit=50)).entries]
    assert (actions.count("tenant.create"), actions.count("key.create")) == (2, 4)


def test_a_new_tenant_without_a_secret_is_given_one(
    program: Program, world: World, tmp_path: Path
) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text("version: 1\ntenants:\n- name: shop\n  limits: {max_queued: 10}\n")

    planned = program.run_json("tenants", "apply", str(path), "--dry-run")
    assert (planned["data"][0]["change"], planned["webhook_secrets"]) == ("created", {})
    assert program.run_json("tenants", "list")["data"] == []

    code, out, wrong = program.run("tenants", "apply", str(path))

    assert (code, wrong) == (0, "")
    secret = world.store.run(endpoints.read_webhook_secret("shop"))
    assert out.splitlines()[-1] == f"new webhook secret of shop: {secret}"
    assert program.run_json("tenants", "show", "shop")["max_queued"] == 10
    path.write_text(
        f"version: 1\ntenants:\n- name: shop\n  limits: {{models: [{DEFAULT_MODEL}]}}\n"
    )
    changed = program.run_json("tenants", "apply", str(path))["data"][0]
    assert f"models={DEFAULT_MODEL}" in changed["limits"]
    assert not program.run_json("tenants", "show", "shop")["may_disable_safety"]


def test_limits_follow_the_file_and_nothing_else_goes(
    program: Program, world: World, tmp_path: Path
) -> None:
    held = customers(program, world)
    path = tmp_path / "tenants.yaml"
    path.write_text(
        json.dumps({"version": 1, "tenants": [{"name": "shop", "limits": {"max_running": 7}}]})
    )

    shop, operators = program.run_json("tenants", "apply", str(path))["data"]

    assert shop["limits"] == [
        "weight=1.0",
        "max_running=7",
        "monthly_credits=none",
        "models=none",
        "may_disable_safety=False",
    ]
    assert len(shop["keys_only_in_redis"]) == 2
    assert (operators["change"], len(operators["keys_only_in_redis"])) == ("unchanged", 1)
    assert opens(world, held["shop"])
    assert opens(world, held["other"])
    assert world.store.run(endpoints.read_webhook_secret("shop")) == held["secret"]


def test_keys_of_which_one_replaces_the_other_still_share_their_use(
    program: Program, world: World, tmp_path: Path
) -> None:
    program.run_json("tenants", "create", "shop")
    old = program.run_json("keys", "create", "shop")["id"]
    new = program.run_json("keys", "rotate", "shop", old)["id"]
    path = tmp_path / "tenants.yaml"
    exported(program, path)
    world.client.flushall()
    (row, _) = program.run_json("tenants", "apply", str(path))["data"]
    assert new in row["keys_added"]
    payers = {one.id: one.payer for one in world.store.run(list_api_keys("shop")) or ()}
    assert (payers[old], payers[new]) == (None, old)
    (row, _) = program.run_json("tenants", "apply", str(path))["data"]
    assert row["keys_differ"] == []


def test_keys_that_differ_are_named_and_stay(
    program: Program, world: World, tmp_path: Path
) -> None:
    held = customers(program, world)
    path = tmp_path / "tenants.yaml"
    facts = yaml.safe_load(exported(program, path))
    by_name = {tenant["name"]: tenant for tenant in facts["tenants"]}
    first, second = sorted(by_name["shop"]["keys"], key=lambda key: "expires_at" in key)
    first["scopes"] = ["jobs:read"]
    del second["expires_at"]
    (other,) = by_name["other"]["keys"]
    program.run_json("keys", "revoke", "other", other["id"])
    path.write_text(yaml.safe_dump(facts))

    rows = {row["tenant"]: row for row in program.run_json("tenants", "apply", str(path))["data"]}

    assert set(rows["shop"]["keys_differ"]) == {first["id"], second["id"]}
    assert rows["other"]["keys_differ"] == [other["id"]]
    assert opens(world, held["shop"]) == ("shop", ["jobs:read", "jobs:write"])
    assert world.store.run(list_api_keys("other"))[0].state == "revoked"  # type: ignore[index]


def test_the_file_is_written_whole_and_for_its_owner(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "tenants.yaml"
    assert program.run("tenants", "export", "--output", str(path))[0] == 3
    assert not path.exists()
    program.run_json("tenants", "create", "shop")
    assert program.run("tenants", "export", "--output", str(path)) == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one["name"] for one in yaml.safe_load(path.read_text())["tenants"]] == ["shop"]
    code, _, wrong = program.run("tenants", "export", "--output", str(tmp_path / "no" / "file"))
    assert (code, wrong.endswith("cannot be written: No such file or directory.\n")) == (2, True)


def test_a_file_to_which_the_output_is_redirected_keeps_what_it_has(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from cli.tenant_file import replace_file; "
        "replace_file(Path('/dev/stdout'), 'tenants\\n')"
    )
    with (tmp_path / "out").open("w") as out:
        for command in (["echo", "before"], [sys.executable, "-c", code], ["echo", "after"]):
            subprocess.run(command, stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\ntenants\nafter\n"


def test_the_file_is_written_through_a_link_and_never_in_place_of_a_pipe(
    program: Program, tmp_path: Path
) -> None:
    program.run_json("tenants", "create", "shop")
    # as another user of the folder could have made it
    (tmp_path / ".tenants.yaml.draft").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "latest.yaml").symlink_to("tenants.yaml")
    assert program.run("tenants", "export", "--output", str(tmp_path / "latest.yaml"))[0] == 0
    assert (tmp_path / "latest.yaml").is_symlink()
    assert "shop" in (tmp_path / "tenants.yaml").read_text()
    assert not (tmp_path / "elsewhere").exists()

    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert program.run("tenants", "export", "--output", str(tmp_path / "pipe")) == (0, "", "")
    assert b"shop" in os.read(reader, 10_000)
    os.close(reader)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("latest.yaml", "tenants.yaml", ".tenants.yaml.draft", "pipe")
    }


def test_a_redis_that_is_full_is_named_and_keeps_what_was_created(
    program: Program, world: World, tmp_path: Path
) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text("version: 1\ntenants: [{name: a}]\n")
    with memory_limit(world.client, 1):
        code, out, wrong = program.run("tenants", "apply", str(path))
        assert (code, out) == (4, "")
        assert "Free memory, then run it again." in wrong
        assert program.run("image-urls", "rotate", "--overlap-seconds", "0")[0] == 0
    assert set(program.run_json("tenants", "apply", str(path))["webhook_secrets"]) == {"a"}


def test_a_key_of_somebody_else_stops_all(program: Program, world: World, tmp_path: Path) -> None:
    held = customers(program, world)
    path = tmp_path / "tenants.yaml"
    facts = yaml.safe_load(exported(program, path))
    by_name = {tenant["name"]: tenant for tenant in facts["tenants"]}
    (key,) = by_name["other"]["keys"]
    by_name["shop"]["keys"][0]["hash"] = "0" * 64
    by_name["new"] = {"name": "new", "keys": [key]}
    by_name["other"]["keys"] = []
    path.write_text(yaml.safe_dump({**facts, "tenants": list(by_name.values())}))

    code, out, wrong = program.run("tenants", "apply", str(path))

    assert (code, out) == (3, "")
    shop = by_name["shop"]["keys"][0]["id"]
    assert wrong.splitlines() == [
        f"The key {shop} of shop has a different secret in the file.",
        f"The key {key['id']} of new belongs to other.",
        "Nothing was changed.",
    ]
    assert [one["name"] for one in program.run_json("tenants", "list")["data"]] == ["other", "shop"]
    assert opens(world, held["other"])


HASH = "a" * 64
KEY = f"{{id: abcdefghjkmn, hash: {HASH}, scopes: ['jobs:read']}}"
DAY = f"{{id: abcdefghjkmn, hash: {HASH}, expires_at: 2027-01-31}}"
TWICE = ", ".join(f"{{url: 'https://x.example/a?{n}', secret: {OWN}}}" for n in (1, 2))
FTP = f"{{url: 'ftp://x', secret: {OWN}}}"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", ["the file must be an object"]),
        ("version: 1", ["/tenants is required"]),
        ("version: 2\ntenants: []", ["/version must be one of: 1"]),
        ("version: 1\ntenants: [", ["is not valid YAML: line 2, column 11:"]),
        ("version: 1\nversion: 1\ntenants: []", ["line 2, column 1: version appears twice"]),
        ("version: 1\ntenants: [{name: 'a:b'}]", ["/tenants/0/name must have 1 to 64"]),
        (
            "version: 1\ntenants: [{name: a, limits: {max_runing: 1}, keys: [{id: A}]}]",
            [
                "/tenants/0/limits/max_runing is unknown; did you mean max_running?",
                "/tenants/0/keys/0/id must match the pattern ^[",
                "/tenants/0/keys/0/hash is required",
            ],
        ),
        ("version: 1\ntenants: [{name: a, limits: {weight: -1}}]", ["weight must be at least"]),
        ("version: 1\ntenants: [{name: a}, {name: a}]", ["the tenant a appears 2 times"]),
        (
            f"version: 1\ntenants: [{{name: a, webhook_endpoints: [{TWICE}]}}]",
            ["the endpoint https://x.example/a of a appears 2 times"],
        ),
        (
            "version: 1\ntenants: [{name: a, webhook_secret: whsec_========================}]",
            ["/tenants/0/webhook_secret must be `whsec_`"],
        ),
        (
            "version: 1\ntenants: [{name: a, webhook_secret: 'sealed:gAAA'}]",
            ["has sealed secrets and no `salt`"],
        ),
        ("version: 1\ntenants: &a [*a]", ["has a value or a name that cannot be read"]),
        (
            "version: 1\nexported_at: 2027-02-30\ntenants: []",
            ["has a value or a name that cannot be read"],
        ),
        ("version: 1\n2027-02-03: 1\ntenants: []", ["has a value or a name that cannot be read"]),
        (
            "version: 1\ntenants: !!int whsec_topsecret",
            ["has a value or a name that cannot be read"],
        ),
        (
            f"version: 1\ntenants: [{{name: a, keys: [{KEY}]}}, {{name: b, keys: [{KEY}]}}]",
            ["the key abcdefghjkmn appears 2 times"],
        ),
        (
            f"version: 1\ntenants: []\nops_keys: [{KEY}]",
            ["/ops_keys/0/scopes must be one of ops:read, ops:write"],
        ),
        (
            "version: 1\ntenants: [{name: a, webhook_secret: short}]",
            ["/tenants/0/webhook_secret must be `whsec_` and the base64 of 24 to 64 bytes"],
        ),
        (
            f"version: 1\ntenants: [{{name: a, webhook_endpoints: [{FTP}]}}]",
            ["/tenants/0/webhook_endpoints/0/url must begin with http:// or https://"],
        ),
        (
            f"version: 1\ntenants: [{{name: a, keys: [{DAY}]}}]",
            ["/tenants/0/keys/0/expires_at"],
        ),
    ],
)
def test_a_wrong_file_is_refused_with_every_fault(
    program: Program, tmp_path: Path, text: str, sentences: list[str]
) -> None:
    path = tmp_path / "tenants.yaml"
    path.write_text(text)

    code, out, wrong = program.run("tenants", "apply", str(path))

    assert (code, out) == (2, "")
    for line, sentence in zip(wrong.splitlines(), sentences, strict=True):
        assert line.startswith(str(path))
        assert sentence in line
    assert program.run_json("tenants", "list")["data"] == []


def test_sealed_secrets_need_their_passphrase(
    program: Program, world: World, tmp_path: Path, passphrase: str
) -> None:
    held = customers(program, world)
    path = tmp_path / "tenants.yaml"
    exported(program, path, "--passphrase-file", passphrase)
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.write_text("\n")
    other.write_text("another")
    world.client.flushall()
    apply = ("tenants", "apply", str(path))
    for words, sentence in (
        ((), "has sealed webhook secrets: name the file of the passphrase"),
        (("--passphrase-file", str(other)), "does not open the secrets of this file"),
        (("--passphrase-file", str(empty)), "is empty"),
        (("--passphrase-file", str(tmp_path / "none")), "cannot be read: No such file"),
    ):
        code, out, wrong = program.run(*apply, *words)
        assert (code, out) == (2, "")
        assert sentence in wrong
    assert program.run("tenants", "apply", str(tmp_path / "none"))[0] == 2

    created = program.run_json(*apply, "--no-secrets")["webhook_secrets"]

    assert set(created) == {"other", "shop"}
    assert held["secret"] not in created.values()


def killed_after(tenants: int, world: World, redis_url: str, *words: str) -> int:
    """Run the program until Redis has so many tenants, and kill it; return how many there are."""
    environment = {**inherited_environment(), "DARKROOM_REDIS_URL": redis_url}
    with subprocess.Popen([DARKROOM, *words], env=environment, stdout=subprocess.DEVNULL) as killed:
        wait_until(lambda: count_tenants(world) >= tenants, "some tenants", pause=0.001)
        killed.send_signal(signal.SIGKILL)
    return count_tenants(world)


def count_tenants(world: World) -> int:
    return int(world.client.zcard(keys.tenants()))


def test_apply_can_be_repeated_after_it_was_killed(
    program: Program, world: World, tmp_path: Path, empty_redis_url: str
) -> None:
    # given a file of 300 tenants, and an apply that is killed after some of them
    made = {f"tenant-{number}": new_key() for number in range(300)}
    tenants = [
        {"name": name, "keys": [{"id": key.id, "hash": key.hash}], "limits": {"max_running": 3}}
        for name, key in made.items()
    ]
    path = tmp_path / "tenants.yaml"
    path.write_text(json.dumps({"version": 1, "tenants": tenants}))
    apply = ("tenants", "apply", str(path))
    for _ in range(10):
        world.client.flushall()
        if 20 <= killed_after(20, world, empty_redis_url, *apply) < len(made):
            break
    else:
        pytest.fail("apply ended before it could be killed, ten times")

    # when
    rows = program.run_json(*apply)["data"]

    # then each is there once, with its key
    assert {"created", "unchanged"} <= {row["change"] for row in rows}
    assert len(program.run_json("tenants", "list")["data"]) == len(made)
    for name, key in made.items():
        assert opens(world, key.text) == (name, ["jobs:read", "jobs:write"])
    assert {row["change"] for row in program.run_json(*apply)["data"]} == {"unchanged"}
