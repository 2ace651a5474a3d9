import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from shared.errors import (
    JobError,
    ProviderAuth,
    ProviderBusy,
    ProviderCredits,
    ProviderDown,
    ProviderRejected,
    ProviderTimeout,
    RequestBlocked,
    UnknownOutcome,
)
from shared.jobs import ProviderResult
from worker.provider.client import NO_RECORD, OneMin, Stopped
from worker.provider.echo import Request

KEY = "key-of-the-team"
URL = "https://storage.1min.ai/a.webp?sig=1"
MODEL = "black-forest-labs/flux-2-klein-9b"
PROMPT_OBJECT = {"prompt": "a heron", "num_inference_steps": 4, "go_fast": True, "megapixels": "1"}
REQUEST = Request(MODEL, PROMPT_OBJECT)

Handler = Callable[[httpx.Request], httpx.Response]


def provider(
    handler: Handler,
    *,
    auth_header: str = "API-KEY",
    asynchronous: bool = False,
    timeout_seconds: float = 5.0,
    pause: Callable[[float], bool] = lambda _: False,
) -> OneMin:
    return OneMin(
        httpx.Client(transport=httpx.MockTransport(lambda request: unread(handler(request)))),
        base_url="https://api.1min.ai",
        auth_header=auth_header,
        timeout_seconds=timeout_seconds,
        asynchronous=asynchronous,
        pause=pause,
    )


def unread(reply: httpx.Response) -> httpx.Response:
    """Return a reply as it comes from a connection: httpx reads those made from bytes at once."""
    return httpx.Response(reply.status_code, headers=reply.headers, stream=reply.stream)


def record_reply(status: str, url: str | None = URL) -> httpx.Response:
    record = {"uuid": "b2c3", "status": status, "temporaryUrl": url}
    return httpx.Response(200, json={"aiRecord": record})


RECORD = record_reply("SUCCESS").content


def in_turn(*replies: httpx.Response | Exception) -> Handler:
    left = iter(replies)

    def answer(_: httpx.Request) -> httpx.Response:
        reply = next(left)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return answer


def test_the_request_is_the_documented_one() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return record_reply("SUCCESS")

    found = provider(answer).generate(REQUEST, key=KEY)

    assert found == ProviderResult("b2c3", URL)
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "https://api.1min.ai/api/features")
    assert request.headers["API-KEY"] == KEY
    assert request.headers["Content-Type"] == "application/json"
    body = json.loads(request.content)
    assert list(body) == ["type", "model", "promptObject"]
    assert body["type"] == "IMAGE_GENERATOR"
    assert body["model"] == MODEL
    assert list(body["promptObject"].items()) == list(PROMPT_OBJECT.items())


def test_the_key_can_go_as_a_bearer_token() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return record_reply("SUCCESS")

    provider(answer, auth_header="Authorization").generate(REQUEST, key=KEY)

    assert seen == [f"Bearer {KEY}"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401, json={"message": f"API key {KEY} is not active"}),
        httpx.Response(
            200, json={"aiRecord": {"status": "FAILURE", "errorMessage": f"No access for {KEY}"}}
        ),
    ],
    ids=["a refusal", "a failed record"],
)
def test_a_key_that_an_answer_repeats_is_not_shown(answer: httpx.Response) -> None:
    with pytest.raises(JobError, match=r"\*\*\*") as caught:
        provider(in_turn(answer)).generate(REQUEST, key=KEY)

    assert KEY not in str(caught.value)


def test_a_good_answer_that_has_the_key_in_it_is_read_as_it_came() -> None:
    url = f"https://storage.1min.ai/{KEY}.webp"

    answer = provider(in_turn(record_reply("SUCCESS", url))).generate(REQUEST, key=KEY)

    assert answer == ProviderResult("b2c3", url)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("no"), httpx.ConnectTimeout("no"), httpx.PoolTimeout("no")]
)
def test_a_request_that_never_left_is_the_provider_being_down(error: Exception) -> None:
    with pytest.raises(ProviderDown):
        provider(in_turn(error)).generate(REQUEST, key=KEY)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("no"),
        httpx.ReadError("no"),
        httpx.WriteTimeout("no"),
        httpx.WriteError("no"),
        httpx.RemoteProtocolError("no"),
        httpx.DecodingError("no"),
    ],
)
def test_a_request_whose_answer_was_lost_has_an_unknown_outcome(error: Exception) -> None:
    with pytest.raises(UnknownOutcome):
        provider(in_turn(error)).generate(REQUEST, key=KEY)


def test_a_huge_reply_is_not_read_to_its_end() -> None:
    read: list[int] = []

    def flood() -> Iterator[bytes]:
        for _ in range(100):
            read.append(100_000)
            yield b" " * 100_000

    with pytest.raises(UnknownOutcome):
        provider(in_turn(httpx.Response(200, content=flood()))).generate(REQUEST, key=KEY)

    assert sum(read) <= 1_200_000


def broken_off(status: int, body: bytes, **headers: str) -> httpx.Response:
    """Return a reply whose connection breaks after `body`."""

    def sent() -> Iterator[bytes]:
        yield body
        raise httpx.RemoteProtocolError("peer closed connection")

    return httpx.Response(status, headers=headers, content=sent())


@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (broken_off(429, b"", retry_after="20"), ProviderBusy),
        (broken_off(401, b'{"message":'), ProviderAuth),
        (broken_off(406, b'{"message":'), ProviderCredits),
        (broken_off(503, b"<html"), ProviderDown),
        (broken_off(522, b"<html"), UnknownOutcome),
        (broken_off(400, b'{"errorCode": "EXTERNAL'), ProviderDown),
        (broken_off(200, b'{"aiRecord": {"uuid": "b2c3"'), UnknownOutcome),
    ],
    ids=["429", "401", "406", "503", "522", "400", "200"],
)
def test_a_refusal_counts_even_if_its_body_does_not_arrive_whole(
    reply: httpx.Response, meant: type[JobError]
) -> None:
    with pytest.raises(JobError) as caught:
        provider(in_turn(reply)).generate(REQUEST, key=KEY)

    assert type(caught.value) is meant


def test_a_complete_record_counts_even_if_its_connection_breaks() -> None:
    reply = broken_off(200, RECORD)

    assert provider(in_turn(reply)).generate(REQUEST, key=KEY) == ProviderResult("b2c3", URL)


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (RECORD, "gzip"),
        (RECORD, "br"),
        (gzip.compress(RECORD), "gzip"),
        (gzip.compress(RECORD), ""),
        (zlib.compress(RECORD), "deflate"),
    ],
    ids=["plain as gzip", "plain as br", "gzip", "gzip without a label", "deflate"],
)
def test_a_reply_is_read_whatever_its_content_encoding_says(body: bytes, label: str) -> None:
    reply = httpx.Response(200, headers={"Content-Encoding": label}, stream=httpx.ByteStream(body))

    assert provider(in_turn(reply)).generate(REQUEST, key=KEY) == ProviderResult("b2c3", URL)


def test_a_reply_that_decompresses_to_more_than_any_record_is_cut() -> None:
    bomb = httpx.Response(200, stream=httpx.ByteStream(gzip.compress(bytes(50_000_000))))

    with pytest.raises(UnknownOutcome):
        provider(in_turn(bomb)).generate(REQUEST, key=KEY)


def test_async_mode_tells_the_record_at_once_and_polls_it() -> None:
    seen: list[str] = []
    replies = in_turn(
        record_reply("PROCESSING", None),
        record_reply("PROCESSING", None),
        httpx.Response(503),
        httpx.ConnectError("no"),
        record_reply("SUCCESS"),
    )

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.path}")
        if request.method == "POST":
            assert json.loads(request.content)["async"] is True
        return replies(request)

    found = provider(answer, asynchronous=True).generate(REQUEST, key=KEY, on_submitted=seen.append)

    assert found == ProviderResult("b2c3", URL)
    assert seen == ["POST /api/features", "b2c3"] + ["GET /api/results/b2c3"] * 4


def test_a_record_that_appears_late_is_not_taken_for_lost() -> None:
    missing = [httpx.Response(200, json={"aiRecord": None}) for _ in range(3)]
    replies = in_turn(record_reply("PROCESSING", None), *missing, record_reply("SUCCESS"))

    found = provider(replies, asynchronous=True).generate(REQUEST, key=KEY)

    assert found == ProviderResult("b2c3", URL)


def test_an_image_that_its_record_names_late_is_not_lost() -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    missing = [record_reply("SUCCESS", None) for _ in range(3)]
    replies = in_turn(*missing, httpx.Response(503), record_reply("SUCCESS"))

    found = provider(replies, pause=pause).generate(REQUEST, key=KEY)

    assert found == ProviderResult("b2c3", URL)
    assert pauses == [0, 0.5, 1, 2]


def test_a_stop_while_an_image_is_awaited_leaves_an_unknown_outcome() -> None:
    with pytest.raises(UnknownOutcome):
        provider(in_turn(record_reply("SUCCESS", None)), pause=lambda _: True).generate(
            REQUEST, key=KEY
        )


def test_a_record_that_fails_is_a_refusal() -> None:
    replies = in_turn(record_reply("PROCESSING", None), record_reply("FAILURE", None))

    with pytest.raises(ProviderRejected):
        provider(replies, asynchronous=True).generate(REQUEST, key=KEY)


@pytest.mark.parametrize(
    ("poll", "meant"),
    [
        (record_reply("PROCESSING", None), ProviderTimeout),
        (httpx.Response(500), UnknownOutcome),
        (httpx.Response(401), UnknownOutcome),
        (httpx.Response(200, json={"aiRecord": None}), UnknownOutcome),
    ],
    ids=["unfinished", "down", "dead key", "forgotten"],
)
def test_after_the_request_was_taken_nothing_is_taken_for_unmade(
    poll: httpx.Response, meant: type[JobError]
) -> None:
    replies = in_turn(record_reply("PROCESSING", None), poll)

    with pytest.raises(meant):
        provider(replies, asynchronous=True, timeout_seconds=0.5).generate(REQUEST, key=KEY)


def test_a_stop_ends_the_wait_for_a_record_at_once() -> None:
    stopping = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            stopping.set()
        return record_reply("PROCESSING", None)

    asked = provider(answer, asynchronous=True, timeout_seconds=600, pause=stopping.wait)
    with pytest.raises(Stopped):
        asked.generate(REQUEST, key=KEY)
    with pytest.raises(Stopped):
        asked.look_up("b2c3", key=KEY)


def test_a_look_up_finds_the_image_or_that_there_is_none() -> None:
    assert provider(in_turn(record_reply("SUCCESS"))).look_up("b2c3", key=KEY) == ProviderResult(
        "b2c3", URL
    )
    forgotten = httpx.Response(200, json={"aiRecord": None})
    assert provider(in_turn(forgotten)).look_up("b2c3", key=KEY) is None


def test_a_record_id_cannot_lead_to_another_address() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        return record_reply("SUCCESS")

    provider(answer).look_up("../features?x=1", key=KEY)

    assert seen == ["/api/results/..%2Ffeatures%3Fx%3D1"]


def test_a_key_is_checked_for_free() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        alive = request.headers["API-KEY"] == KEY
        return httpx.Response(200 if alive else 401, json={"aiRecord": None})

    provider(answer).check_key(KEY)
    with pytest.raises(ProviderAuth):
        provider(answer).check_key("another")

    assert seen == [f"/api/results/{NO_RECORD}"] * 2


BLOCKED = httpx.Response(403, text="<html><title>Attention Required!</title></html>")


def test_a_403_for_one_prompt_leaves_the_key_in_use() -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        return BLOCKED if request.method == "POST" else httpx.Response(200, json={"aiRecord": None})

    with pytest.raises(ProviderDown, match="refuses this request") as caught:
        provider(handler).generate(REQUEST, key=KEY)
    assert "Attention Required" in caught.value.evidence
    assert asked == ["POST /api/features", f"GET /api/results/{NO_RECORD}"]


ABOUT_KEYS = httpx.Response(400, json={"message": 'The prompt "API key expired" is not allowed'})


def test_words_about_a_key_leave_it_in_use_if_a_check_shows_that_it_works() -> None:
    works = httpx.Response(200, json={"aiRecord": None})
    with pytest.raises(RequestBlocked):
        provider(in_turn(ABOUT_KEYS, works)).generate(REQUEST, key=KEY)


def test_words_about_a_key_reject_it_if_a_check_fails_too() -> None:
    with pytest.raises(ProviderAuth):
        provider(in_turn(ABOUT_KEYS, httpx.Response(401))).generate(REQUEST, key=KEY)


@pytest.mark.parametrize("check", [BLOCKED, httpx.Response(503), httpx.ConnectError("refused")])
def test_a_403_rejects_the_key_unless_a_check_shows_that_it_works(
    check: httpx.Response | Exception,
) -> None:
    with pytest.raises(ProviderAuth):
        provider(in_turn(BLOCKED, check)).generate(REQUEST, key=KEY)


@pytest.mark.parametrize("wait", [True, False])
def test_a_record_that_may_not_be_read_leaves_the_key_in_use(*, wait: bool) -> None:
    well = httpx.Response(200, json={"aiRecord": None})
    with pytest.raises(RequestBlocked):
        provider(in_turn(BLOCKED, well)).look_up("r", key=KEY, wait=wait)
    with pytest.raises(ProviderAuth):
        provider(in_turn(BLOCKED, BLOCKED)).look_up("r", key=KEY, wait=wait)


def test_a_401_rejects_the_key_without_a_check() -> None:
    with pytest.raises(ProviderAuth) as caught:
        provider(in_turn(httpx.Response(401))).generate(REQUEST, key=KEY)
    assert caught.value.__cause__ is None


def test_a_key_is_checked_once_though_the_provider_is_down() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(503)

    with pytest.raises(ProviderDown):
        provider(answer).check_key(KEY)

    assert seen == [f"/api/results/{NO_RECORD}"]


def evidence(reply: httpx.Response) -> str:
    with pytest.raises(JobError) as caught:
        provider(in_turn(reply)).generate(REQUEST, key=KEY)
    return caught.value.evidence


def test_what_the_provider_said_is_evidence_without_secrets() -> None:
    body = r'{"message":"no   capacity","key":"key-of-the-team","at":"https:\/\/a.b\/c?sig=1"}'
    said = evidence(httpx.Response(500, text=body))
    assert said == 'status 500: {"message":"no capacity","key":"***","at":"https://a.b/c?…"}'


@pytest.mark.parametrize("mark", ["?", r"\u003f", r"\u003F"])
def test_no_way_to_write_an_address_keeps_its_signature(mark: str) -> None:
    said = evidence(httpx.Response(500, text=f'{{"at":"https:\\u002F\\/a.b/c{mark}sig=1"}}'))
    assert said == 'status 500: {"at":"https://a.b/c?…"}'


def test_of_a_long_answer_both_ends_are_evidence() -> None:
    record = {"status": "FAILURE", "prompt": "p" * 5000, "errorMessage": "It went wrong."}
    said = evidence(httpx.Response(200, json={"aiRecord": record}))
    assert said.startswith('status 200: {"aiRecord":{"status":"FAILURE"')
    assert said.endswith('"errorMessage":"It went wrong."}}')
    assert len(said) <= 300


def test_no_answer_is_no_evidence() -> None:
    with pytest.raises(ProviderDown) as caught:
        provider(in_turn(httpx.ConnectError("no"))).generate(REQUEST, key=KEY)
    assert caught.value.evidence == ""
