"""The main states of the console, as screenshots, taken on demand and reviewed by people."""

import itertools
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import redis
from playwright.sync_api import expect

from sandbox.wait import wait_until
from shared.store import keys
from shared.store.functions import SAMPLE_STEPS_MS, SAMPLES_KEPT
from shared.store.stats import COUNTED
from tests.browser.console_page import ConsolePage, ask, wait_for
from tests.browser.screenshots import shoot
from tests.browser.session import Session
from tests.e2e.up import Up
from tests.integration.sandbox_client import Client
from tests.support.api_server import client_of
from tests.support.webhook_receiver import receiver

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.screenshots]

PROMPTS = (
    "A lighthouse at dawn, seen through the red light of a darkroom",
    "A pier in fog, 35 mm film",
    "Still life with lemons and a brass lamp",
    "A fox crossing a frozen river",
    "The old library at night, rain on the windows",
)
STEP = SAMPLE_STEPS_MS[0]
#: An outage of the provider, in hours before now.
OUTAGES = ((0.52, 0.41), (9.0, 8.2), (31.5, 30.9))


def past(now: int) -> Iterator[tuple[int, dict[str, int | str]]]:
    """Return what two days of work would have counted: time by time, and the counters then."""
    chance, waiting = random.Random(7), 0
    names = ("accepted", "started", "requeued", "succeeded", "failed", "canceled")
    counts = dict.fromkeys(names, 0)
    for number in range(SAMPLES_KEPT * SAMPLE_STEPS_MS[-1] // STEP, 1, -1):
        hours = number * STEP / 3_600_000
        closed = any(start > hours > end for start, end in OUTAGES)
        usual = 5 + 3 * math.sin((hours + 3) / 24 * 2 * math.pi)
        came = max(round(chance.gauss(usual, 1.5)), 0)
        done = 0 if closed else min(waiting + came, round(chance.gauss(usual + 3, 1)))
        failed = done > 0 and chance.random() < 0.04
        again = chance.random() < (0.6 if closed else 0.03)
        for name, more in zip(names, (came, done, again, done - failed, failed, 0), strict=True):
            counts[name] += more
        waiting += came - done
        there = {"waiting": waiting, "running": min(done, 16), "webhooks": chance.randint(0, 2)}
        why = {"oldest": waiting * 700, "closed": "provider_down" if closed else ""}
        yield now - number * STEP, {**counts, **there, **why}


def seed_history(stack: Up) -> None:
    """Write into Redis what two days would have left there; no test could wait for them."""
    with redis.Redis.from_url(stack.state["redis_url"], decode_responses=True) as client:
        now = int(client.time()[0]) * 1000
        client.delete(*(keys.samples(step) for step in SAMPLE_STEPS_MS))
        pipe = client.pipeline(transaction=False)
        for at, told in past(now):
            for step in SAMPLE_STEPS_MS:
                if (now - at) % step == 0 and now - at <= SAMPLES_KEPT * step:
                    pipe.xadd(keys.samples(step), dict(told), id=f"{at}-0")
        pipe.execute()
        totals = {_TOTALS.get(name, name): told[name] for name in COUNTED}
        client.hset(keys.totals(), mapping=totals)


#: What a sample has under another name than the counters.
_TOTALS = {"started": "running", "requeued": "queued"}


@pytest.fixture(scope="module")
def busy(stack: Up) -> Iterator[httpx.Client]:
    """Give a stack that has worked: two days, two tenants, failures, a receiver that goes down."""
    seed_history(stack)
    provider = Client(stack.state["provider_url"])
    with client_of(stack.state["api"], stack.state["ops_key"]) as operator, receiver() as hook:
        limits = {"weight": 2, "max_running": 20, "max_queued": 10_000, "daily_credits": 500}
        operator.post("/ops/v1/tenants", json={"name": "shop", **limits})
        operator.post("/ops/v1/tenants", json={"name": "catalogue", "max_running": 8})
        made = operator.post("/ops/v1/tenants/shop/keys", json={"label": "website"}).json()
        down, refused = {"fault": "status", "status": 503}, {"fault": "failure_record"}
        with client_of(stack.state["api"], made["key"]) as shop:
            for number, prompt in enumerate(itertools.islice(itertools.cycle(PROMPTS), 20)):
                provider.behave(*((down, refused) if number % 7 == 3 else (down, "ok")))
                url = {"url": hook.url, "events": ["job.succeeded", "job.failed"]}
                asked = {"prompt": prompt, "aspect_ratio": "16:9", "megapixels": "0.25"}
                hook.status = 200 if number < 17 else 500
                job_id = ask(shop, input=asked, webhook=url, tags=["spring"])
                wait_for(shop, job_id, "failed" if number % 7 == 3 else "succeeded")
            provider.behave()
            yield shop


@contextmanager
def held(busy: httpx.Client, operator: httpx.Client) -> Iterator[None]:
    """Let some jobs wait behind a queue that is paused."""
    operator.post("/ops/v1/queues/generate/pause").raise_for_status()
    try:
        for prompt in PROMPTS * 3:
            ask(busy, input={"prompt": prompt, "megapixels": "0.25"})
        yield
    finally:
        body = {"filter": {"status": "queued"}, "expected_count": 100}
        operator.post("/ops/v1/jobs/cancel", json=body).raise_for_status()
        operator.post("/ops/v1/queues/generate/resume").raise_for_status()


def test_now(visit: Session, stack: Up, busy: httpx.Client) -> None:
    with ConsolePage.open(visit, stack) as console_page:
        expect(console_page.page.get_by_role("img", name="Jobs per minute")).to_be_visible()
        shoot(console_page.page, "console")
        visit.turn("dark")
        console_page.go("#/now?hours=24", "Now")
        expect(console_page.page.locator("a[aria-current=true]")).to_have_text("24 hours")
        shoot(console_page.page, "console-dark")


def test_why_jobs_wait(visit: Session, stack: Up, busy: httpx.Client) -> None:
    with ConsolePage.open(visit, stack) as console_page, held(busy, console_page.operator):
        expect(console_page.page.get_by_text("Paused by an operator")).to_be_visible()
        shoot(console_page.page, "console-paused")
        visit.page.set_viewport_size({"width": 390, "height": 844})
        shoot(console_page.page, "console-phone")
        visit.turn("dark")
        console_page.go("#/jobs?status=queued", "Jobs")
        expect(console_page.rows).to_have_count(15)
        console_page.rows.first.scroll_into_view_if_needed()
        shoot(console_page.page, "console-phone-dark")


def test_jobs(visit: Session, stack: Up, busy: httpx.Client) -> None:
    with ConsolePage.open(visit, stack, "#/jobs") as console_page:
        expect(console_page.rows.first).to_be_visible()
        shoot(console_page.page, "console-jobs")
        console_page.go("#/jobs?tenant=shop&status=failed", "Jobs")
        expect(console_page.rows).to_have_count(3)
        console_page.button("Retry all matching…").click()
        expect(console_page.dialog.get_by_role("button", name="Retry 3 jobs")).to_be_visible()
        shoot(console_page.page, "console-retry")


def test_job(visit: Session, stack: Up, busy: httpx.Client) -> None:
    with ConsolePage.open(visit, stack) as console_page:
        failed = console_page.read("jobs?tenant=shop&status=failed&limit=1")["data"][0]["id"]
        console_page.go(f"#/jobs/{failed}", failed)
        expect(console_page.page.get_by_text("status 503:")).to_be_visible()
        shoot(console_page.page, "console-job")
        visit.turn("dark")
        done = console_page.read("jobs?tenant=shop&status=succeeded&limit=1")["data"][0]["id"]
        console_page.go(f"#/jobs/{done}", done)
        visit.wait_for("document.querySelector('img.image')?.naturalWidth > 0")
        shoot(console_page.page, "console-job-dark")


def test_deliveries_and_workers(
    visit: Session, stack: Up, busy: httpx.Client, provider: Client
) -> None:
    with ConsolePage.open(visit, stack, "#/deliveries") as console_page:
        expect(console_page.rows.first).to_be_visible()
        shoot(console_page.page, "console-deliveries")
        provider.behave(latency_seconds=30)
        jobs = [ask(busy, input={"prompt": prompt}) for prompt in PROMPTS]
        console_page.go("#/workers", "Workers")
        expect(console_page.rows).to_have_count(len(jobs))
        wait_until(lambda: not console_page.read("workers")["unreported"], "the workers to tell")
        expect(console_page.page.get_by_text("Just started")).to_have_count(0)
        shoot(console_page.page, "console-workers")
        for job_id in jobs:
            busy.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()


def test_tenants_and_audit(visit: Session, stack: Up, busy: httpx.Client) -> None:
    with ConsolePage.open(visit, stack, "#/tenants/shop") as console_page:
        expect(console_page.row("website")).to_be_visible()
        shoot(console_page.page, "console-tenant")
        visit.turn("dark")
        console_page.go("#/audit", "Audit")
        expect(console_page.rows.first).to_be_visible()
        shoot(console_page.page, "console-audit-dark")
