import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import (
    ContentRejected,
    EndpointMissing,
    JobError,
    ModelGone,
    ProviderAuth,
    ProviderBusy,
    ProviderCredits,
    ProviderDown,
    ProviderRejected,
    RecordFailed,
    UnknownOutcome,
)
from shared.jobs import ProviderResult
from worker.provider.error_parsing import Reply, excerpt, quote, retry_after
from worker.provider.responses import Unfinished, read_answer, read_models, read_record

URL = "https://s3.us-east-1.amazonaws.com/asset.1min.ai/a.webp?X-Amz-Signature=abc"
BUSY = "the service is a bit busy, please try again shortly"


def reply(status: int, body: object = b"", **headers: str) -> Reply:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, written
    )


def busy(details: object) -> dict[str, Any]:
    return {
        "errorCode": "EXTERNAL_API_RESPONSE_WITH_ERROR",
        "message": BUSY,
        "details": details,
    }


def inner(status: int, message: str) -> str:
    return json.dumps({"response": {"status": status, "data": {"message": message}}})


def failed(message: str) -> dict[str, Any]:
    return {"aiRecord": {"uuid": "a", "status": "FAILURE", "errorMessage": message}}


HTML = b"<!DOCTYPE html><title>Gateway time-out</title>"
NO_CREDITS = "This feature requires 105 credits, but the team only has 35 credits."
THROTTLED = "ThrottlerException: Too Many Requests"
WRITTEN = inner(400, "NSFW content detected").replace("400", '"400"')
FIELDS = '[{"field": "prompt", "message": "is required"}]'

TABLE: list[tuple[str, Reply, type[JobError]]] = [
    ("401", reply(401), ProviderAuth),
    ("403", reply(403, {"message": "Forbidden"}), ProviderAuth),
    ("403 as a web page", reply(403, HTML), ProviderAuth),
    ("not active", reply(400, {"message": "The API key is not active"}), ProviderAuth),
    ("deleted", reply(400, {"message": "API Key has been deleted"}), ProviderAuth),
    ("revoked", reply(400, {"error": {"message": "api-key was revoked"}}), ProviderAuth),
    ("expired", reply(404, {"message": "Your api key is expired"}), ProviderAuth),
    ("406", reply(406, {"errorCode": "INSUFFICIENT_CREDITS"}), ProviderCredits),
    ("402", reply(402), ProviderCredits),
    ("credits under 400", reply(400, {"code": "INSUFFICIENT_CREDITS"}), ProviderCredits),
    ("model gone", reply(400, {"errorCode": "UNSUPPORTED_MODEL"}), ModelGone),
    ("model not found", reply(400, {"errorCode": "MODEL_NOT_FOUND"}), ModelGone),
    ("too fast under 400", reply(400, {"error": {"code": "rate_limit_exceeded"}}), ProviderBusy),
    ("too fast under 200", reply(200, {"errorCode": "TOO_MANY_REQUESTS"}), ProviderBusy),
    ("credits under 403", reply(403, {"errorCode": "INSUFFICIENT_CREDITS"}), ProviderCredits),
    ("credits in words", reply(400, {"message": NO_CREDITS}), ProviderCredits),
    ("too few credits", reply(400, {"message": "Insufficient credits"}), ProviderCredits),
    ("a prompt about credits", reply(400, {"message": f'"{NO_CREDITS}" is bad'}), ProviderRejected),
    ("model gone under 403", reply(403, {"errorCode": "UNSUPPORTED_MODEL"}), ModelGone),
    ("too fast under 403", reply(403, {"errorCode": "RATE_LIMIT_EXCEEDED"}), ProviderBusy),
    ("too fast in words", reply(400, {"message": THROTTLED}), ProviderBusy),
    (
        "fields",
        reply(400, {"errorCode": "MISSING_REQUIRED_FIELDS", "details": FIELDS}),
        ProviderRejected,
    ),
    ("busy, 422 inside", reply(400, busy(inner(422, "bad ratio"))), ProviderRejected),
    ("busy, NSFW", reply(400, busy(inner(400, "NSFW content detected"))), ContentRejected),
    ("busy, policy", reply(400, busy(inner(400, "violates content policy"))), ContentRejected),
    ("busy, moderation", reply(400, busy(inner(403, "flagged: moderation"))), ContentRejected),
    (
        "busy, the key of the model's host",
        reply(400, busy(inner(400, "API key expired. Please renew the API key."))),
        ProviderDown,
    ),
    (
        "busy, a prompt about keys",
        reply(400, busy(inner(400, 'The prompt "API key expired" violates our content policy'))),
        ContentRejected,
    ),
    ("busy, NSFW, a written status", reply(400, busy(WRITTEN)), ContentRejected),
    ("busy, the account of 1min.ai", reply(400, busy(inner(402, "billing"))), ProviderDown),
    ("busy, no key of 1min.ai", reply(400, busy(inner(401, "unauthorized"))), ProviderDown),
    ("busy, 408 inside", reply(400, busy(inner(408, "timed out"))), ProviderDown),
    ("busy, 429 inside", reply(400, busy(inner(429, "rate"))), ProviderDown),
    ("busy, 503 inside", reply(400, busy(inner(503, "down"))), ProviderDown),
    ("busy, no details", reply(400, busy(None)), ProviderDown),
    ("busy, details not JSON", reply(400, busy("oops")), ProviderDown),
    ("busy, details an object", reply(400, busy(json.loads(inner(400, "bad")))), ProviderRejected),
    ("unknown error", reply(400, {"errorCode": "UNKNOWN_ERROR"}), ProviderRejected),
    ("other 4xx", reply(418, b"teapot"), ProviderRejected),
    ("429", reply(429, retry_after="7"), ProviderBusy),
    ("500", reply(500), ProviderDown),
    ("502", reply(502, HTML), ProviderDown),
    ("503", reply(503, retry_after="3"), ProviderDown),
    ("504", reply(504, HTML), UnknownOutcome),
    ("520", reply(520, HTML), UnknownOutcome),
    ("522", reply(522, HTML), UnknownOutcome),
    ("524", reply(524, HTML), UnknownOutcome),
    ("another 5xx", reply(599), UnknownOutcome),
    ("edge cannot connect", reply(521), ProviderDown),
    ("redirect", reply(302), EndpointMissing),
    ("no such endpoint", reply(404, HTML), EndpointMissing),
    ("no such method", reply(405), EndpointMissing),
    ("no such endpoint any more", reply(410, HTML), EndpointMissing),
    ("no JSON taken", reply(415), EndpointMissing),
    ("another host's server", reply(421, HTML), EndpointMissing),
    ("only over TLS", reply(426), EndpointMissing),
    ("no POST", reply(501, HTML), EndpointMissing),
    ("a proxy of the network", reply(407, HTML), EndpointMissing),
    ("a login page of the network", reply(511, HTML), EndpointMissing),
    ("too early", reply(425), ProviderDown),
    ("200 without credits", reply(200, {"errorCode": "INSUFFICIENT_CREDITS"}), ProviderCredits),
    ("200, model gone", reply(200, {"error": {"code": "UNSUPPORTED_MODEL"}}), ModelGone),
    (
        "200, busy",
        reply(200, {"aiRecord": None, "code": "EXTERNAL_API_RESPONSE_WITH_ERROR"}),
        ProviderDown,
    ),
    ("200 around 429", reply(200, {"statusCode": 429, "message": THROTTLED}), ProviderBusy),
    ("200 around 401", reply(200, {"statusCode": 401, "message": "Unauthorized"}), ProviderAuth),
    ("200 around 504", reply(200, {"statusCode": 504}), UnknownOutcome),
    ("200 around 200", reply(200, {"statusCode": 200}), UnknownOutcome),
    ("200, another error", reply(200, {"errorCode": "UNKNOWN_ERROR"}), UnknownOutcome),
    ("200 empty", reply(200), UnknownOutcome),
    ("200 web page", reply(200, HTML), UnknownOutcome),
    ("200 cut", reply(200, b'{"aiRecord": {"uuid": "a", "stat'), UnknownOutcome),
    ("200 list", reply(200, [1]), UnknownOutcome),
    ("200 nested", reply(200, b"[" * 100_000), UnknownOutcome),
    ("200 no url", reply(200, {"aiRecord": {"uuid": "a", "status": "SUCCESS"}}), UnknownOutcome),
    (
        "200 odd url",
        reply(200, {"aiRecord": {"status": "SUCCESS", "temporaryUrl": "file:///etc/passwd"}}),
        UnknownOutcome,
    ),
    (
        "failed record",
        reply(200, {"aiRecord": {"uuid": "a", "status": "FAILURE"}}),
        ProviderRejected,
    ),
    ("failed record, busy", reply(200, failed(BUSY)), RecordFailed),
    ("failed record, too fast", reply(200, failed("429 Too Many Requests")), RecordFailed),
    (
        "failed record, unsafe",
        reply(
            200,
            {
                "aiRecord": {
                    "uuid": "a",
                    "status": "FAILED",
                    "aiRecordDetail": {"errorMessage": "Sensitive content"},
                }
            },
        ),
        ContentRejected,
    ),
    (
        "failed record, unsafe, as a string",
        reply(
            200,
            {
                "aiRecord": {
                    "status": "FAILURE",
                    "aiRecordDetail": '{"errorMessage": "NSFW content"}',
                }
            },
        ),
        ContentRejected,
    ),
    (
        "list of words, dead key",
        reply(400, {"message": ["The API key is not active"], "error": "Bad Request"}),
        ProviderAuth,
    ),
    ("list of words, unsafe", reply(400, {"message": ["NSFW content"]}), ContentRejected),
]


@pytest.mark.parametrize(
    ("came", "meant"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_each_reply_means_one_error(came: Reply, meant: type[JobError]) -> None:
    with pytest.raises(JobError) as caught:
        read_answer(came)

    assert type(caught.value) is meant


def record(**given: object) -> Reply:
    return reply(200, {"aiRecord": {"uuid": "b2c3", "temporaryUrl": URL, **given}})


@pytest.mark.parametrize("status", ["SUCCESS", "COMPLETED", "success", "ok", "READY"])
def test_a_success_is_an_answer_with_its_record(status: str) -> None:
    assert read_answer(record(status=status)) == ProviderResult("b2c3", URL)


def test_an_address_at_the_top_level_is_taken_too() -> None:
    came = reply(200, {"aiRecord": {"uuid": "b2c3", "status": "SUCCESS"}, "temporaryUrl": URL})

    assert read_answer(came) == ProviderResult("b2c3", URL)


def test_an_answer_without_a_record_id_or_status_is_still_an_answer() -> None:
    assert read_answer(reply(200, {"temporaryUrl": URL})) == ProviderResult(None, URL)


@pytest.mark.parametrize("status", ["PROCESSING", "QUEUED_SOMEHOW"])
def test_an_unknown_status_is_unfinished(status: str) -> None:
    assert read_answer(record(status=status)) == Unfinished("b2c3")


def test_the_credits_that_are_told_come_along() -> None:
    text = "This feature requires 1,105 credits, but the team only has 35 credits."

    with pytest.raises(ProviderCredits) as caught:
        read_answer(reply(406, {"errorCode": "INSUFFICIENT_CREDITS", "message": text}))

    assert (caught.value.needed, caught.value.has) == (1105, 35)


def test_the_fields_at_fault_are_named() -> None:
    with pytest.raises(ProviderRejected, match="prompt: is required"):
        read_answer(reply(400, {"errorCode": "MISSING_REQUIRED_FIELDS", "details": FIELDS}))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("7", 7),
        ("1.5", 1.5),
        ("20, 20", 20),
        ("86400", 600),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0),
        ("soon", None),
        ("9" * 5000, None),
        ("Wed, 21 Oct 99999999999999999999 07:28:30 GMT", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_ten_minutes_at_most(
    written: str | None, seconds: float | None
) -> None:
    now = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)

    assert retry_after(written, now=now) == seconds


def test_a_date_to_wait_for_counts_by_the_clock_of_its_sender() -> None:
    then = {"retry_after": "Wed, 21 Oct 2015 07:28:30 GMT"}
    with pytest.raises(ProviderBusy) as caught:
        read_answer(reply(429, date="Wed, 21 Oct 2015 07:28:00 GMT", **then))

    assert caught.value.retry_after == 30


def test_a_busy_provider_says_how_long() -> None:
    with pytest.raises(ProviderBusy) as caught:
        read_answer(reply(429, retry_after="7"))

    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("theirs", "shown"),
    [
        ("The generation failed. Please try again.", "The generation failed."),
        ("Something went wrong, you may retry later!", "Something went wrong."),
        ("Too many requests, try again in 7.5 s", "Too many requests."),
        ("Please try again later. Code 17.", "Code 17."),
        ("TRY AGAIN", ""),
        ("Try again with another prompt.", "Try again with another prompt."),
        ("The retry limit is exceeded.", "The retry limit is exceeded."),
        ("Bad entry again", "Bad entry again"),
    ],
)
def test_the_providers_advice_to_try_again_is_left_out(theirs: str, shown: str) -> None:
    assert quote(theirs) == shown


REASONS = {"message": ["prompt is too long", 7, "seed is not a number"]}


@pytest.mark.parametrize(
    "body",
    [REASONS, busy(json.dumps({"response": {"status": 400, "data": REASONS}}))],
    ids=["outside", "inside"],
)
def test_reasons_in_a_list_are_all_shown(body: dict[str, Any]) -> None:
    with pytest.raises(ProviderRejected, match="prompt is too long; seed is not a number"):
        read_answer(reply(400, body))


def test_an_error_that_is_final_does_not_advise_a_retry() -> None:
    record = {"aiRecord": {"status": "FAILURE", "errorMessage": "It failed. Please try again."}}
    with pytest.raises(ProviderRejected) as caught:
        read_answer(reply(200, record))
    assert "try again" not in str(caught.value)
    assert not caught.value.retryable


def test_what_the_provider_wrote_is_shown_cut_and_without_signatures() -> None:
    shown = quote(f"see {URL}\n" + "x" * 1000)

    assert shown.startswith("see https://s3.us-east-1.amazonaws.com/asset.1min.ai/a.webp?… x")
    assert "Signature" not in shown
    assert len(shown) == 300


def test_a_look_up_of_an_unknown_record_finds_nothing() -> None:
    assert read_record(reply(200, {"aiRecord": None})) is None


@pytest.mark.parametrize(
    "came", [reply(404), reply(400), reply(524), reply(200), reply(200, {"aiRecord": "?"})]
)
def test_a_failed_look_up_tells_nothing_about_the_record(came: Reply) -> None:
    with pytest.raises(ProviderDown):
        read_record(came)


@pytest.mark.parametrize(
    "raw", [b"\x1b[31mb2\x00c3", b"\\u001b[31mb2\\u0000c3", b"b2\\ud800c3\xff"]
)
def test_a_record_id_keeps_visible_ascii_only(raw: bytes) -> None:
    body = b'{"aiRecord":{"uuid":"%s","status":"SUCCESS","temporaryUrl":"%s"}}'

    answer = read_answer(reply(200, body % (raw, URL.encode())))

    assert answer == ProviderResult("b2c3", URL)


def test_a_byte_order_mark_does_not_make_a_paid_answer_unreadable() -> None:
    body = json.dumps({"aiRecord": {"status": "SUCCESS", "temporaryUrl": URL}}).encode()

    assert read_answer(reply(200, b"\xef\xbb\xbf" + body)) == ProviderResult(None, URL)


def test_control_characters_of_a_refusal_are_not_shown() -> None:
    refusal = reply(400, {"message": "\x1b[2J\x1b]0;title\x07no\u202e way\x00"})

    with pytest.raises(ProviderRejected) as caught:
        read_answer(refusal)

    assert str(caught.value) == "1min.ai refuses the request: no way"


def test_the_evidence_has_no_control_characters_and_hides_nothing_behind_them() -> None:
    body = b'{"message": "\x1b[31mht\x00tps://h.test/a?sig=1 k\x00ey"}'

    evidence = excerpt(reply(500, body), secret="key")

    assert evidence == 'status 500: {"message": "https://h.test/a?… ***"}'


RECORD = {"uuid": "a", "status": "SUCCESS", "temporaryUrl": URL}
GOOD = json.dumps({"aiRecord": RECORD})


@pytest.mark.parametrize(
    "body",
    [
        {"aiRecord": {**RECORD, "temporaryUrl": URL.replace("https:", "HTTPS:")}},
        {"aiRecord": {**RECORD, "temporaryUrl": [URL]}},
        {"aiRecord": {**RECORD, "status": "success "}},
        {"aiRecord": {**RECORD, "status": "SUCCEEDED"}},
        {"aiRecord": [RECORD]},
        {"aiRecord": json.dumps(RECORD)},
        {"data": {"aiRecord": RECORD}},
        {"result": {"aiRecord": RECORD}},
        [{"aiRecord": RECORD}],
        {"aiRecord": {**RECORD, "temporaryUrl": [URL, "https://storage.1min.ai/2.webp"]}},
        {"aiRecord": {**RECORD, "temporaryUrl": json.dumps([URL])}},
        {"aiRecord": {**RECORD, "temporaryUrl": "images/a.webp"}, "temporaryUrl": URL},
        f"{GOOD}\n<!-- cached -->".encode(),
        f'{{"cost": {"7" * 6000}, {GOOD[1:]}'.encode(),
        GOOD.encode("utf-16"),
        GOOD.replace(", ", ",\0").encode(),
    ],
    ids=[
        *("scheme in capitals", "URL in a list", "status and a blank", "another word"),
        *("record in a list", "record as text", "data around it"),
        *("result around it", "a list around it"),
        *("two URLs", "URLs as text", "a key instead of the URL", "more behind it"),
        *("6,000 digits", "UTF-16", "NUL"),
    ],
)
def test_a_success_in_another_form_is_an_answer(body: object) -> None:
    answer = read_answer(reply(200, body))
    assert isinstance(answer, ProviderResult)
    assert (answer.record_id, answer.url.lower()) == ("a", URL.lower())


@pytest.mark.parametrize("price", ["Infinity", "NaN", "-1", "1e9", f"1{'0' * 400}", '"7"'])
def test_a_price_that_no_model_can_have_is_left_out_of_the_list(price: str) -> None:
    body = f'{{"models": [{{"modelId": "m", "creditEstimation": {price}}}]}}'.encode()
    assert [one.credits for one in read_models(reply(200, body))] == [None]
