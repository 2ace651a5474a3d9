"""Provider keys over HTTP and from the command line."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.provider_keys import ProviderKey, read_key
from shared.sealing import Seal
from shared.store import keys, maintenance
from shared.store.provider_keys import read_stored_keys, remove_provider_key
from tests.integration.conftest import Program
from tests.support.api_server import (
    ApiServer,
    client_of,
    pointers,
    problem,
    served,
    settings,
    tenant_at,
)
from tests.support.provider_keys import SEAL_KEY, add, values_of
from tests.support.provider_keys import operator as operator_of_tests
from worker.key_pool import KeyPool

PATH = "/ops/v1/provider-keys"
SECRET = "onemin-key-of-operators-1234"
ID = read_key(SECRET).id


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    with served(settings(redis_url, seal_keys=SEAL_KEY)) as url:
        yield url


def register(api_server: ApiServer, *own: ProviderKey) -> None:
    api_server.world.store.run(maintenance.register_keys(own))


def test_a_key_is_added_listed_paused_resumed_and_removed(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    added = operator.post(PATH, json={"key": SECRET, "team": "red", "label": "second"})
    assert added.status_code == 201
    shown = added.json()
    assert shown.pop("created_at")
    assert shown == {
        "id": ID,
        "masked": "…1234",
        "team": "red",
        "label": "second",
        "source": "stored",
        "state": "active",
        "held_by": None,
        "dead_since": None,
        "paused_at": None,
        "last_seen_at": None,
    }
    changed = operator.post(PATH, json={"key": f" {SECRET}\n", "label": "third"})
    assert changed.status_code == 200
    assert (changed.json()["label"], changed.json()["team"]) == ("third", "red")
    paused = operator.post(f"{PATH}/{ID}/pause").json()
    assert (paused["state"], paused["held_by"]) == ("paused", "paused")
    assert paused["paused_at"]
    assert operator.post(f"{PATH}/{ID}/resume").json()["state"] == "active"
    listed = operator.get(PATH)
    assert listed.headers["cache-control"] == "no-store"
    assert [one["id"] for one in listed.json()["data"]] == [ID]
    assert operator.get("/ops/v1/queues").json()["gate"]["keys"] == listed.json()["data"]
    assert operator.delete(f"{PATH}/{ID}").status_code == 204
    assert operator.get(PATH).json() == {"data": []}
    for answer in (
        operator.delete(f"{PATH}/{ID}"),
        operator.post(f"{PATH}/{ID}/pause"),
        operator.post(f"{PATH}/{ID}/resume"),
    ):
        problem(answer, 404, "not_found")
    assert [
        (one["action"], one["target"]) for one in operator.get("/ops/v1/audit").json()["data"][:5]
    ] == [
        ("provider_key.remove", ID),
        ("provider_key.resume", ID),
        ("provider_key.pause", ID),
        ("provider_key.change", ID),
        ("provider_key.add", ID),
    ]


def test_no_value_in_redis_shows_an_added_key(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    operator.post(PATH, json={"key": SECRET}).raise_for_status()
    operator.post(PATH, json={"key": SECRET, "label": "again"}).raise_for_status()
    found = list(values_of(api_server.world.client))
    assert any(ID in text for text in found)
    assert not [text for text in found if SECRET in text]
    operator.delete(f"{PATH}/{ID}").raise_for_status()
    assert not any('"sealed"' in text for text in values_of(api_server.world.client))


def test_a_key_of_the_environment_is_paused_but_not_removed(
    api_server: ApiServer, operator: httpx.Client
) -> None:
    register(api_server, ProviderKey("own", "own", "secret-of-own"))
    assert operator.get(PATH).json()["data"][0]["source"] == "environment"
    assert operator.post(f"{PATH}/own/pause").json()["state"] == "paused"
    refused = problem(operator.delete(f"{PATH}/own"), 409, "key_in_environment")
    assert "DARKROOM_ONEMIN_API_KEY" in refused["detail"]


def test_the_states_of_keys_are_told_apart(api_server: ApiServer, operator: httpx.Client) -> None:
    own = [ProviderKey(one, one, "secret") for one in ("active", "held", "rejected")]
    operator.post(PATH, json={"key": SECRET}).raise_for_status()
    api_server.world.store.run(maintenance.register_keys(own, [ID]))
    later = int(api_server.world.store.now_ms()) + 60_000
    api_server.world.client.hset(keys.gate(), "hold:provider_rate:key:held", later)
    api_server.world.client.hset(keys.gate(), "dead:rejected", 1)
    shown = {one["id"]: (one["state"], one["held_by"]) for one in operator.get(PATH).json()["data"]}
    assert shown == {
        "active": ("active", None),
        "held": ("held", "provider_rate"),
        "rejected": ("rejected", "provider_auth"),
        ID: ("unreadable", None),
    }


def test_every_fault_of_a_body_is_named_and_shows_no_key(operator: httpx.Client) -> None:
    wrong = {"key": "team:key", "team": "a b", "label": "\n", "colour": 1}
    refused = operator.post(PATH, json=wrong)
    assert pointers(refused) == {"/key", "/team", "/label", "/colour"}
    assert "team:key" not in refused.text
    for key in ("", " ", "a,b", "“curly”", None, 5):
        assert pointers(operator.post(PATH, json={"key": key})) == {"/key"}
    assert operator.get(PATH).json() == {"data": []}


def test_only_operators_who_may_write_change_keys(
    api_server: ApiServer, operator: httpx.Client, program: Program
) -> None:
    reader = program.run_json("ops-keys", "create", "--scopes", "ops:read")["key"]
    with client_of(api_server.url, reader) as client:
        assert client.get(PATH).is_success
        problem(client.post(PATH, json={"key": SECRET}), 403, "forbidden")
        problem(client.delete(f"{PATH}/{ID}"), 403, "forbidden")
    problem(api_server.client.get(PATH), 403, "forbidden")


def test_without_a_seal_key_no_key_is_stored(redis_url: str, empty_redis_url: str) -> None:
    with (
        served(settings(redis_url)) as url,
        tenant_at(url, empty_redis_url) as api_server,
        client_of(url, api_server.credentials.ops_key) as operator,
    ):
        refused = problem(operator.post(PATH, json={"key": SECRET}), 409, "seal_key_missing")
        assert "DARKROOM_SEAL_KEYS" in refused["detail"]
        assert operator.get(PATH).json() == {"data": []}


def test_the_program_adds_lists_pauses_and_removes_keys(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n", "utf-8")
    words = ("provider-keys", "add", str(file))
    code, _, wrong = program.run(*words)
    assert (code, "DARKROOM_SEAL_KEYS" in wrong) == (2, True)
    monkeypatch.setenv("DARKROOM_SEAL_KEYS", SEAL_KEY)
    added = program.run_json(*words, "--label", "second")
    assert (added["id"], added["source"], added["label"]) == (ID, "stored", "second")
    # from standard input
    monkeypatch.setattr(sys, "stdin", io.StringIO(SECRET))
    assert program.run_json("provider-keys", "add", "--team", "red")["team"] == "red"
    assert program.run_json("provider-keys", "pause", ID)["state"] == "paused"
    assert program.run_json("provider-keys", "resume", ID)["state"] == "active"
    code, out, _ = program.run("provider-keys", "list")
    assert (code, SECRET in out, "…1234" in out) == (0, False, True)
    assert program.run_json("provider-keys", "remove", ID) == {"removed": ID}
    for verb in ("remove", "pause", "resume"):
        code, _, wrong = program.run("provider-keys", verb, ID)
        assert (code, f"There is no provider key {ID}" in wrong) == (3, True)


def test_the_program_seals_stored_keys_with_the_first_seal_key(
    api_server: ApiServer, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, lost = "a-new-seal-key-of-the-tests-01234567", "a-lost-seal-key-of-the-tests-0123456"
    world = api_server.world
    old_id, new_id = add(world, SECRET), add(world, "a-key-sealed-with-new", seal_key=new)
    lost_id = add(world, "a-key-sealed-with-lost", seal_key=lost)
    monkeypatch.setenv("DARKROOM_SEAL_KEYS", f"{new},{SEAL_KEY}")

    code, out, wrong = program.run("provider-keys", "reseal", "--json")
    assert (code, f"None of DARKROOM_SEAL_KEYS opens {lost_id}" in wrong) == (3, True)
    done = json.loads(out)
    assert (done["resealed"], done["unchanged"]) == ([old_id], [new_id])
    world.store.run(remove_provider_key(operator_of_tests(), lost_id))
    # nothing is left to do, and the old seal key is not needed any more
    assert program.run_json("provider-keys", "reseal")["resealed"] == []
    pool = KeyPool([], Seal([new]))
    pool.update(world.store.run(read_stored_keys()))
    assert {key.id: key.secret for key in pool.keys}[old_id] == SECRET
    assert ({key.id for key in pool.keys}, pool.unreadable) == ({old_id, new_id}, ())
    monkeypatch.delenv("DARKROOM_SEAL_KEYS")
    code, _, wrong = program.run("provider-keys", "reseal")
    assert (code, "DARKROOM_SEAL_KEYS" in wrong) == (2, True)


@pytest.mark.parametrize(
    ("written", "fault"),
    [("team:key", "The key must be one key"), (None, "The key cannot be read from")],
)
def test_the_program_says_what_is_wrong_with_a_key_and_does_not_show_it(
    program: Program, tmp_path: Path, written: str | None, fault: str
) -> None:
    file = tmp_path / "key"
    if written:
        file.write_text(written, "utf-8")
    code, _, wrong = program.run("provider-keys", "add", str(file))
    assert (code, fault in wrong, "team:key" in wrong) == (2, True, False), wrong
