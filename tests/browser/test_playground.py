"""The playground: ask, watch, vary, find again; whatever goes wrong is said in words."""

import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import orjson
import pytest
from playwright.sync_api import Locator, expect

from sandbox.wait import wait_until
from shared.model_catalog import DEFAULT_MODEL
from tests.browser.console_page import wait_for_deleted_image
from tests.browser.playground_page import PROMPT, Bench
from tests.browser.session import Session
from tests.e2e.up import Up
from tests.integration.sandbox_client import Client
from tests.support.api_server import client_of
from tests.support.models import CATALOG, OTHER_MODEL
from tests.support.tls import TLS

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def bench(visit: Session, key: str, provider: Client) -> Bench:
    return Bench.open(visit, key)


@pytest.fixture
def tag() -> str:
    """Return a tag that no other test uses: the gallery is the whole tenant's."""
    return f"tag-{uuid.uuid4().hex[:8]}"


@contextmanager
def paused(stack: Up) -> Iterator[None]:
    head = {"authorization": f"Bearer {stack.state['ops_key']}"}
    with httpx.Client(base_url=stack.state["api"], headers=head, verify=TLS) as operator:
        operator.post("/ops/v1/queues/generate/pause").raise_for_status()
        try:
            yield
        finally:
            operator.post("/ops/v1/queues/generate/resume").raise_for_status()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_an_image_is_asked_for_watched_and_seen_with_its_numbers(
    bench: Bench, visit: Session
) -> None:
    page = bench.page
    page.get_by_role("radio", name="16:9").check(force=True)
    bench.run()
    bench.wait_for("Succeeded")
    bench.wait_for_image()

    life = bench.output.get_by_role("listitem").filter(has_not=page.locator(".tile"))
    expect(life.first).to_contain_text("Accepted")
    expect(life.last).to_contain_text("The image is ready")
    job = bench.job()
    image = job["image"]
    assert job["input"]["aspect_ratio"] == "16:9"
    for fact in (image["width"], image["height"], job["input"]["seed"], job["id"]):
        expect(bench.output).to_contain_text(str(fact))
    expect(bench.tile(PROMPT).first).to_be_visible()
    visit.check_access()


@contextmanager
def paused_model(stack: Up, model: str) -> Iterator[None]:
    with client_of(stack.state["api"], stack.state["ops_key"]) as operator:
        operator.post(f"/ops/v1/models/{model}/pause").raise_for_status()
        try:
            yield
        finally:
            operator.post(f"/ops/v1/models/{model}/resume").raise_for_status()


def test_a_fallback_model_is_chosen_and_serves_the_job(
    bench: Bench, stack: Up, visit: Session
) -> None:
    page = bench.page
    fallbacks = page.get_by_role("group", name="Fallback models")
    # the other models lack parameters of this one
    expect(fallbacks.get_by_role("checkbox")).to_have_count(1)
    fallbacks.get_by_role("checkbox", name=CATALOG[OTHER_MODEL].name).check(force=True)
    visit.check_access()

    with paused_model(stack, DEFAULT_MODEL):
        bench.run()
        bench.wait_for("Succeeded")

    job = bench.job()
    assert (job["fallback_models"], job["served_model"]) == ([OTHER_MODEL], OTHER_MODEL)
    expect(bench.output).to_contain_text(OTHER_MODEL)
    # its input is that of the model that made it
    bench.output.get_by_role("button", name="Use parameters").click()
    expect(page.get_by_label("Model", exact=True).first).to_have_value(OTHER_MODEL)


def test_fallback_models_have_an_order_and_a_limit_and_are_in_the_link(
    visit: Session, key: str
) -> None:
    first, second = DEFAULT_MODEL, "gpt-image-1-mini"
    link = f"#model=gemini-2.5-flash-image&fallback_models={second},{first},acme/none"
    bench = Bench.open(visit, key, link)
    boxes = bench.page.get_by_role("group", name="Fallback models").get_by_role("checkbox")
    expect(boxes).to_have_count(len(CATALOG) - 1)

    def box(name: str) -> Locator:
        return bench.page.get_by_role("checkbox", name=name, exact=True)

    box(f"1. {CATALOG[second].name}").uncheck(force=True)
    box(CATALOG[OTHER_MODEL].name).check(force=True)
    box(CATALOG[second].name).check(force=True)
    expect(bench.page.get_by_role("checkbox", disabled=True)).to_have_count(1)
    bench.page.get_by_role("tab", name="JSON").first.click()
    body = bench.page.get_by_label("Request", exact=True).input_value()
    assert orjson.loads(body)["fallback_models"] == [first, OTHER_MODEL, second]


def test_a_job_that_waits_says_why_and_can_be_canceled(
    bench: Bench, stack: Up, visit: Session
) -> None:
    with paused(stack):
        bench.run()
        expect(bench.output.locator(".state")).to_contain_text("An operator has paused the queue")
        visit.check_access()
        bench.output.get_by_role("button", name="Cancel").click()
        bench.wait_for("Canceled")
    bench.output.get_by_role("button", name="Try again").click()
    bench.wait_for("Succeeded")


def test_a_failed_job_says_what_went_wrong_and_whether_a_retry_may_help(
    bench: Bench, provider: Client
) -> None:
    provider.behave({"fault": "failure_record"})
    bench.run()
    bench.wait_for("Failed")
    said = bench.output.get_by_role("alert")
    expect(said).to_contain_text("The generation failed.")
    expect(said).to_contain_text("The same request would fail again")
    expect(bench.output.get_by_text(re.compile("try again", re.IGNORECASE))).to_have_count(0)
    expect(bench.output.get_by_role("button", name="Use parameters")).to_be_visible()


def test_a_failure_that_may_pass_can_be_tried_again(bench: Bench, stack: Up, key: str) -> None:
    body = {"input": {"prompt": "Too late", "megapixels": "0.25"}, "deadline_seconds": 1}
    with paused(stack), client_of(stack.state["api"], key) as client:
        job = client.post("/v1/jobs", json=body).raise_for_status().json()["id"]
        wait_until(lambda: client.get(f"/v1/jobs/{job}").json()["error"], "the deadline to pass")
    bench.tile("Too late").first.click()
    dialog = bench.page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("Retrying may help.")
    dialog.get_by_role("button", name="Try again").click()
    bench.wait_for("Succeeded")


def test_variations_are_made_at_once_and_each_can_be_looked_at(bench: Bench) -> None:
    bench.page.get_by_label("Variations", exact=True).fill("4")
    bench.run()
    tiles = bench.output.locator(".strip .tile")
    expect(tiles).to_have_count(4)
    expect(tiles.locator("img")).to_have_count(4)
    first = bench.job()
    for tile in tiles.locator("img").all():
        expect(tile).to_have_attribute("src", re.compile("size=preview"))
    shown = (
        "[...document.querySelectorAll('.strip .tile img')].every((one) => one.naturalWidth > 0)"
    )
    bench.visit.wait_for(shown)

    tiles.nth(2).click()
    bench.wait_for_image()

    whole = bench.output.locator(".figure img")
    expect(whole).not_to_have_attribute("src", re.compile("size=preview"))
    assert bench.job()["input"]["seed"] != first["input"]["seed"]
    assert bench.job()["batch_id"] == first["batch_id"]


def test_a_seed_is_kept_by_its_lock_and_another_taken_by_vary(bench: Bench) -> None:
    bench.run()
    bench.wait_for("Succeeded")
    first = bench.job()
    bench.page.get_by_role("button", name="Lock").click()
    bench.page.get_by_role("button", name="Run").click()
    expect(bench.output).not_to_contain_text(first["id"])
    bench.wait_for("Succeeded")
    same = bench.job()
    assert same["id"] != first["id"]
    assert same["image"]["sha256"] == first["image"]["sha256"]

    bench.output.get_by_role("button", name="Vary").click()

    expect(bench.output).not_to_contain_text(same["id"])
    bench.wait_for("Succeeded")
    assert bench.job()["input"]["seed"] != first["input"]["seed"]


def test_every_fault_is_shown_where_it_was_made(bench: Bench, visit: Session) -> None:
    visit.expected = {422}
    page = bench.page
    quality = page.get_by_role("spinbutton", name="Output Quality")
    quality.fill("101")
    bench.run(" ")
    expect(quality).to_have_attribute("aria-invalid", "true")
    expect(bench.prompt).to_have_attribute("aria-invalid", "true")
    expect(bench.prompt).to_be_focused()
    visit.check_access()
    quality.fill("90")
    bench.run()
    bench.wait_for("Succeeded")


def test_the_request_can_be_written_as_json(bench: Bench, visit: Session) -> None:
    page = bench.page
    page.get_by_role("tab", name="JSON").first.click()
    text = page.get_by_label("Request", exact=True)
    text.fill('{"input": {"prompt": "By hand", "megapixels": "0.25"}, "priority": "high",}')
    expect(page.get_by_role("alert")).to_contain_text("Invalid JSON")
    for member, fault in (
        ('"model": 5', "model must be a text."),
        ('"input": []', "input must be an object."),
        ('"tags": "red"', "tags must be a list of texts."),
    ):
        text.fill(f"{{{member}}}")
        expect(page.get_by_role("alert")).to_have_text(fault)
    text.fill('{"model": null, "input": null, "tags": null}')
    expect(page.get_by_role("alert")).to_have_count(0)
    text.fill('{"input": {"prompt": "By hand", "megapixels": "0.25"}, "priority": "high"}')
    page.keyboard.press("Control+Enter")
    bench.wait_for("Succeeded")
    assert bench.job()["priority"] == "high"
    visit.check_access()
    page.get_by_role("tab", name="Form").click()
    expect(bench.prompt).to_have_value("By hand")


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_an_estimate_stands_beside_its_button_until_the_request_is_another(
    bench: Bench, visit: Session, width: int, height: int
) -> None:
    visit.expected = {422}
    page = bench.page
    page.set_viewport_size({"width": width, "height": height})
    estimate = page.get_by_role("button", name="Estimate")
    bench.prompt.fill(PROMPT)
    estimate.click()
    answer = page.get_by_text("It would be accepted")
    expect(answer).to_be_in_viewport()
    expect(estimate).to_be_in_viewport()
    expect(bench.output).to_contain_text("No image yet")
    visit.check_access()

    page.get_by_label("Tags", exact=True).fill("x" * 100)
    expect(answer).to_have_count(0)
    estimate.click()
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("tags")
    expect(refusal).to_be_in_viewport()
    page.get_by_label("Tags", exact=True).fill("short")
    expect(refusal).to_have_count(0)


def test_a_request_that_is_refused_says_so_beside_the_button(bench: Bench, visit: Session) -> None:
    visit.expected = {422}
    page = bench.page
    page.get_by_label("Tags", exact=True).fill("x" * 100)
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_be_in_viewport()
    page.get_by_role("tab", name="JSON").first.click()
    page.get_by_label("Request", exact=True).fill('{"input": {"prompt": 1, "seed": -1}}')
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("input → seed")
    expect(page.get_by_role("alert")).to_be_in_viewport()


def test_a_text_that_is_too_long_stays_as_it_is_and_is_not_sent(
    bench: Bench, visit: Session
) -> None:
    page = bench.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    long = "ab" * 6000
    bench.prompt.fill(long)
    expect(bench.prompt).to_have_value(long)
    expect(page.get_by_text("12,000 / 10,000")).to_be_visible()
    fault = page.get_by_text("2,000 characters too many: the limit is 10,000.")
    expect(fault).to_be_visible()
    visit.check_access()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("Not sent")
    expect(bench.prompt).to_be_focused()
    assert "POST" not in asked

    bench.prompt.fill("\N{FOX FACE}" * 10_000)
    expect(fault).to_have_count(0)
    expect(page.get_by_text("10,000 / 10,000")).to_be_visible()


def test_a_number_that_is_none_is_not_left_out_in_silence(bench: Bench) -> None:
    page = bench.page
    page.get_by_label("Seed", exact=True).press_sequentially("1e")
    page.get_by_label("Variations", exact=True).fill("99")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("Enter a number.")).to_be_visible()
    expect(page.get_by_text("Enter an integer from 1 to 16.")).to_be_visible()
    expect(bench.output).to_contain_text("No image yet")


RIGHT_TO_LEFT = "חתול שחור, 4k!"


def test_text_stands_in_the_direction_of_its_language(bench: Bench, tag: str) -> None:
    page = bench.page
    page.get_by_label("Tags", exact=True).fill(f"ערב, {tag}")
    bench.run(RIGHT_TO_LEFT)
    bench.wait_for("Succeeded")
    tile = bench.tile(RIGHT_TO_LEFT).first
    shown = [
        bench.prompt,
        page.get_by_label("Tags", exact=True),
        tile.locator(".prompt"),
        bench.output.locator(".tag", has_text="ערב"),
    ]
    tile.click()
    shown.append(page.get_by_role("dialog").locator(".prompt-full"))
    for place in shown:
        assert place.evaluate("(node) => getComputedStyle(node).direction") == "rtl", place


def test_the_gallery_finds_by_tag_and_status_page_by_page(
    bench: Bench, stack: Up, key: str, tag: str, visit: Session
) -> None:
    head = {"authorization": f"Bearer {key}"}
    wanted = {"input": {"prompt": "Many", "megapixels": "0.25"}, "variations": 30, "tags": [tag]}
    with httpx.Client(base_url=stack.state["api"], headers=head, verify=TLS) as client:
        batch = client.post("/v1/batches", json=wanted).json()["id"]
        where = f"/v1/batches/{batch}"
        wait_until(lambda: client.get(where).json()["counts"]["succeeded"] == 30, "the batch")
    bench.gallery.get_by_label("Tag").fill(tag)
    bench.gallery.get_by_label("Status").select_option("succeeded")
    expect(bench.gallery.get_by_role("status")).to_contain_text("shown")
    more = bench.gallery.get_by_role("button", name="Show more")
    expect(bench.tiles.locator("img").nth(23)).to_be_attached()
    more.click()
    expect(bench.tiles).to_have_count(30)
    visit.check_access()

    bench.gallery.get_by_label("Words of the prompt").fill("nosuchword")
    expect(bench.gallery).to_contain_text("No matches")
    bench.gallery.get_by_label("Words of the prompt").fill("")
    bench.gallery.get_by_label("Status").select_option("failed")

    expect(bench.gallery).to_contain_text("No matches")


def test_a_job_of_the_gallery_can_be_reused_reproduced_and_deleted(
    bench: Bench, visit: Session, tag: str
) -> None:
    visit.expected = {404}
    page = bench.page
    page.get_by_label("Tags").fill(tag)
    bench.run("To be found again")
    bench.wait_for("Succeeded")
    first = bench.job()
    bench.gallery.get_by_label("Tag").fill(tag)
    expect(bench.tiles).to_have_count(1)
    bench.tiles.first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(first["image"]["sha256"][:16])
    visit.check_access()

    dialog.get_by_role("button", name="Use parameters").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value(str(first["input"]["seed"]))

    bench.tiles.first.click()
    dialog.get_by_role("button", name="Reproduce").click()
    expect(bench.output).not_to_contain_text(first["id"])
    bench.wait_for("Succeeded")
    assert bench.job()["image"]["sha256"] == first["image"]["sha256"]
    expect(bench.tiles).to_have_count(2)

    bench.output.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(bench.tiles).to_have_count(1)
    expect(bench.output).to_contain_text("No image yet")


def test_an_image_deleted_by_retention_is_shown_as_deleted(
    bench: Bench, stack: Up, key: str, tag: str
) -> None:
    body = {"input": {"prompt": "Short-lived", "megapixels": "0.25"}, "tags": [tag]}
    with client_of(stack.state["api"], key) as client:
        made = client.post("/v1/jobs", json={**body, "retention": {"image_seconds": 1}})
        wait_for_deleted_image(client, made.raise_for_status().json()["id"])
    bench.gallery.get_by_label("Tag").fill(tag)
    expect(bench.tiles).to_have_count(1)
    expect(bench.tiles.first).to_contain_text("The image was deleted on")
    expect(bench.gallery.get_by_role("status")).to_have_text("0 images shown, 1 deleted.")
    bench.tiles.first.click()
    dialog = bench.page.get_by_role("dialog")
    expect(dialog.locator(".figure")).to_contain_text("The image was deleted on")
    actions = dialog.get_by_role("group", name="Actions")
    expect(actions).to_contain_text("Delete")
    expect(actions).not_to_contain_text(re.compile("Download|Copy link"))
    bench.visit.check_access()


def test_a_search_that_is_refused_shows_the_error_in_place_of_the_images(
    bench: Bench, visit: Session
) -> None:
    visit.expected = {422}
    bench.run()
    bench.wait_for("Succeeded")
    expect(bench.tiles.first).to_be_visible()
    bench.gallery.get_by_label("Words of the prompt").fill("!!!")
    expect(bench.gallery.get_by_role("alert")).to_contain_text("Words of the prompt: must have")
    expect(bench.tiles).to_have_count(0)
    bench.gallery.get_by_label("Words of the prompt").fill("")
    expect(bench.tiles.first).to_be_visible()
    expect(bench.gallery.get_by_role("alert")).to_have_count(0)


def test_a_link_carries_the_parameters(visit: Session, key: str) -> None:
    link = "#prompt=A+pier+%26+more&aspect_ratio=2:3&seed=7&go_fast=false&tags=a,b&variations=3"
    bench = Bench.open(visit, key, link)
    page = bench.page
    expect(bench.prompt).to_have_value("A pier & more")
    expect(page.get_by_role("radio", name="2:3")).to_be_checked()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("7")
    expect(page.get_by_role("switch", name="Go Fast")).not_to_be_checked()
    expect(page.get_by_label("Variations", exact=True)).to_have_value("3")

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy a link").click()
    expect(page.get_by_text("Link copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")

    page.goto("about:blank")
    page.goto(copied)
    expect(bench.prompt).to_have_value("A pier & more")
    expect(page.get_by_label("Tags")).to_have_value("a, b")


def test_an_image_can_be_had_by_keyboard_alone(visit: Session, key: str, provider: Client) -> None:
    bench = Bench.open(visit, key)
    page = bench.page
    expect(bench.prompt).to_be_focused()
    page.keyboard.type("By keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Control+Enter")
    bench.wait_for("Succeeded")
    assert bench.job()["input"]["aspect_ratio"] == "16:9"
    tile = bench.tile("By keyboard").first
    tile.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(tile).to_be_focused()


def test_it_fits_a_phone(visit: Session, key: str, provider: Client) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    bench = Bench.open(visit, key)
    bench.run()
    bench.wait_for_image()
    expect(bench.output.locator(".figure img")).to_be_in_viewport()
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
    visit.check_access()


def test_what_is_asked_while_redis_is_away_is_made_once_it_is_back(
    bench: Bench, stack: Up, visit: Session, provider: Client
) -> None:
    visit.expected = {503}
    with frozen(stack.state["pids"]["redis"]):
        bench.run("Asked while Redis was away")
        expect(bench.output).to_contain_text("Not accepted yet")
        expect(bench.page.locator(".banner")).to_be_visible()
    bench.wait_for("Succeeded")
    expect(bench.page.locator(".banner")).to_be_hidden()
    assert [c["prompt"] for c in provider.calls() if c["kind"] == "generate"] == [
        "Asked while Redis was away"
    ]


def test_a_device_that_is_offline_is_told_so_and_goes_on_later(bench: Bench) -> None:
    context = bench.page.context
    context.set_offline(True)
    expect(bench.page.locator(".banner")).to_contain_text("offline")
    bench.run()
    expect(bench.output).to_contain_text("Not accepted yet")
    context.set_offline(False)
    bench.wait_for("Succeeded")


def test_a_job_is_followed_on_after_a_break(bench: Bench, stack: Up) -> None:
    context = bench.page.context
    with paused(stack):
        bench.run()
        bench.wait_for("Queued")
        context.set_offline(True)
        expect(bench.page.locator(".banner")).to_be_visible()
    context.set_offline(False)
    bench.wait_for("Succeeded")
    expect(bench.output.locator(".life li")).to_have_count(5)


#: A model that nobody knows yet, with every kind of parameter.
FOREIGN = {
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "title": "Prompt", "maxLength": 5000},
        "style": {"type": "string", "title": "Style", "maxLength": 50},
        "size": {"$ref": "#/$defs/Size"},
        "ratio": {"enum": ["1:1", "2:1"], "title": "Ratio"},
        "strength": {"type": "number", "title": "Strength", "minimum": 0, "maximum": 1},
        "steps": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 50}, {"type": "null"}]},
        "upscale": {"type": "boolean", "title": "Upscale"},
        "loras": {"type": "array", "title": "Loras"},
    },
    "$defs": {"Size": {"enum": ["small", "large"], "title": "Size"}},
}
_FORM_OF = """async (schema) => {
  const at = document.querySelector("script[type=module]").src.replace("main.js", "");
  const { Parameters } = await import(`${at}parameters.js`);
  const { Form } = await import(`${at}form.js`);
  const model = { id: "a/b", input_schema: schema, defaults: { size: "large", steps: 20 } };
  const parameters = new Parameters([model]);
  document.querySelector("#main").replaceChildren(new Form(parameters).node);
  window.asked = () => parameters.body;
}"""


def test_a_model_that_is_new_needs_no_other_page(visit: Session, key: str) -> None:
    page = Bench.open(visit, key).page
    page.evaluate(_FORM_OF, FOREIGN)
    page.get_by_label("Prompt").fill("A crane")
    page.get_by_label("Style").fill("ink")
    expect(page.get_by_role("radio", name="large")).to_be_checked()
    page.get_by_role("radio", name="2:1").check(force=True)
    page.get_by_label("Strength").fill("0.5")
    expect(page.get_by_role("slider", name="steps")).to_have_value("20")
    page.get_by_role("switch", name="Upscale").check(force=True)
    page.get_by_label("Loras").fill('["a", "b"]')

    assert page.evaluate("window.asked()")["input"] == {
        "prompt": "A crane",
        "style": "ink",
        "size": "large",
        "ratio": "2:1",
        "strength": 0.5,
        "steps": 20,
        "upscale": True,
        "loras": ["a", "b"],
    }
