"""What a webhook says, how it is signed, and when it is tried again."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from shared.jobs import Image, State
from shared.serializers import View
from shared.settings import Settings
from shared.signing import ImageUrlSigner, new_webhook_secret, now_utc, webhook_headers
from shared.store.deliveries import Delivery
from tests.support.jobs import JOB_ID, job
from worker.webhook_client import DeliveryResult, SendError
from worker.webhook_delivery import (
    JITTER,
    PROXY_WAIT_LEAST_SECONDS,
    PROXY_WAIT_MOST_SECONDS,
    is_in_time,
    message,
    next_wait,
    outcome_of,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VIEW = View("https://darkroom.test", ImageUrlSigner(keys=(b"k" * 32,)))
SCHEDULE = (0.0, 5.0, 30.0)
IMAGE = Image("acme/x.webp", "image/webp", 672, 384, 9000, "ab" * 32)


def delivery(payload: str = "full", *, attempt: int = 1, **changes: Any) -> Delivery:
    webhook = {
        "url": "https://example.com/hook",
        "events": ["job.succeeded"],
        "headers": {"X-Token": "a secret of the receiver"},
        "payload": payload,
    }
    finished: dict[str, Any] = {"state": State.SUCCEEDED, "image": IMAGE, "webhook": webhook}
    return Delivery(
        id="msg_1",
        fence="1",
        secrets=(SECRET,),
        type="job.succeeded",
        attempt=attempt,
        round_attempt=attempt,
        webhook=webhook,
        created_at=1_700_000_005_678,
        job=job(**{**finished, **changes}),
    )


def data_of(body: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = orjson.loads(body)
    return parsed


def test_the_full_body_is_the_job_as_the_api_shows_it() -> None:
    body = data_of(message(VIEW, delivery()))
    assert list(body) == ["type", "timestamp", "data"]
    assert body["type"] == "job.succeeded"
    assert body["timestamp"] == "2023-11-14T22:13:25.678Z"
    assert (body["data"]["id"], body["data"]["status"]) == (JOB_ID, "succeeded")
    assert body["data"]["image"]["sha256"] == IMAGE.sha256
    assert body["data"]["image"]["url"].startswith("https://darkroom.test/v1/jobs/job_")


def test_the_slim_body_names_the_job_and_no_more() -> None:
    body = data_of(message(VIEW, delivery("slim")))
    assert set(body["data"]) == {"id", "status", "version", "run", "metadata"}


def test_the_headers_that_a_receiver_asked_for_are_not_told_in_the_body() -> None:
    assert b"a secret of the receiver" not in message(VIEW, delivery())


def test_a_receiver_can_verify_what_it_gets_with_the_public_package() -> None:
    body = message(VIEW, delivery())
    headers = webhook_headers([SECRET], message_id="msg_1", at=now_utc(), body=body.decode())
    assert Webhook(SECRET).verify(body, headers) == data_of(body)


def test_while_a_secret_rotates_either_verifies() -> None:
    body = message(VIEW, delivery())
    newer = new_webhook_secret()
    headers = webhook_headers([newer, SECRET], message_id="msg_1", at=now_utc(), body=body.decode())
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (newer, SECRET):
        assert Webhook(secret).verify(body, headers) == data_of(body)


def test_a_test_event_is_sent_once() -> None:
    one = replace(delivery(), type="webhook.test")
    settings = Settings(webhook_schedule=SCHEDULE)
    assert outcome_of(answer(500), one, settings) == ("failed", 0.0)


def test_an_egress_proxy_that_fails_uses_up_no_attempt_but_that_of_a_test_event() -> None:
    down = DeliveryResult(None, 0.1, code=SendError.EGRESS_PROXY_DOWN)
    settings, last = Settings(webhook_schedule=SCHEDULE), delivery(attempt=len(SCHEDULE))
    assert outcome_of(down, last, settings, chance=lambda: 0.5) == (
        *("release", PROXY_WAIT_LEAST_SECONDS),
    )
    one = replace(delivery(), type="webhook.test")
    assert outcome_of(down, one, settings) == ("failed", 0.0)


@pytest.mark.parametrize(
    ("waited", "least", "most"),
    [
        (20, PROXY_WAIT_LEAST_SECONDS, PROXY_WAIT_LEAST_SECONDS),
        (200, 50, PROXY_WAIT_MOST_SECONDS),
        (86_400, PROXY_WAIT_MOST_SECONDS, PROXY_WAIT_MOST_SECONDS),
    ],
)
def test_an_egress_proxy_is_asked_more_rarely_the_longer_it_fails(
    waited: float, least: float, most: float
) -> None:
    since = now_utc().timestamp() - waited
    one = replace(delivery(), last_attempt={"proxy_down_since": since})
    down = DeliveryResult(None, 0.1, code=SendError.EGRESS_PROXY_DOWN)
    wait = outcome_of(down, one, Settings(webhook_schedule=SCHEDULE), chance=lambda: 0.5)[1]
    assert least <= wait <= most


def test_what_is_no_job_is_told_as_it_was_kept() -> None:
    one = replace(delivery("slim"), job=None, data={"id": "batch_1", "status": "done", "more": 1})
    assert data_of(message(VIEW, one))["data"] == {"id": "batch_1", "status": "done"}
    assert data_of(message(VIEW, replace(one, webhook={})))["data"]["more"] == 1


def test_a_body_that_was_changed_on_the_way_does_not_verify() -> None:
    body = message(VIEW, delivery())
    headers = webhook_headers([SECRET], message_id="msg_1", at=now_utc(), body=body.decode())
    with pytest.raises(Exception, match="signature"):
        Webhook(SECRET).verify(body.replace(b"succeeded", b"failed"), headers)


@pytest.mark.parametrize(("attempt", "base"), [(1, 5.0), (2, 30.0)])
def test_waits_follow_the_schedule_with_a_tenth_of_jitter(attempt: int, base: float) -> None:
    chance = random.Random(3).random
    found = [next_wait(SCHEDULE, attempt, chance=chance) or 0 for _ in range(500)]
    assert base * (1 - JITTER) <= min(found) < base * 0.92
    assert base * 1.08 < max(found) <= base * (1 + JITTER)


def test_after_the_last_attempt_there_is_no_wait() -> None:
    assert next_wait(SCHEDULE, 3) is None
    assert next_wait((0.0,), 1) is None


def answer(status: int | None, headers: Mapping[str, str] | None = None) -> DeliveryResult:
    code = None if status and status // 100 == 2 else SendError.STATUS
    code = SendError.GONE if status == 410 else code
    return DeliveryResult(status, 0.1, code=code, retry_after=(headers or {}).get("retry-after"))


@pytest.mark.parametrize(
    ("status", "attempt", "meant"),
    [
        (200, 1, "delivered"),
        (204, 3, "delivered"),
        (299, 1, "delivered"),
        (301, 1, "retry"),
        (304, 1, "retry"),
        (400, 1, "retry"),
        (404, 2, "retry"),
        (410, 1, "gone"),
        (429, 1, "retry"),
        (500, 1, "retry"),
        (500, 3, "failed"),
        (None, 1, "retry"),
        (None, 3, "failed"),
    ],
)
def test_each_answer_has_its_outcome(status: int | None, attempt: int, meant: str) -> None:
    settings = Settings(webhook_schedule=SCHEDULE)
    assert outcome_of(answer(status), delivery(attempt=attempt), settings)[0] == meant


def wait_after(header: str, attempt: int = 1) -> float:
    settings = Settings(webhook_schedule=SCHEDULE)
    sent = answer(429, {"retry-after": header})
    return outcome_of(sent, delivery(attempt=attempt), settings, chance=lambda: 0.5)[1]


def test_a_receivers_own_wish_is_followed_up_to_an_hour() -> None:
    assert wait_after("1200") == 1200
    assert wait_after("7200") == 3600
    assert wait_after(format_datetime(now_utc() + timedelta(minutes=20), usegmt=True)) > 1190


@pytest.mark.parametrize(
    ("status", "seconds", "in_time"),
    [(200, 0.1, True), (500, 3.0, True), (200, 14.0, False), (204, 3.1, False), (None, 0.1, False)],
)
def test_a_host_is_in_time_whatever_it_answers_within_a_fifth_of_the_limit(
    status: int | None,
    seconds: float,
    in_time: bool,  # noqa: FBT001
) -> None:
    assert (
        is_in_time(DeliveryResult(status, seconds), Settings(webhook_timeout_seconds=15)) is in_time
    )


def test_a_wish_for_less_than_the_schedule_changes_nothing() -> None:
    assert wait_after("0") == 5
    assert wait_after("soon") == 5
    assert wait_after("-3") == 5
