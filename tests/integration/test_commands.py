"""The commands that the service adds to the `darkroom` program."""

import getpass
import json
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import insert, inspect, update
from sqlalchemy.engine import make_url

from cli.admin import PRICES_UNKNOWN
from darkroom.cli import build
from shared.api_keys import parse_key
from shared.history.tables import REVISION, archiver
from shared.model_catalog import DEFAULT_MODEL
from shared.provider_keys import ProviderKey
from shared.settings import inherited_environment
from shared.store import bulk, keys
from shared.store.audit import AuditContext, read_audit
from shared.store.image_urls import create_signing_key, read_signing_keys
from shared.store.maintenance import report_signal
from shared.store.provisioning import provision_tenant
from shared.store.tenants import authenticate
from shared.store.transitions import Signal
from tests.contract.test_admission import everything
from tests.integration.conftest import Program
from tests.support.api_server import served, settings
from tests.support.history import database_at
from tests.support.models import CATALOG
from tests.support.postgres import PostgresServer
from tests.support.provider_keys import SEAL_KEY, add
from tests.support.store import World
from worker.eraser import Eraser

DARKROOM = Path(sys.executable).with_name("darkroom")


def darkroom(*words: str, redis_url: str) -> subprocess.CompletedProcess[str]:
    environment = {**inherited_environment(), "DARKROOM_REDIS_URL": redis_url}
    return subprocess.run(
        [DARKROOM, *words], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_tenant_is_made_with_keys_that_open(empty_redis_url: str) -> None:
    ended = darkroom("tenants", "create", "shop", redis_url=empty_redis_url)

    assert ended.returncode == 0, ended.stderr
    run_json = dict(line.split("  ", 1) for line in ended.stdout.splitlines())
    assert set(run_json) == {"tenant", "api key", "webhook secret"}
    key = parse_key(run_json["api key"].strip())
    assert key is not None
    world = World(empty_redis_url)
    holder = world.store.run(authenticate(key.id))
    assert holder is not None
    assert (holder.tenant, key.matches(holder.key_hash)) == ("shop", True)
    world.close()


@pytest.mark.parametrize(
    ("url", "exit_code", "sentence"),
    [
        ("redis://127.0.0.1:9/0", 4, "The command failed: Redis is not reachable. Check DARKROOM"),
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


def test_a_password_that_redis_refuses_is_named_and_not_shown(
    program: Program, monkeypatch: pytest.MonkeyPatch, empty_redis_url: str
) -> None:
    url = empty_redis_url.replace("redis://", "redis://nobody:Hunter2secret@")
    monkeypatch.setenv("DARKROOM_REDIS_URL", url)
    code, out, wrong = program.run("tenants", "list")
    assert (code, out) == (4, "")
    assert "Redis refuses the user or the password of DARKROOM_REDIS_URL." in wrong
    assert "Hunter2" not in wrong


def test_a_database_that_redis_has_not_is_named(
    program: Program, monkeypatch: pytest.MonkeyPatch, empty_redis_url: str
) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", f"{empty_redis_url.rsplit('/', 1)[0]}/99")
    code, out, wrong = program.run("tenants", "list")
    assert (code, out) == (4, "")
    assert "Redis has no database of the number at the end of DARKROOM_REDIS_URL." in wrong


def test_keys_are_made_listed_replaced_and_revoked(program: Program) -> None:
    program.run_json("tenants", "create", "shop")
    scopes = ("--scopes", "jobs:read", "--label", "reports")
    made = program.run_json("keys", "create", "shop", *scopes)
    assert (made["scopes"], made["label"]) == (["jobs:read"], "reports")
    later = program.run_json("keys", "rotate", "shop", made["id"])
    assert (later["scopes"], later["label"]) == (["jobs:read"], "reports")
    program.run_json("keys", "revoke", "shop", later["id"])

    listed = program.run_json("keys", "list", "shop")["data"]

    states = {key["id"]: (key["state"], key["replaced_by"]) for key in listed}
    assert states[made["id"]] == ("living", later["id"])
    assert states[later["id"]] == ("revoked", None)
    assert not any("key" in key or "hash" in key for key in listed)


def test_limits_of_a_key_are_made_changed_and_shown(program: Program) -> None:
    program.run_json("tenants", "create", "shop")
    limits = ("--monthly-credits", "500", "--requests-per-minute", "60")
    made = program.run_json("keys", "create", "shop", *limits)
    assert (made["monthly_credits"], made["requests_per_minute"]) == (500, 60)
    words = ("keys", "set", "shop", made["id"])
    changed = program.run_json(*words, "--requests-per-minute", "none")
    assert (changed["monthly_credits"], changed["requests_per_minute"]) == (500, None)
    assert changed in program.run_json("keys", "list", "shop")["data"]
    code, out, _ = program.run(*words, "--monthly-credits", "0.5")
    assert (code, "? of 0.5 in this month" in out) == (0, True)


def test_what_a_tenant_may_is_set_and_shown(program: Program) -> None:
    program.run_json("tenants", "create", "shop")
    limits = ("--weight", "2.5", "--max-running", "3", "--budget-action", "hold")
    program.run_json("tenants", "set", "shop", *limits)
    again = program.run_json("tenants", "set", "shop", "--max-running", "none")
    assert (again["weight"], again["max_running"], again["budget_action"]) == (2.5, None, "hold")
    assert again == program.run_json("tenants", "show", "shop")
    assert program.run_json("tenants", "list")["data"] == [again]
    plain = program.run("tenants", "list")[1].splitlines()
    assert [line.split()[0] for line in plain] == ["name", "shop"]


def test_what_the_program_changed_is_in_the_audit(program: Program, empty_redis_url: str) -> None:
    program.run_json("tenants", "create", "shop")
    program.run_json("tenants", "set", "shop", "--weight", "2")
    with closing(World(empty_redis_url)) as world:
        entries = world.store.run(read_audit(limit=10)).entries
    assert [entry.action for entry in entries] == [*("tenant.set", "key.create", "tenant.create")]
    assert {entry.by for entry in entries} == {f"cli:{getpass.getuser()}"}
    assert entries[0].detail == {"weight": 2.0}


def test_a_tenant_is_deleted_once_its_name_is_repeated(
    program: Program, empty_redis_url: str
) -> None:
    program.run_json("tenants", "create", "shop")
    key = program.run_json("keys", "list", "shop")["data"][0]["id"]
    begun = program.run_json("tenants", "delete", "shop", "--confirm", "shop")
    assert (begun["status"], begun["deleted"]) == ("running", 0)
    with closing(World(empty_redis_url)) as world:
        assert not world.client.exists(keys.api_key(key))
        world.client.zadd(keys.erasures(), {begun["id"]: 1})
        assert Eraser(world.store, None, world.store.now_ms).erase()
    assert program.run("tenants", "show", "shop")[0] == 3  # it also reads what the worker logged
    assert program.run_json("tenants", "erasure", begun["id"])["status"] == "done"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("tenants create a:b", "A tenant's name must have"),
        ("tenants create shop", "There is a tenant shop already; `darkroom keys create shop`"),
        ("tenants show a:b", "There is no tenant a:b."),
        ("tenants show nobody", "There is no tenant nobody."),
        ("tenants set nobody --weight 2", "There is no tenant nobody."),
        ("tenants delete nobody --confirm nobody", "There is no tenant nobody."),
        ("tenants delete shop", "This deletes the jobs, images, keys and history of shop"),
        ("tenants erasure erasure_1", "There is no erasure erasure_1; it is kept for 30 days."),
        ("tenants set shop", "Name what to change, such as --weight 2."),
        ("tenants set shop --weight much", "--weight must be a number."),
        ("tenants show ''", "The name of a tenant must have 1 to 64 of A-Z"),
        (
            "tenants set shop --record-retention-seconds 100 --image-retention-seconds 500",
            "--image-retention-seconds must be at most `record_retention_seconds` (100): an image",
        ),
        ("keys list nobody", "There is no tenant nobody."),
        ("keys create nobody", "There is no such tenant."),
        ("keys create @operators", "There is no tenant @operators."),
        ("keys list @operators", "There is no tenant @operators."),
        ("keys set shop 000000000000", "Name what to change, such as --monthly-credits 500."),
        (
            "keys set shop 000000000000 --monthly-credits x --requests-per-minute -1",
            "--monthly-credits must be a number.\n--requests-per-minute must be at least 0.",
        ),
        ("keys set shop 000000000000 --monthly-credits 1", "The tenant shop has no key 00000"),
        ("keys revoke nobody 000000000000", "The tenant nobody has no key 000000000000."),
        ("keys rotate nobody 000000000000", "There is no such tenant."),
        ("ops-keys create --scopes jobs:read", "--scopes must be one of ops:read, ops:write"),
        ("ops-keys rotate 000000000000", "There is no such key."),
        ("ops-keys revoke 000000000000", "There is no ops key 000000000000."),
        ("keys create shop --scopes jobs:all", "--scopes must be one of"),
        ("keys create shop --scopes", "--scopes names no scope."),
        ("ops-keys create --scopes", "--scopes names no scope."),
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
        provision_tenant(world.store, "shop", by="test")
        before = everything(world)
    code, out, wrong = program.run(*shlex.split(words))
    # what there is (not) is refused; words that cannot be are a matter of usage
    assert (code, out) == (3 if sentence.startswith(("There is ", "The tenant")) else 2, "")
    assert wrong.startswith(sentence)
    with closing(World(empty_redis_url)) as world:
        assert everything(world) == before


def test_ops_keys_are_made_listed_replaced_and_revoked(
    program: Program, empty_redis_url: str
) -> None:
    made = program.run_json("ops-keys", "create", "--label", "console")
    reader = program.run_json("ops-keys", "create", "--scopes", "ops:read")
    later = program.run_json("ops-keys", "rotate", made["id"])
    assert program.run_json("ops-keys", "revoke", later["id"]) == {"revoked": later["id"]}

    states = {one["id"]: one["state"] for one in program.run_json("ops-keys", "list")["data"]}

    assert states == {made["id"]: "living", reader["id"]: "living", later["id"]: "revoked"}
    assert (made["scopes"], reader["scopes"]) == (["ops:read", "ops:write"], ["ops:read"])
    assert later["label"] == "console"
    assert program.run_json("tenants", "list")["data"] == []
    with closing(World(empty_redis_url)) as world:
        actions = [entry.action for entry in world.store.run(read_audit(limit=10)).entries]
    assert actions == ["key.revoke", "key.rotate", "key.create", "key.create"]


def start_api(redis_url: str, prices: Mapping[str, float]) -> None:
    """Let an API with these prices start and end."""
    with served(settings(redis_url, credits_per_image=prices)):
        pass


def test_commands_use_the_prices_of_the_api_and_not_of_their_environment(
    program: Program, empty_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_CREDITS_PER_IMAGE", f"{DEFAULT_MODEL}=1")
    program.run_json("tenants", "create", "shop")
    words = ("tenants", "set", "shop", "--daily-credits", "1")

    code, out, warned = program.run(*words)
    assert (code, "daily credits" in out) == (0, True)
    assert warned == f"{PRICES_UNKNOWN}\n"
    assert program.run_json(*words)["warnings"] == [PRICES_UNKNOWN]

    start_api(empty_redis_url, {})
    assert "does nothing: no price is set" in program.run(*words)[2]
    monkeypatch.delenv("DARKROOM_CREDITS_PER_IMAGE")
    start_api(empty_redis_url, {DEFAULT_MODEL: 1})
    assert "has no price for it" in program.run(*words)[2]
    start_api(empty_redis_url, dict.fromkeys(CATALOG, 1.0))
    shown = program.run_json(*words)
    assert (shown["warnings"], shown["budgets"][0]["used"]) == ([], 0)
    key = program.run_json("keys", "create", "shop", "--monthly-credits", "5")
    assert key["budgets"][0]["left"] == 5
    assert program.run("tenants", "set", "shop", "--daily-credits", "none")[2] == ""


class Doctor:
    """`darkroom doctor` where nothing but Redis is there."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def found(self, *checks: str) -> list[dict[str, Any]]:
        """Look, and return the findings of these checks."""
        code, out, wrong = self._program.run("doctor", "--json")
        assert code == 1, wrong
        found = [one for one in json.loads(out)["findings"] if one["check"] in checks]
        assert {one["check"] for one in found} >= set(checks) - {"budgets"}
        return found

    def wrong(self, *checks: str) -> list[str]:
        """Look, and return what is said by those of these checks that are not well."""
        found = [one for one in self.found(*checks) if not one["well"]]
        assert all(one["advice"] for one in found)
        return [one["message"] for one in found]


@pytest.fixture
def doctor(program: Program, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.setenv("DARKROOM_S3_ENDPOINT", "127.0.0.1:9")
    monkeypatch.setenv("DARKROOM_PUBLIC_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("DARKROOM_ONEMIN_API_KEY", raising=False)
    return Doctor(program)


OF_THE_SERVICE = ("queue generate", "queue deliver", "gate", "webhooks", "budgets")


def test_the_doctor_finds_nothing_wrong_with_a_service_that_flows(doctor: Doctor) -> None:
    assert doctor.wrong(*OF_THE_SERVICE) == []


def test_the_doctor_sees_what_holds_jobs_and_webhooks(doctor: Doctor, empty_redis_url: str) -> None:
    with closing(World(empty_redis_url)) as world:
        signal = Signal.hold_team(ProviderKey("k", "red", ""), 60, needed=10, has=1)
        world.store.run(report_signal(signal))
        world.store.run(bulk.pause(AuditContext("test", ""), "deliver"))
        world.client.hset(keys.counts(), "endpoints_failing", 2)
        says = doctor.wrong(*OF_THE_SERVICE)
        world.store.run(bulk.pause(AuditContext("test", ""), "generate"))
        paused = doctor.wrong("queue generate")

    assert says[0].startswith("Paused since ")
    assert says[1:] == [
        "Team red is on hold: provider_credits (needs 10 credits, has 1).",
        "Failing endpoints: 2, disabled: 0; deliveries that wait for them: 0.",
    ]
    assert paused[0].startswith("Paused since ")


def test_the_doctor_sees_stored_keys_that_are_paused_or_do_not_open(
    doctor: Doctor, empty_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_ONEMIN_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DARKROOM_SEAL_KEYS", SEAL_KEY)
    assert doctor.wrong("stored provider keys") == ["No provider key is set."]
    with closing(World(empty_redis_url)) as world:
        key_id = add(world, "secret-key-1234", seal_key=f"another-{SEAL_KEY}")
        world.store.run(bulk.pause_provider_key(AuditContext("test", ""), key_id))
        assert doctor.wrong("gate", "stored provider keys") == [
            "The provider key …1234 is paused.",
            f"The stored key {key_id} cannot be opened with DARKROOM_SEAL_KEYS.",
        ]
        add(world, "secret-key-1234")
        [says] = doctor.wrong("stored provider keys")
    assert says.startswith(f"Key {key_id} (…1234) could not be checked")


def test_the_doctor_names_stored_keys_that_need_an_old_seal_key(
    doctor: Doctor, empty_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_ONEMIN_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DARKROOM_SEAL_KEYS", f"new-{SEAL_KEY},{SEAL_KEY}")
    with closing(World(empty_redis_url)) as world:
        key_id = add(world, "secret-key-1234")
        add(world, "secret-key-5678", seal_key=f"new-{SEAL_KEY}")
    said = [one["message"] for one in doctor.found("stored provider keys") if one["well"]]
    assert len(said) == 1
    assert said[0].startswith(f"The stored key {key_id} is not sealed with the first of")


def test_the_doctor_says_how_the_egress_proxy_fails(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_EGRESS_PROXY", "http://127.0.0.1:9")
    assert doctor.wrong("egress proxy") == [
        "The egress proxy 127.0.0.1:9 cannot be reached (ConnectionRefusedError)."
    ]


def test_the_doctor_sees_a_budget_without_a_price(doctor: Doctor, empty_redis_url: str) -> None:
    with closing(World(empty_redis_url)) as world:
        provision_tenant(world.store, "shop", by="test", limits={"daily_credits": 1})
        provision_tenant(world.store, "unlimited", by="test")

    assert doctor.wrong("budgets") == []  # no API has recorded its prices
    start_api(empty_redis_url, {DEFAULT_MODEL: 1})
    (says,) = doctor.wrong("budgets")
    assert says.startswith("Tenant shop: `daily_credits` does not count ")
    start_api(empty_redis_url, dict.fromkeys(CATALOG, 1.0))
    assert doctor.wrong("budgets") == []


def test_the_doctor_checks_the_history_and_creates_nothing(
    doctor: Doctor, history_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.wrong("history") == []
    monkeypatch.setenv("DARKROOM_HISTORY_URL", history_url)
    path = make_url(history_url).database
    empty = {
        "sqlite": f"The file {path} does not exist yet.",
        "postgresql": f"It has no schema yet; this version needs {REVISION}.",
    }

    for _ in range(2):
        assert doctor.wrong("history") == [empty[make_url(history_url).get_backend_name()]]
    with closing(database_at(history_url)) as database, database.writing():
        pass  # migrates the schema
    assert doctor.wrong("history") == []


@pytest.fixture
def migrated_url(history_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A history with its schema, which the commands use."""
    monkeypatch.setenv("DARKROOM_HISTORY_URL", history_url)
    monkeypatch.setenv("DARKROOM_HISTORY_TIMEOUT_SECONDS", "1")
    with closing(database_at(history_url)) as database, database.writing():
        pass
    return history_url


def test_the_doctor_sees_a_history_that_is_locked_or_of_a_later_version(
    doctor: Doctor, migrated_url: str
) -> None:
    with closing(database_at(migrated_url)) as database:
        with database.writing() as connection:
            connection.execute(insert(archiver).values(one=1, term=1))
        with database.writing() as connection:
            connection.execute(update(archiver).values(term=2))
            (locked,) = doctor.wrong("history")
        with database.writing() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    (later,) = doctor.wrong("history")

    assert re.search("locked|timeout", locked)
    assert later.startswith("Its schema 9999 is of a later version of Darkroom;")


def test_the_doctor_sees_a_postgresql_that_may_not_be_written(
    doctor: Doctor, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create("history")
    monkeypatch.setenv("DARKROOM_HISTORY_URL", url)
    with closing(database_at(url)) as database, database.writing():
        pass
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data")
        monkeypatch.setenv("DARKROOM_HISTORY_URL", url.replace("postgres@", "reader@"))
        refused = doctor.wrong("history")
        connection.execute("ALTER DATABASE history SET default_transaction_read_only = on")
    monkeypatch.setenv("DARKROOM_HISTORY_URL", url)
    read_only = doctor.wrong("history")
    monkeypatch.setenv("DARKROOM_HISTORY_URL", "postgresql://u:Hunter2secret@127.0.0.1:9/history")
    (away,) = doctor.wrong("history")

    assert refused == ["permission denied for table archiver"]
    assert read_only == ["cannot execute UPDATE in a read-only transaction"]
    assert "port 9 failed" in away
    assert "Hunter2" not in away


def test_the_doctor_sees_a_path_of_the_history_that_cannot_be(
    doctor: Doctor, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_HISTORY_URL", f"sqlite:///{tmp_path}/away/history.db")
    assert doctor.wrong("history") == [f"The folder {tmp_path}/away does not exist."]
    monkeypatch.setenv("DARKROOM_HISTORY_URL", "sqlite:///history.db")
    code, _, wrong = program.run("doctor")
    assert code == 2
    assert "needs the absolute path of a file" in wrong


def test_the_doctor_sees_jobs_that_do_not_move_to_the_history(
    doctor: Doctor, empty_redis_url: str
) -> None:
    with closing(World(empty_redis_url)) as world:
        now = time.time() * 1000
        world.client.zadd(keys.archive_due(), {"job_waits": now - 899_000})
        assert doctor.wrong("history") == []
        world.client.zadd(keys.archive_due(), {"job_waits": now - 1_000_000})
        (behind,) = doctor.wrong("history")

    assert re.fullmatch(
        r"The database has failed, or final jobs have waited for it, for 10\d\d s\.", behind
    )


def test_the_doctor_looks_at_everything_whatever_is_away(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", "redis://:w%40rd@127.0.0.1:9/0")
    monkeypatch.setenv("DARKROOM_HISTORY_URL", "postgresql://127.0.0.1:9/history")
    away = (
        "redis",
        "clock of redis",
        "workers",
        "service",
        "history",
        "storage",
        "provider",
        "api",
    )
    assert len(doctor.wrong(*away, "clock of storage")) == 9


def stack_at(path: Path, redis_url: str) -> Path:
    """Write a stack.json as `darkroom up` does."""
    s3 = dict.fromkeys(("endpoint", "bucket", "access_key", "secret_key"), "127.0.0.1")
    content = {"api": "http://127.0.0.1:9", "api_key": "k", "redis_url": redis_url, "s3": s3}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "provider_url": "http://127.0.0.1:9"}))
    return path


def test_commands_find_a_running_stack_as_the_client_does(
    program: Program, empty_redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    here = "redis://127.0.0.1:9/0"
    monkeypatch.delenv("DARKROOM_REDIS_URL")
    named = stack_at(tmp_path / "a stack" / "stack.json", empty_redis_url)
    # what is named goes before what is found
    stack_at(tmp_path / ".darkroom" / "stack.json", here)
    monkeypatch.setenv("DARKROOM_STACK", str(named))
    program.run_json("tenants", "create", "shop")
    assert program.run_json("keys", "list", "shop")["data"]
    assert program.run_json("ops-keys", "list")["data"] == []
    # without a name, what runs in this folder
    monkeypatch.delenv("DARKROOM_STACK")
    assert program.run("tenants", "list")[0] == 4
    stack_at(tmp_path / ".darkroom" / "stack.json", empty_redis_url)
    assert len(program.run_json("tenants", "list")["data"]) == 1
    # and a Redis of its own goes before both
    monkeypatch.setenv("DARKROOM_STACK", str(named))
    monkeypatch.setenv("DARKROOM_REDIS_URL", here)
    assert program.run("tenants", "list")[0] == 4


@pytest.mark.parametrize("words", ["tenants list", "keys list shop", "ops-keys list", "doctor"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        ("{", "it is not what `darkroom up` wrote"),
        ("[]", "it is not what `darkroom up` wrote"),
        ('{"redis_url": 5}', "it is not what `darkroom up` wrote"),
    ],
)
def test_a_stack_that_cannot_be_read_is_named_in_a_sentence(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: str,
    content: str | None,
    why: str,
) -> None:
    path = tmp_path / "stack.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.delenv("DARKROOM_REDIS_URL")
    monkeypatch.setenv("DARKROOM_STACK", str(path))

    code, out, wrong = program.run(*words.split())

    assert (code, out) == (2, "")
    assert wrong == f"{path} cannot be read ({why}). Start `darkroom up`, which writes it.\n"


def test_data_of_another_schema_is_neither_read_nor_changed(
    program: Program, empty_redis_url: str
) -> None:
    with redis.Redis.from_url(empty_redis_url) as client:
        client.set(keys.schema(), 1)
        for words in (("tenants", "create", "x"), ("tenants", "list"), ("ops-keys", "create")):
            code, out, wrong = program.run(*words)
            assert (code, out) == (3, "")
            assert "has schema 1" in wrong
        assert client.keys("*") == [keys.schema().encode()]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("api --port 99999", "65535"),
        ("api --host nohost.invalid", "cannot listen on nohost.invalid port 8000"),
        ("api --forwarded-allow-ips nonsense", "nonsense"),
        ("worker other", "generate"),
        ("worker generate --threads 0", "1"),
        ("worker generate --name a@b", "letters, digits"),
        ("sandbox --port 99999", "99999"),
    ],
)
def test_a_wrong_flag_of_a_process_is_named_and_ends_with_2(
    program: Program, words: str, wrong: str
) -> None:
    code, _, said = program.run(*words.split())
    assert code == 2
    assert wrong in said


@pytest.mark.parametrize(
    ("words", "queue"),
    [("worker deliver", "deliver"), ("worker --queue deliver", "deliver"), ("worker", "generate")],
)
def test_a_worker_takes_its_queue_by_place_or_by_name(words: str, queue: str) -> None:
    _, arguments, _ = build().parse_args(words.split())
    arguments.apply_defaults()
    assert arguments.arguments["queue"] == queue


def test_a_port_that_is_taken_is_named(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, said = program.run("api", "--port", str(port))
    assert (code, said) == (
        2,
        f"The API cannot listen on 127.0.0.1 port {port}: Address already in use.\n",
    )


def test_the_schema_of_the_history_is_migrated_back_and_forth(
    program: Program, monkeypatch: pytest.MonkeyPatch, history_url: str
) -> None:
    monkeypatch.setenv("DARKROOM_HISTORY_URL", history_url)
    assert program.run("history", "schema") == (0, f"none; this version needs {REVISION}\n", "")
    assert program.run("history", "upgrade")[0] == 0
    with closing(database_at(history_url)) as database:
        assert inspect(database.engine).has_table("audit")

        code, said, _ = program.run("history", "downgrade", "0003")

        assert (code, said) == (0, f"0003; this version needs {REVISION}\n")
        assert not inspect(database.engine).has_table("audit")
        code, _, said = program.run("history", "downgrade", "0009")
        assert code == 2
        assert said == (
            "0009 is not a schema before the present one, 0003: use one of 0001, 0002.\n"
        )
        assert (
            program.run("history", "upgrade")[1] == f"{REVISION}; this version needs {REVISION}\n"
        )
        assert inspect(database.engine).has_table("audit")


def test_the_schema_of_no_history_cannot_be_migrated(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = "DARKROOM_HISTORY_URL is not set: there is no history.\n"
    assert program.run("history", "upgrade") == (2, "", wrong)
    monkeypatch.setenv("DARKROOM_HISTORY_URL", f"sqlite:///{tmp_path}/none/history.db")
    code, _, said = program.run("history", "schema")
    assert (code, said.partition(":")[0]) == (4, "The history is unavailable")


def test_image_urls_are_revoked_with_and_without_an_overlap(
    program: Program, empty_redis_url: str
) -> None:
    with closing(World(empty_redis_url)) as world:
        create_signing_key(world.client)
        (first,) = world.store.run(read_signing_keys())

        program.run_json("image-urls", "rotate", "--overlap-seconds", "60")
        second, *earlier = world.store.run(read_signing_keys())
        assert earlier == [first]
        program.run_json("image-urls", "rotate")
        third, *earlier = world.store.run(read_signing_keys())
        assert set(earlier) == {first, second}
        program.run_json("image-urls", "rotate", "--overlap-seconds", "60")
        late = world.client.zcount(keys.old_signing_keys(), time.time() * 1000 + 61_000, "+inf")
        assert late == 0
        program.run_json("image-urls", "rotate", "--overlap-seconds", "0")

        (last,) = world.store.run(read_signing_keys())
        assert last not in (first, second, third)
        assert program.run("image-urls", "rotate", "--overlap-seconds", "-1")[0] == 2
        entries = world.store.run(read_audit(limit=10)).entries
        assert [entry.action for entry in entries] == ["image_urls.rotate"] * 4
