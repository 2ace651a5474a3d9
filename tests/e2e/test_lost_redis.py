"""Redis loses everything: the drill of docs/operating.md, on a running stack."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from sandbox.wait import wait_until
from shared.model_catalog import DEFAULT_MODEL
from tests.e2e.up import DARKROOM, START_SECONDS, Up, clean_environment, up

pytestmark = pytest.mark.xdist_group("lost-redis")


def darkroom(stack: Up, *words: str) -> str:
    """Run the program beside a stack; return what it printed."""
    ended = subprocess.run(
        [DARKROOM, *words],
        env={**clean_environment(), "DARKROOM_STACK": str(stack.data / "stack.json")},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def is_known(stack: Up, key: str) -> bool:
    """Return whether the API takes the key; it limits how often an address may send another."""
    return generate(stack, key).status_code not in {401, 429}


def generate(stack: Up, key: str) -> httpx.Response:
    body = {"model": DEFAULT_MODEL, "input": {"prompt": "A pier", "megapixels": "0.25"}}
    headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=30"}
    return httpx.post(f"{stack.state['api']}/v1/jobs", json=body, headers=headers, timeout=40)


def test_customers_keep_their_keys_when_redis_is_lost(tmp_path: Path) -> None:
    data, file, passphrase = tmp_path / "data", tmp_path / "tenants.yaml", tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple")
    sealed = ("--passphrase-file", str(passphrase))
    # given a customer in the file, and a Redis that has lost all
    with up(data, "--no-demo", "--concurrency", "4") as stack:
        shop = json.loads(darkroom(stack, "tenants", "create", "shop", "--json"))
        file.write_text(darkroom(stack, "tenants", "export", *sealed))
        assert stack.child.stop() == 0
    shutil.rmtree(data / "redis")

    with up(data, "--no-demo", "--concurrency", "4") as stack:
        assert generate(stack, shop["api_key"]).status_code == 401

        # when
        rows = json.loads(darkroom(stack, "tenants", "apply", str(file), *sealed, "--json"))["data"]

        # then the customer's own key makes an image
        assert {row["tenant"]: row["change"] for row in rows}["shop"] == "created"
        # (an API process remembers for some seconds that it did not know the key)
        wait_until(lambda: is_known(stack, shop["api_key"]), "the key", pause=1)
        made = generate(stack, shop["api_key"])
        assert made.json()["status"] == "succeeded", made.text
        assert httpx.get(made.json()["image"]["url"]).status_code == 200
