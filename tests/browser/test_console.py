"""The operations console: why anything waits, any job among many, and doing something about it."""

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
from playwright.sync_api import expect

from sandbox.wait import wait_until
from shared.store import keys
from tests.browser.console_page import (
    KEPT_AS,
    ConsolePage,
    a_tenant,
    ask,
    wait_for,
    wait_for_deleted_image,
)
from tests.browser.session import Session
from tests.e2e.up import Up
from tests.integration.sandbox_client import Client
from tests.support.api_server import client_of
from tests.support.models import OTHER_MODEL
from tests.support.webhook_receiver import WebhookReceiver, receiver

pytestmark = pytest.mark.xdist_group("browser-2")

DIRECTION = "(node) => getComputedStyle(node).direction"
MANY = 10_000
LATE = 200


@pytest.fixture
def console_page(visit: Session, stack: Up, provider: Client) -> Iterator[ConsolePage]:
    with ConsolePage.open(visit, stack) as console_page:
        expect(console_page.page.get_by_role("heading", name="The last hours")).to_be_visible()
        yield console_page


@pytest.fixture
def tenant(stack: Up) -> Iterator[tuple[str, httpx.Client]]:
    with a_tenant(stack) as made:
        yield made


def test_a_queue_is_paused_it_is_told_why_jobs_wait_and_it_goes_on(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    _, client = tenant
    expect(console_page.page.get_by_text("Everything works")).to_be_visible()
    console_page.button("Pause images").click()
    console_page.answer("Pause")
    expect(console_page.page.get_by_text("Paused by an operator")).to_be_visible()
    job_id = ask(client)

    tile = console_page.page.get_by_role("link", name="Waiting").first
    expect(tile).to_contain_text("1")
    console_page.visit.check_access()
    tile.click()
    expect(console_page.row(job_id[-10:])).to_contain_text("paused")
    console_page.go("#/now", "Now")
    console_page.button("Resume images").first.click()
    console_page.answer("Resume")
    expect(console_page.page.get_by_text("Everything works")).to_be_visible()

    wait_for(client, job_id, "succeeded")
    actions = [entry["action"] for entry in console_page.read("audit?limit=2")["data"]]
    assert actions == ["queue.resume", "queue.pause"]


def test_a_provider_key_is_paused_and_jobs_wait_until_it_is_resumed(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    _, client = tenant
    console_page.button("Pause key").first.click()
    console_page.answer("Pause")
    job_id = ask(client)
    expect(console_page.page.get_by_text("Every provider key is paused")).to_be_visible()
    console_page.visit.check_access()
    console_page.button("Resume key").first.click()
    console_page.answer("Resume")
    wait_for(client, job_id, "succeeded")
    expect(console_page.page.get_by_text("Everything works")).to_be_visible()


def test_jobs_that_do_not_move_to_the_history_are_reported(
    console_page: ConsolePage, stack: Up
) -> None:
    warning = console_page.page.get_by_text("Final jobs have not moved to the history for")
    with redis.Redis.from_url(stack.state["redis_url"]) as client:
        # another process archives, and has not come to this job yet
        client.set(keys.archiver(), "another", ex=60)
        client.zadd(keys.archive_due(), {"job_waits": time.time() * 1000 - 1_000_000})
        expect(warning).to_be_visible()

        client.delete(keys.archiver())

    expect(warning).not_to_be_visible()


def many_jobs(console_page: ConsolePage, client: httpx.Client) -> str:
    """Let 10,000 jobs wait behind a paused queue, 200 of which are late; return one that is."""
    console_page.operator.post("/ops/v1/queues/generate/pause").raise_for_status()
    few = {"prompt": "p", "megapixels": "0.25"}
    late = client.post(
        "/v1/batches",
        json={"jobs": [{"input": few, "deadline_seconds": 1, "tags": ["late"]}] * LATE},
    )
    late.raise_for_status()
    for variations in (5_000, MANY - LATE - 5_000):
        body = {"jobs": [{"input": few}] * variations}
        client.post("/v1/batches", json=body).raise_for_status()
    batch_id = late.json()["id"]

    def all_late() -> bool:
        counts = client.get(f"/v1/batches/{batch_id}").json()["counts"]
        return bool(counts["failed"] == LATE)

    wait_until(all_late, "the deadlines to pass", seconds=30)
    return str(client.get(f"/v1/jobs?batch_id={batch_id}&limit=1").json()["data"][0]["id"])


def find_late(console_page: ConsolePage, name: str, wanted: str) -> None:
    """Find a late job by what is known of it, then by its id, and open it."""
    page = console_page.page
    console_page.go("#/jobs", "Jobs")
    page.get_by_label("Tenant", exact=True).fill(name)
    page.get_by_label("Status", exact=True).select_option("failed")
    page.get_by_label("Error", exact=True).select_option("deadline_exceeded")
    expect(console_page.rows).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Back to the newest")).to_be_visible()
    expect(console_page.rows).to_have_count(50)
    page.get_by_label("Id", exact=True).fill(wanted)
    page.get_by_role("button", name="Find").click()
    expect(console_page.rows).to_have_count(1)
    console_page.row(wanted[-10:]).get_by_role("link").first.click()
    console_page.status("failed")
    expect(page.get_by_text("The deadline passed before the image was stored.")).to_be_visible()


def retry_late(console_page: ConsolePage, name: str) -> None:
    """Send again all that were late, once it is seen how many they are."""
    console_page.go(f"#/jobs?tenant={name}&status=failed", "Jobs")
    console_page.button("Retry all matching…").click()
    expect(console_page.dialog).to_contain_text(f"{LATE} failed jobs")
    assert console_page.read(f"jobs?tenant={name}&status=failed&limit=1")["data"], (
        "moved before the yes"
    )
    console_page.answer(f"Retry {LATE} jobs")
    expect(console_page.page.get_by_text(f"{LATE} jobs queued again")).to_be_visible()
    expect(console_page.page.get_by_text("No job matches")).to_be_visible()


def test_a_failed_job_is_found_among_10_000_and_200_are_sent_again(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    wanted = many_jobs(console_page, client)
    try:
        find_late(console_page, name, wanted)
        retry_late(console_page, name)
    finally:
        body = {"filter": {"tenant": name}, "expected_count": MANY}
        console_page.operator.post("/ops/v1/jobs/cancel", json=body).raise_for_status()
        console_page.operator.post("/ops/v1/queues/generate/resume").raise_for_status()
    console_page.go("#/audit", "Audit")
    expect(console_page.row("jobs.retry").first).to_contain_text(f"moved {LATE}")
    expect(console_page.row("jobs.cancel").first).to_contain_text(f"moved {MANY}")


def test_a_job_tells_what_the_provider_said_and_is_sent_again_to_an_image(
    console_page: ConsolePage, provider: Client, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    page = console_page.page
    provider.behave({"fault": "status", "status": 503}, {"fault": "failure_record"})
    with receiver() as hook:
        job_id = ask(client, webhook={"url": hook.url, "events": ["job.failed"]}, tags=["red"])
        wait_for(client, job_id, "failed")
        console_page.go(f"#/jobs/{job_id}", job_id)
        console_page.status("failed")
        expect(page.get_by_text("status 503:")).to_be_visible()
        expect(page.get_by_text("Retried")).to_be_visible()
        expect(page.get_by_text("job.failed").first).to_be_visible()
        expect(page.get_by_text("The same request would fail again")).to_be_visible()
        expect(page.locator(".notice.bad")).not_to_contain_text("ry again")
        console_page.visit.check_access()
        console_page.button("Retry anyway").click()
        console_page.answer("Retry")
        console_page.status("succeeded")
    expect(page.get_by_text("Run 2, attempt 1")).to_be_visible()
    console_page.visit.wait_for("document.querySelector('img.image')?.naturalWidth > 0")
    expect(page.locator("img.image")).to_have_attribute("src", re.compile("size=preview"))
    page.get_by_role("link", name="red").click()
    expect(console_page.row(job_id[-10:])).to_contain_text("succeeded")
    assert f"tenant={name}" in page.url
    assert "tag=red" in page.url


def test_jobs_are_found_and_counted_by_words_metadata_and_seed(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    ids = [
        ask(client, input={"prompt": f"A {word} HOUSE", "seed": 7}, metadata={"order": "A=17"})
        for word in ("red", "blue")
    ]
    page = console_page.page
    console_page.go(f"#/jobs?tenant={name}", "Jobs")
    page.get_by_label("Words of the prompt", exact=True).fill("house red")
    page.get_by_text("More filters").click()
    page.get_by_label("Metadata", exact=True).fill("order=A=17")
    page.get_by_label("Seed", exact=True).fill("7")
    page.get_by_role("button", name="Find").click()
    expect(console_page.rows).to_have_count(1)
    expect(console_page.row(ids[0][-10:])).to_be_visible()
    page.reload()
    expect(page.get_by_label("Metadata", exact=True)).to_have_value("order=A=17")
    console_page.button("Retry all matching…").click()
    expect(console_page.dialog).to_contain_text("No failed job matches")
    expect(console_page.dialog).to_contain_text("metadata order=A=17")


def test_metadata_takes_several_pairs_and_an_invalid_filter_shows_no_jobs(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    console_page.visit.expected = {422}
    name, client = tenant
    wanted = ask(client, metadata={"order": "A-17", "size": "L"})
    ask(client, metadata={"order": "A-17", "size": "S"})
    page = console_page.page
    console_page.go(f"#/jobs?tenant={name}", "Jobs")
    expect(console_page.rows).to_have_count(2)
    page.get_by_text("More filters").click()
    metadata = page.get_by_label("Metadata", exact=True)
    for text in ("metadata.order = A-17, size=L", "size=L\norder=A-17"):
        metadata.fill(text)
        console_page.button("Find").click()
        expect(console_page.rows).to_have_count(1)
        expect(console_page.row(wanted[-10:])).to_be_visible()

        metadata.fill("order")
        console_page.button("Find").click()
        expect(page.get_by_role("alert")).to_contain_text("Metadata: must be name=value")
        expect(metadata).to_have_accessible_description(re.compile("It must be name=value"))
        expect(console_page.rows).to_have_count(0)
        for one in ("Retry all matching…", "Cancel all matching…", "Delete all matching…"):
            expect(console_page.button(one)).to_be_disabled()
    console_page.visit.check_access()
    metadata.fill("")
    console_page.button("Find").click()
    expect(console_page.rows).to_have_count(2)
    expect(console_page.button("Cancel all matching…")).to_be_enabled()


def test_fields_that_are_filled_while_a_filter_is_applied_are_kept(
    console_page: ConsolePage,
) -> None:
    page = console_page.page
    console_page.go("#/audit", "Audit")
    page.evaluate("""() => {
      const fill = (name, text) => {
        const input = document.querySelector(`form input[name="${name}"]`);
        input.value = text;
        return input;
      };
      fill("action", "key.create").dispatchEvent(new Event("change", { bubbles: true }));
      // before the event of the new fragment, which comes later
      fill("target", "nobody");
    }""")
    expect(console_page.row("key.create").first).to_be_visible()
    expect(console_page.row("tenant.create")).to_have_count(0)
    expect(page.get_by_label("Target", exact=True)).to_have_value("nobody")
    console_page.button("Find").click()
    page.wait_for_url("**/ops#/audit?action=key.create&target=nobody")


def test_an_image_deleted_by_retention_is_shown_as_deleted(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    _, client = tenant
    job_id = ask(client, retention={"image_seconds": 1})
    wait_for_deleted_image(client, job_id)
    console_page.go(f"#/jobs/{job_id}", job_id)
    main = console_page.page.get_by_role("main")
    expect(main).to_contain_text("The image was deleted on")
    expect(main).to_contain_text("Image deleted on")
    expect(main.locator(".notice.bad, img.image")).to_have_count(0)


def test_jobs_are_deleted_by_filter_and_a_tenant_by_its_name(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    for tags in (["old"], ["old"], []):
        wait_for(client, ask(client, tags=tags), "succeeded")
    console_page.go(f"#/jobs?tenant={name}&tag=old", "Jobs")
    console_page.button("Delete all matching…").click()
    expect(console_page.dialog).to_contain_text("2 succeeded, failed or canceled jobs match")
    console_page.visit.check_access()
    console_page.answer("Delete 2 jobs")
    expect(console_page.dialog).to_contain_text("2 jobs deleted")
    console_page.dialog.get_by_role("button", name="Close", exact=True).last.click()
    expect(console_page.page.get_by_text("No job matches")).to_be_visible()
    assert len(client.get("/v1/jobs").json()["data"]) == 1

    console_page.go(f"#/tenants/{name}", name)
    console_page.button("Delete tenant…").click()
    typed = console_page.dialog.get_by_label("Type the name of the tenant")
    typed.fill(name[:-1])
    expect(console_page.dialog.get_by_role("button", name="Delete tenant")).to_be_disabled()
    typed.fill(name)
    console_page.answer("Delete tenant")
    expect(console_page.dialog).to_contain_text("1 job deleted")
    console_page.dialog.get_by_role("button", name="Close", exact=True).last.click()
    expect(console_page.page.get_by_role("heading", level=1, name="Tenants")).to_be_visible()
    expect(console_page.row(name)).to_have_count(0)


def test_text_of_a_job_stands_in_the_direction_of_its_language(
    console_page: ConsolePage, provider: Client, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    prompt = "حصان أبيض, 4k!"
    text = {"metadata": {"order": "חתול שחור."}, "tags": ["ערב"]}
    job_id = ask(client, input={"prompt": prompt, "megapixels": "0.25"}, **text)
    console_page.go(f"#/jobs?tenant={name}", "Jobs")
    assert console_page.row(job_id[-10:]).locator(".prompt").evaluate(DIRECTION) == "rtl"
    console_page.go(f"#/jobs/{job_id}", job_id)
    main = console_page.page.get_by_role("main")
    for place in (
        console_page.page.get_by_role("region", name="The prompt"),
        main.get_by_role("link", name="ערב"),
        main.get_by_text("חתול שחור."),
    ):
        assert place.evaluate(DIRECTION) == "rtl"


def test_a_key_that_may_only_read_sees_all_and_changes_nothing(
    visit: Session, stack: Up, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    job_id = ask(client)
    wait_for(client, job_id, "succeeded")
    hook = {"url": "https://example.com/hook"}
    client.post("/v1/webhooks/endpoints", json=hook).raise_for_status()
    with client_of(stack.state["api"], stack.state["ops_key"]) as operator:
        made = operator.post(f"/ops/v1/tenants/{name}/keys", json={"scopes": ["ops:read"]}).json()
    page = visit.open("/ops", made["key"], named=KEPT_AS)
    expect(page.get_by_text("Read only")).to_be_visible()
    main = page.get_by_role("main")
    for place, words in (
        ("now", ["Pause images", "Pause webhooks", "Pause key"]),
        ("jobs", ["Retry all matching…", "Cancel all matching…", "Delete all matching…"]),
        ("deliveries", ["Redeliver failed…"]),
        ("endpoints", ["Rotate secret"]),
        ("tenants", ["New tenant…"]),
        (f"tenants/{name}", ["New key…", "Delete tenant…"]),
    ):
        page.goto(f"{visit.address}/ops#/{place}")
        for one in words:
            button = main.get_by_role("button", name=one).first
            expect(button).to_be_disabled()
            expect(button).to_have_attribute(
                "title", "This key is read-only: this action needs the scope ops:write."
            )
    expect(main.get_by_role("button", name="Save")).to_have_count(0)


def make_tenant(console_page: ConsolePage, name: str) -> None:
    """Make a tenant that does three jobs at once, after a slip."""
    console_page.visit.expected = {422}
    console_page.go("#/tenants", "Tenants")
    console_page.button("New tenant…").click()
    console_page.dialog.get_by_label("Name").fill("a:b")
    console_page.answer("Create tenant")
    expect(console_page.dialog.get_by_role("alert")).to_contain_text("name: must have 1 to 64")
    console_page.dialog.get_by_label("Name").fill(name)
    console_page.dialog.get_by_label("Concurrent jobs").fill("3")
    console_page.answer("Create tenant")
    expect(console_page.dialog.get_by_role("region", name="the webhook secret")).to_contain_text(
        "whsec_"
    )
    console_page.answer("I have saved it")
    expect(console_page.page.get_by_role("heading", level=1, name=name)).to_be_visible()
    expect(console_page.page.get_by_label("Concurrent jobs")).to_have_value("3")


def make_key(console_page: ConsolePage) -> str:
    """Make a key for the tenant that is shown; return its secret, which is shown once."""
    console_page.button("New key…").click()
    console_page.dialog.get_by_label("Label").fill("website")
    console_page.answer("Create key")
    secret = console_page.dialog.get_by_role("region", name="the key").inner_text()
    console_page.answer("I have saved it")
    expect(console_page.page.get_by_text(secret)).to_have_count(0)
    expect(console_page.row("website")).to_contain_text("active")
    return secret


def test_a_tenant_and_a_key_are_made_and_the_key_opens_until_it_is_revoked(
    console_page: ConsolePage, stack: Up
) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    make_tenant(console_page, name)
    secret = make_key(console_page)
    console_page.visit.check_access()

    with client_of(stack.state["api"], secret) as client:
        assert client.get("/v1/usage").json()["limits"]["max_running"] == 3
        console_page.page.get_by_label("Concurrent jobs").fill("4")
        console_page.button("Save").click()
        expect(console_page.page.get_by_text("Saved. It applies from now on")).to_be_visible()
        assert console_page.read(f"tenants/{name}")["max_running"] == 4
        console_page.row("website").get_by_role("button", name="Revoke").click()
        console_page.answer("Revoke")
        expect(console_page.row("website")).to_contain_text("revoked")
        wait_until(lambda: client.get("/v1/usage").status_code == 401, "the key to open nothing")


@pytest.mark.parametrize("typed", ["5e", "50-"])
def test_a_limit_that_is_no_number_is_refused_and_not_removed(
    console_page: ConsolePage, typed: str
) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    make_tenant(console_page, name)
    field = console_page.page.get_by_label("Concurrent jobs")
    field.fill("")
    field.press_sequentially(typed)
    console_page.button("Save").click()
    expect(console_page.page.get_by_text("Enter a number.")).to_be_visible()
    expect(field).to_be_focused()
    console_page.visit.check_access()
    assert console_page.read(f"tenants/{name}")["max_running"] == 3

    field.fill("4")
    expect(console_page.page.get_by_text("Enter a number.")).to_have_count(0)
    console_page.button("Save").click()
    expect(console_page.page.get_by_text("Saved. It applies from now on")).to_be_visible()
    assert console_page.read(f"tenants/{name}")["max_running"] == 4


def test_a_new_tenant_with_a_limit_that_is_no_number_is_not_created(
    console_page: ConsolePage,
) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    console_page.go("#/tenants", "Tenants")
    console_page.button("New tenant…").click()
    console_page.dialog.get_by_label("Name").fill(name)
    console_page.dialog.get_by_label("Credits per month").press_sequentially("5e")
    console_page.answer("Create tenant")
    expect(console_page.dialog.get_by_text("Enter a number.")).to_be_visible()
    assert console_page.operator.get(f"/ops/v1/tenants/{name}").status_code == 404


def test_a_limit_of_a_key_that_is_no_number_is_refused_and_not_removed(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    name, _ = tenant
    key = a_key(console_page, name, monthly_credits=10)
    field = console_page.dialog.get_by_label("Credits per month")
    field.fill("")
    field.press_sequentially("5e")
    console_page.answer("Save")
    expect(console_page.dialog.get_by_text("Enter a number.")).to_be_visible()
    assert key_of(console_page, name, key)["monthly_credits"] == 10


def a_key(console_page: ConsolePage, name: str, **limits: float) -> str:
    """Give the key of a tenant limits, and open the dialog to change them; return its id."""
    [key] = console_page.read(f"tenants/{name}/keys")["data"]
    change(console_page, f"{name}/keys/{key['id']}", **limits)
    console_page.go(f"#/tenants/{name}", name)
    console_page.row(key["id"]).get_by_role("button", name="Limits…").click()
    return str(key["id"])


def key_of(console_page: ConsolePage, name: str, key_id: str) -> dict[str, Any]:
    """Read a key of a tenant."""
    [key] = [
        one for one in console_page.read(f"tenants/{name}/keys")["data"] if one["id"] == key_id
    ]
    return dict(key)


def change(console_page: ConsolePage, path: str, **limits: Any) -> None:
    """Change limits of a tenant or a key, as another operator does."""
    console_page.operator.patch(f"/ops/v1/tenants/{path}", json=limits).raise_for_status()


def test_a_saved_form_changes_only_what_was_edited(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    name, _ = tenant
    page = console_page.page
    console_page.go(f"#/tenants/{name}", name)
    expect(page.get_by_label("Archive prompts in the history")).to_be_checked()
    console_page.button("Live").click()
    change(console_page, name, daily_credits=10, may_disable_safety=True, models=[OTHER_MODEL])
    page.get_by_label("Weight").fill("2")
    console_page.button("Save").click()
    expect(page.get_by_text("Saved. It applies from now on")).to_be_visible()
    found = console_page.read(f"tenants/{name}")
    assert (found["weight"], found["daily_credits"], found["may_disable_safety"]) == (2, 10, True)
    assert (found["models"], found["archive_prompts"]) == ([OTHER_MODEL], True)

    expect(page.get_by_label("Credits per day")).to_have_value("10")
    expect(page.get_by_label("Allowed models")).to_have_value(OTHER_MODEL)
    expect(page.get_by_label("May disable the safety checker")).to_be_checked()
    change(console_page, name, weight=5)
    page.get_by_label("Credits per day").fill("")
    console_page.button("Save").click()
    expect(page.get_by_label("Weight")).to_have_value("5")
    found = console_page.read(f"tenants/{name}")
    assert (found["weight"], found["daily_credits"]) == (5, None)

    console_page.button("Save").click()
    expect(page.get_by_text("Nothing has been changed")).to_be_visible()


def test_a_form_shows_what_others_change_and_keeps_what_is_being_typed(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    name, _ = tenant
    page = console_page.page
    console_page.go(f"#/tenants/{name}", name)
    expect(page.get_by_label("Archive prompts in the history")).to_be_checked()
    page.get_by_label("Weight").fill("3")
    page.get_by_label("Queued jobs").press_sequentially("5e")
    change(console_page, name, weight=2, max_queued=7, budget_action="hold", archive_prompts=False)
    expect(page.get_by_label("When the credits are spent")).to_have_value("hold")
    expect(page.get_by_label("Archive prompts in the history")).not_to_be_checked()
    expect(page.get_by_label("Weight")).to_have_value("3")
    console_page.button("Save").click()
    expect(page.get_by_text("Enter a number.")).to_be_visible()
    assert console_page.read(f"tenants/{name}")["weight"] == 2


def test_a_saved_key_changes_only_what_was_edited(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    name, _ = tenant
    key = a_key(console_page, name, monthly_credits=10, requests_per_minute=5)
    change(console_page, f"{name}/keys/{key}", monthly_credits=20)
    console_page.dialog.get_by_label("Requests per minute").fill("")
    console_page.answer("Save")
    expect(console_page.page.get_by_text("Saved. It applies from now on")).to_be_visible()
    found = key_of(console_page, name, key)
    assert (found["monthly_credits"], found["requests_per_minute"]) == (20, None)


def test_a_delivery_that_was_not_taken_is_sent_again(
    console_page: ConsolePage, provider: Client, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    with receiver() as hook:
        # until it is sent again by hand, however often Darkroom tries
        hook.status = 500
        ask(client, webhook={"url": hook.url, "events": ["job.succeeded"]})
        wait_until(lambda: len(hook.received) > 0, "the first attempt")
        console_page.go(f"#/deliveries?tenant={name}", "Deliveries")
        expect(console_page.row("job.succeeded")).to_contain_text("Status 500")
        console_page.visit.check_access()
        console_page.row("job.succeeded").get_by_role("button", name="job.succeeded").click()
        expect(console_page.dialog).to_contain_text("Attempt 1")
        console_page.answer("Close")
        hook.status = 204
        console_page.row("job.succeeded").get_by_role("button", name="Redeliver").click()
        console_page.answer("Redeliver")
        expect(console_page.row("job.succeeded")).to_contain_text("delivered")
        assert len({one.id for one in hook.received}) == 1
    console_page.button("Redeliver failed…").click()
    console_page.answer("Count")
    expect(console_page.dialog).to_contain_text("No delivery failed since then.")


def test_a_receiver_that_is_off_is_switched_on(
    console_page: ConsolePage, provider: Client, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    with receiver() as hook:
        hook.status = 410
        webhook = {"url": hook.url, "events": ["job.succeeded"]}
        ask(client, webhook=webhook)
        failed = f"deliveries?tenant={name}&status=failed"
        wait_until(lambda: len(console_page.read(failed)["data"]) == 1, "it to be switched off")
        ask(client, webhook=webhook)
        console_page.go(f"#/deliveries?tenant={name}&status=parked", "Deliveries")
        expect(console_page.row("job.succeeded")).to_contain_text("parked")
        hook.status = 200
        console_page.row("job.succeeded").get_by_role("button", name="job.succeeded").click()
        console_page.answer("Enable the endpoint")
        expect(console_page.dialog.last).to_contain_text(
            f"including every pending delivery of {name}"
        )
        console_page.visit.check_access()
        console_page.answer("Enable")
        wait_until(lambda: len(hook.received) == 2, "what it missed")


def switch_off(
    console_page: ConsolePage, client: httpx.Client, hook: WebhookReceiver, name: str
) -> None:
    """Have an endpoint answer 410, and one more delivery wait for it."""
    webhook = {"url": hook.url, "events": ["job.succeeded"]}
    hook.status = 410
    ask(client, webhook=webhook)
    off = f"endpoints?tenant={name}&status=disabled"
    wait_until(lambda: len(console_page.read(off)["data"]) == 1, "it to be switched off")
    ask(client, webhook=webhook)
    parked = f"deliveries?tenant={name}&status=parked"
    wait_until(lambda: len(console_page.read(parked)["data"]) == 1, "a delivery to wait")
    hook.status = 200


def test_an_endpoint_is_found_with_its_error_enabled_and_given_another_secret(
    console_page: ConsolePage, provider: Client, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    row = console_page.row(name)
    with receiver() as hook:
        standing = {"url": hook.url, "events": ["job.failed"], "description": "The shop"}
        client.post("/v1/webhooks/endpoints", json=standing).raise_for_status()
        switch_off(console_page, client, hook, name)
        console_page.go("#/endpoints", "Endpoints")
        console_page.page.get_by_label("Status", exact=True).select_option("disabled")
        for words in (hook.url, "disabled", "responded 410 Gone", "Status 410", "1 parked"):
            expect(row).to_contain_text(words)
        for words in ("The shop", "All jobs: job.failed", "Enable it when its URL responds again"):
            expect(row).to_contain_text(words)
        console_page.visit.check_access()
        row.get_by_role("button", name="Enable").click()
        console_page.answer("Enable")
        wait_until(lambda: len(hook.received) == 2, "what it missed")
    console_page.go(f"#/endpoints?tenant={name}", "Endpoints")
    expect(row).to_contain_text("healthy")
    row.get_by_role("button", name="Rotate secret").click()
    console_page.answer("Rotate")
    secret = console_page.dialog.get_by_role("region", name="the webhook secret")
    expect(secret).to_contain_text("whsec_")
    console_page.answer("I have saved it")


def test_an_endpoint_of_operators_is_created_and_tried(console_page: ConsolePage) -> None:
    console_page.visit.expected = {422}
    with receiver() as hook:
        row = console_page.row(hook.url)
        console_page.go("#/endpoints", "Endpoints")
        console_page.button("New endpoint…").click()
        console_page.dialog.get_by_label("URL").fill("localhost")
        console_page.answer("Create endpoint")
        expect(console_page.dialog).to_contain_text("must begin with http:// or https://")
        console_page.dialog.get_by_label("URL").fill(hook.url)
        console_page.dialog.get_by_label("Description").fill("Team channel")
        console_page.dialog.get_by_label("model.restored").uncheck()
        console_page.visit.check_access()
        console_page.answer("Create endpoint")
        for words in ("Team channel", "provider.held", "slack", "healthy"):
            expect(row).to_contain_text(words)
        expect(row).not_to_contain_text("model.restored")
        row.get_by_role("button", name="Test").click()
        console_page.answer("Send")
        expect(console_page.page.get_by_text("Test event delivered")).to_be_visible()
        assert set(hook.received[0].json) == {"text"}


def test_an_endpoint_of_operators_is_paused_given_another_secret_and_deleted(
    console_page: ConsolePage,
) -> None:
    url = f"https://{uuid.uuid4().hex}.example/"
    made = console_page.operator.post("/ops/v1/webhooks/endpoints", json={"url": url})
    made.raise_for_status()
    row = console_page.row(url)
    console_page.go("#/endpoints", "Endpoints")
    for name, done in (("Pause", "by its owner"), ("Enable", "healthy")):
        row.get_by_role("button", name=name).click()
        console_page.answer(name)
        expect(row).to_contain_text(done)
    row.get_by_role("button", name="Rotate secret").click()
    console_page.answer("Rotate")
    secret = console_page.dialog.get_by_role("region", name="the webhook secret")
    expect(secret).to_contain_text("whsec_")
    console_page.answer("I have saved it")
    console_page.visit.check_access()
    row.get_by_role("button", name="Delete").click()
    console_page.answer("Delete")
    expect(row).to_have_count(0)


def test_the_workers_are_told_with_what_each_holds(
    console_page: ConsolePage, provider: Client, tenant: tuple[str, httpx.Client]
) -> None:
    _, client = tenant
    provider.behave(default="ok", latency_seconds=20)
    job_id = ask(client)
    console_page.go("#/workers", "Workers")
    expect(console_page.row(job_id)).to_contain_text("calling")
    console_page.visit.check_access()
    client.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
    expect(console_page.row(job_id)).to_have_count(0)


def test_a_service_that_is_away_is_said_in_words_and_comes_back(console_page: ConsolePage) -> None:
    page = console_page.page
    page.context.set_offline(True)
    page.get_by_role("button", name="Refresh now").click()
    expect(page.get_by_role("alert")).to_contain_text("This device is offline")
    expect(page.get_by_text("The data below is from")).to_be_visible()
    expect(page.get_by_role("link", name="Accepted")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_have_count(0)
    console_page.visit.faults[:] = [
        one for one in console_page.visit.faults if "ERR_INTERNET" not in one
    ]


def test_whoever_has_no_operators_key_is_told_what_is_needed(visit: Session, key: str) -> None:
    visit.expected = {403}
    page = visit.open("/ops#/audit")
    expect(page.get_by_text("This page needs an operator key")).to_be_visible()
    expect(
        page.get_by_text(
            "stack.json in the data directory (.darkroom by default) contains one as ops_key"
        )
    ).to_be_visible()
    visit.check_access()
    page.get_by_role("main").get_by_role("button", name="Enter an operator key").click()
    page.get_by_role("dialog").get_by_label("API key").fill(key)
    page.get_by_role("dialog").get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
        "lacks the required scope"
    )


def test_usage_is_charted_grouped_and_saved_as_csv(
    console_page: ConsolePage, tenant: tuple[str, httpx.Client]
) -> None:
    name, client = tenant
    for tags in (["a", "b"], ["a", "b"], []):
        wait_for(client, ask(client, tags=tags), "succeeded")
    page = console_page.page
    console_page.go(f"#/usage?tenant={name}", "Usage")
    expect(console_page.rows).to_have_count(2)
    expect(console_page.row("Total")).to_contain_text("3")
    expect(page.get_by_role("img", name="By day: Jobs 3, Calls 3 in total")).to_be_visible()
    assert page.locator("svg.chart .bar").count() == 2
    console_page.visit.check_access()

    page.get_by_label("Tags", exact=True).check()
    page.get_by_label("Day", exact=True).uncheck()
    expect(console_page.row("a, b")).to_contain_text("2")
    expect(console_page.rows).to_have_count(3)
    with page.expect_download() as download:
        console_page.button("Download CSV").click()
    assert download.value.suggested_filename.startswith("usage-")
    lines = download.value.path().read_text().splitlines()
    assert lines[0] == "tags,jobs,calls,credits"
    assert '"a, b",2,2,0.000000' in lines

    page.get_by_role("textbox", name="Month", exact=True).fill("2020-02")
    expect(page.get_by_label("To, included", exact=True)).to_have_value("2020-02-29")
    assert f"tenant={name}&group_by=tag" in page.url


def test_a_csv_that_cannot_be_downloaded_is_reported(console_page: ConsolePage) -> None:
    console_page.visit.expected = {503}
    page = console_page.page
    console_page.go("#/usage", "Usage")
    alert = page.get_by_role("alert")
    problem = {"title": "History unavailable", "detail": "The history did not respond."}
    page.route(
        "**/ops/v1/usage**",
        lambda route: route.fulfill(
            status=503, json=problem, headers={"Content-Type": "application/problem+json"}
        ),
    )
    console_page.button("Download CSV").click()
    expect(alert).to_contain_text("The history did not respond.")
    console_page.visit.check_access()

    page.unroute("**/ops/v1/usage**")
    with page.expect_download():
        console_page.button("Download CSV").click()
    expect(alert).to_have_count(0)


def test_it_is_worked_by_keyboard_and_every_view_has_an_address(console_page: ConsolePage) -> None:
    page = console_page.page
    for name in ("Jobs", "Deliveries", "Endpoints", "Tenants", "Usage", "Workers", "Audit"):
        link = page.get_by_role("navigation", name="Operations").get_by_role("link", name=name)
        link.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
        assert page.url.endswith(f"#/{name.lower()}")
    console_page.visit.check_access()
    page.go_back()
    expect(page.get_by_role("heading", level=1, name="Workers")).to_be_visible()
    for nowhere in ("elsewhere%", "constructor", "__proto__/x"):
        page.goto(f"{console_page.visit.address}/ops#/workers")
        expect(page.get_by_role("heading", level=1, name="Workers")).to_be_visible()
        page.goto(f"{console_page.visit.address}/ops#/{nowhere}")
        expect(page.get_by_text("Page not found")).to_be_visible()
    page.get_by_role("link", name="Skip to the content").press("Enter")
    page.reload()
    expect(page.get_by_role("heading", name="The last hours")).to_be_visible()
    page.goto(f"{console_page.visit.address}/ops#/now?hours=24")
    expect(page.get_by_role("link", name="24 hours", exact=True)).to_have_attribute(
        "aria-current", "true"
    )
    chart = page.get_by_role("img", name="Jobs per minute")
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".reading").first).to_contain_text("Accepted")
    page.get_by_role("button", name="Live").click()
    expect(page.get_by_role("button", name="Live: off")).to_have_attribute("aria-pressed", "false")
