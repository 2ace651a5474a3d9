"""The code that the playground gives away, run as whoever takes it runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sandbox.wait import wait_until
from tests.browser.playground_page import Bench
from tests.browser.session import Session
from tests.e2e.up import Up, clean_environment
from tests.integration.sandbox_client import Client
from tests.support import node
from tests.support.api_server import client_of
from tests.support.models import OTHER_MODEL

pytestmark = pytest.mark.xdist_group("browser")

#: What would break out of every kind of quotes.
AWKWARD = 'It\'s "quoted": $HOME `id` \\n ${x} 100% <b>&amp;</b>\n\'\'\'""" — naïve 🗼'
#: How each way of asking is run, by its file.
RUN = {
    "curl": ("bash", "take.sh"),
    "Python": (sys.executable, "take.py"),
    "JavaScript": (node.NODE, "take.mjs"),
    "darkroom": ("bash", "take.sh"),
    "OpenAI": (sys.executable, "take.py"),
    "Replicate": (sys.executable, "take.py"),
}


def code_of(page: Page, way: str) -> str:
    page.get_by_role("tab", name=way, exact=True).click()
    return page.get_by_role("region", name=f"{way} code").inner_text()


def ran(code: str, way: str, key: str, folder: Path) -> str:
    """Run code in a folder with the key in the environment; return what it printed."""
    program, name = RUN[way]
    (folder / name).write_text(code)
    environment = {
        **clean_environment(),
        "DARKROOM_API_KEY": key,
        "PATH": f"{Path(sys.executable).parent}:{clean_environment()['PATH']}",
    }
    done = subprocess.run(
        [program, name],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_line_of_an_image_makes_the_same_image(
    visit: Session, key: str, provider: Client, tmp_path: Path
) -> None:
    bench = Bench.open(visit, key)
    bench.run()
    bench.wait_for("Succeeded")
    shown = bench.job()
    bench.output.get_by_role("button", name="Code").click()
    dialog = bench.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    visit.check_access()
    line = dialog.get_by_role("region", name="curl code").inner_text()

    made = json.loads(ran(line, "curl", key, tmp_path))

    assert made["id"] != shown["id"]
    assert made["image"]["sha256"] == shown["image"]["sha256"]


@pytest.mark.parametrize("way", RUN)
def test_code_asks_for_exactly_what_the_form_says(
    visit: Session, key: str, provider: Client, tmp_path: Path, way: str, stack: Up
) -> None:
    link = "#seed=7&aspect_ratio=4:5&output_quality=70&megapixels=0.25"
    bench = Bench.open(visit, key, f"{link}&fallback_models={OTHER_MODEL}")
    bench.prompt.fill(AWKWARD)
    bench.page.get_by_role("tab", name="Code").click()

    code = code_of(bench.page, way)
    ran(code, way, key, tmp_path)

    [call] = [call for call in provider.calls() if call["kind"] == "generate"]
    assert (call["prompt"], call["seed"]) == (AWKWARD, 7)
    with client_of(stack.state["api"], key) as client:
        job = client.get("/v1/jobs", params={"limit": 1}).json()["data"][0]
    # the clients of other services have no fallback models
    is_other = way in {"OpenAI", "Replicate"}
    assert code.startswith(f'# {way}\'s client cannot set "fallback_models". ') == is_other
    assert job["fallback_models"] == ([] if is_other else [OTHER_MODEL])


@pytest.mark.parametrize("way", [way for way in RUN if way != "Replicate"])
def test_code_for_several_images_requests_all_of_them(
    visit: Session, key: str, provider: Client, tmp_path: Path, way: str, stack: Up
) -> None:
    link = "#seed=7&aspect_ratio=4:5&output_quality=70&megapixels=0.25&variations=2"
    bench = Bench.open(visit, key, link)
    bench.prompt.fill(AWKWARD)
    bench.page.get_by_role("tab", name="Code").click()

    ran(code_of(bench.page, way), way, key, tmp_path)

    def calls() -> list[Any]:
        return [call for call in provider.calls() if call["kind"] == "generate"]

    wait_until(lambda: len(calls()) == 2, "the call for each image")
    assert sorted(call["seed"] for call in calls()) == [7, 8]
    assert {call["prompt"] for call in calls()} == {AWKWARD}
    with client_of(stack.state["api"], key) as client:
        jobs = client.get("/v1/jobs", params={"limit": 2}).json()["data"]
    for job in jobs:
        assert (job["input"]["output_quality"], job["priority"]) == (70, "normal")


def test_the_program_is_given_the_options_of_the_job(
    visit: Session, key: str, provider: Client, tmp_path: Path, stack: Up
) -> None:
    bench = Bench.open(visit, key)
    request = bench.page.get_by_role("tablist", name="The request")
    request.get_by_role("tab", name="JSON").click()
    body = {
        "input": {"prompt": "-a pier", "seed": 7, "megapixels": "0.25"},
        "metadata": {"order": "A=17 'b'", "-x": "-1"},
        "tags": ["-red", "blue sky"],
        "retention": {"image_seconds": 3_600, "record_seconds": None},
        "priority": "high",
        "on_unknown": "fail",
        "webhook": None,
    }
    bench.page.get_by_label("Request", exact=True).fill(json.dumps(body))
    bench.page.get_by_role("tab", name="Code").click()
    code = code_of(bench.page, "darkroom")

    ran(code, "darkroom", key, tmp_path)

    assert code.startswith('# The program cannot set "on_unknown". ')
    with client_of(stack.state["api"], key) as client:
        job = client.get("/v1/jobs", params={"limit": 1}).json()["data"][0]
    assert job["input"] | body["input"] == job["input"]
    for name in ("metadata", "tags", "priority"):
        assert job[name] == body[name]
    assert job["image"]["expires_at"]
    assert job["expires_at"] is None
