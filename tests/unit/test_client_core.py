"""The client's rules, without a connection: what is sent, and when it is sent again."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom import errors
from darkroom.bulk.prompt_files import read_lines
from darkroom.commands.generate import GenerateOptions
from darkroom.models import ImageFacts, job_of
from darkroom.operations import Operations
from darkroom.options import batch_body, job_body, key_header
from darkroom.protocol import Answer, Item, NoAnswer, Reply, Request
from darkroom.retries import RetryPolicy, retry_after, send_with_retries

JOB = {"id": "job_1", "status": "queued", "input": {"prompt": "x", "seed": 7}, "image": None}
DONE = {
    **JOB,
    "status": "succeeded",
    "image": {"url": "http://x/i", "content_type": "image/jpeg", "bytes": 3, "sha256": ""},
    "created_at": "2026-11-23T12:00:00.250Z",
    "news_from_a_newer_service": [1],
}
#: A pause is the whole of what it may be.
PATIENCE = RetryPolicy(retries=3, dice=lambda: 1.0)

Script = list[Reply]


def operations() -> Operations[ImageFacts]:
    return Operations(lambda facts: facts, PATIENCE)


def answer(
    told: Any, status: int = 200, headers: Mapping[str, str] | None = None, at: float = 0.0
) -> Answer:
    return Answer(status, httpx.Headers(headers or {}), json.dumps(told).encode(), at)


def problem(status: int, code: str, retry: int | None = None, **more: Any) -> Answer:
    headers = {} if retry is None else {"Retry-After": str(retry)}
    return answer({"code": code, "detail": f"It is {code}.", **more}, status, headers)


def play(steps: Any, replies: Script) -> tuple[list[Request], list[Any], Any]:
    """Send the replies in; return the requests, what was found on the way, and the result."""
    sent: list[Request] = []
    found: list[Any] = []
    given: Reply | None = None
    left = iter(replies)
    while True:
        try:
            step = steps.send(given)
        except StopIteration as end:
            return sent, found, end.value
        if isinstance(step, Item):
            found.append(step.value)
        else:
            sent.append(step)
            given = next(left)


def test_what_belongs_beside_the_input_stands_beside_it() -> None:
    body = job_body("x", {"seed": 1, "tags": ["t"], "model": None, "input": {"new": 2}})
    assert body == {"tags": ["t"], "input": {"prompt": "x", "seed": 1, "new": 2}}


def test_an_input_does_not_replace_the_prompt() -> None:
    with pytest.raises(errors.InvalidInput, match="/input/prompt is given twice"):
        job_body("x", {"input": {"prompt": "y"}})
    with pytest.raises(errors.UsageError, match="--input cannot set the prompt"):
        GenerateOptions(input=["prompt=y"]).options()


def test_a_parameter_is_given_in_the_input_or_beside_it() -> None:
    with pytest.raises(errors.InvalidInput, match="/input/seed is given twice"):
        job_body("x", {"seed": 4, "input": {"seed": 3}})
    assert job_body("x", {"seed": None, "input": {"seed": 3}})["input"]["seed"] == 3


def test_a_line_overrides_an_option_also_in_its_input(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "A", "input": {"seed": 3}}\n{"prompt": "B"}\n')
    assert [line.body["input"]["seed"] for line in read_lines(file, {"seed": 4})] == [3, 4]


def test_the_program_names_fallback_models_next_to_the_input() -> None:
    for given, sent in ((["a", "b"], ["a", "b"]), (["default"], "default")):
        options = GenerateOptions(fallback_model=given).options()
        assert job_body("x", options) == {"fallback_models": sent, "input": {"prompt": "x"}}


def test_a_batch_is_jobs_or_variations_and_not_both() -> None:
    jobs: list[str | dict[str, Any]] = [
        "a",
        {"prompt": "b", "seed": 1, "tags": ["t"]},
        {"input": {"prompt": "c"}},
    ]
    assert batch_body(jobs, None, None, {})["jobs"] == [
        {"input": {"prompt": "a"}},
        {"input": {"prompt": "b", "seed": 1}, "tags": ["t"]},
        {"input": {"prompt": "c"}},
    ]
    varied = batch_body(None, "a", 3, {"input": {"megapixels": "1"}})
    assert varied == {"input": {"prompt": "a", "megapixels": "1"}, "variations": 3}
    for given, prompt, count in ((["a"], "b", None), (None, "a", None), (None, None, 3)):
        with pytest.raises(ValueError, match="either"):
            batch_body(given, prompt, count, {})


@pytest.mark.parametrize(
    ("jobs", "says"),
    [
        ("A gull", "/jobs must be a list"),
        ({"prompt": "A gull"}, "/jobs must be a list"),
        (["A gull", None], "/jobs/1 must be a prompt or a job"),
        ([{"prompt": "x", "idempotency_key": "k"}], "/jobs/0/idempotency_key is an option of the"),
    ],
)
def test_a_batch_that_was_not_meant_is_not_paid_for(jobs: Any, says: str) -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        batch_body(jobs, None, None, {})
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize("text", ["", ".", "..", "job_1/image"])
def test_what_would_lead_to_another_path_is_no_id(text: str) -> None:
    with pytest.raises(errors.NotFound, match="is not an id"):
        next(operations().get_job(text))


def test_an_empty_idempotency_key_is_refused() -> None:
    with pytest.raises(errors.InvalidInput, match="/idempotency_key must be 1 to 255"):
        key_header({"idempotency_key": ""})
    assert key_header({"idempotency_key": None})


def test_a_newer_service_says_more_and_an_older_less() -> None:
    job = job_of(DONE, lambda facts: facts)
    assert (job.raw["news_from_a_newer_service"], job.waiting_on) == ([1], None)
    assert job.created_at.microsecond == 250_000
    assert job.image
    assert (job.image.extension, job.image.seed, job.image.size_bytes) == (".jpg", 7, 3)


@pytest.mark.parametrize(
    "trouble",
    [
        NoAnswer("read timeout", sent=True, at=0),
        NoAnswer("refused", sent=False, at=0),
        problem(503, "redis_down"),
        problem(502, "proxy"),
        problem(429, "tenant_queue_full"),
    ],
)
def test_a_job_is_asked_for_again_under_the_same_key(trouble: Reply) -> None:
    sent, _, job = play(operations().submit("x", {}), [trouble, trouble, answer(JOB, 202)])
    assert job.id == "job_1"
    keys = {request.headers["Idempotency-Key"] for request in sent}
    assert len(keys) == 1
    assert [request.after_seconds for request in sent] == [0.0, 0.5, 1.0]
    assert sent[0].body == sent[2].body


def test_every_call_has_a_key_of_its_own_unless_it_is_given_one() -> None:
    keys = [
        play(operations().submit("x", options), [answer(JOB)])[0][0].headers["Idempotency-Key"]
        for options in ({}, {}, {"idempotency_key": "mine"})
    ]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_retry_after_is_waited_for_with_a_pause_on_top() -> None:
    replies: Script = [problem(429, "rate_limited", 4), answer(JOB)]
    sent, _, _ = play(operations().submit("x", {}), replies)
    assert sent[1].after_seconds == 4.5
    with pytest.raises(errors.RateLimited) as refused:
        play(operations().submit("x", {}), [problem(429, "rate_limited", 3600)])
    assert refused.value.retry_after == 3600


def test_retry_after_may_be_a_date() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": f"Fri, 31 Dec {10**20} 23:59:59 GMT"}) is None
    assert retry_after({}) is None


def test_it_gives_up_in_the_end_and_says_why() -> None:
    away = NoAnswer("Darkroom at http://x did not answer (refused).", sent=False, at=0)
    with pytest.raises(errors.Unavailable, match="did not answer"):
        play(operations().get_job("job_1"), [away] * 4)


def test_what_does_harm_twice_is_sent_once() -> None:
    once = Request("POST", "/x", idempotent=False)
    for unsure in (
        NoAnswer("lost", sent=True, at=0),
        problem(504, ""),
        problem(500, "internal"),
        Answer(503, httpx.Headers(), b"upstream connect error or disconnect/reset", 0),
    ):
        with pytest.raises(errors.Unavailable):
            play(send_with_retries(once, PATIENCE), [unsure])
    for sure in (NoAnswer("refused", sent=False, at=0), problem(503, "redis_down")):
        assert len(play(send_with_retries(once, PATIENCE), [sure, answer({})])[0]) == 2


def test_an_unknown_accept_is_settled_by_reading_the_job() -> None:
    unknown = problem(503, "accept_unknown", 1, job_id="job_1")
    sent, _, job = play(operations().submit("x", {}), [unknown, answer(JOB)])
    assert [(one.method, one.path) for one in sent] == [
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs/job_1"),
    ]
    assert (job.id, sent[1].after_seconds) == ("job_1", 1.0)


def test_what_was_not_accepted_after_all_is_asked_for_under_the_same_key() -> None:
    unknown = problem(503, "accept_unknown", job_id="job_1")
    replies: Script = [unknown, problem(404, "not_found"), answer({**JOB, "id": "job_2"})]
    sent, _, job = play(operations().submit("x", {}), replies)
    assert [one.method for one in sent] == ["POST", "GET", "POST"]
    assert sent[0].headers == sent[2].headers
    assert job.id == "job_2"


@pytest.mark.parametrize(
    ("replies", "unknown"),
    [
        ([problem(429, "credits_spent"), problem(403, "forbidden")], False),
        ([NoAnswer("refused", sent=False, at=0), problem(422, "invalid_request")], False),
        ([NoAnswer("lost", sent=True, at=0), problem(403, "forbidden")], True),
        ([problem(502, ""), problem(422, "invalid_request")], True),
        ([problem(503, "accept_unknown", job_id="j"), problem(403, "forbidden")], True),
        (
            [
                problem(503, "accept_unknown", job_id="j"),
                problem(404, "not_found"),
                problem(403, "forbidden"),
            ],
            True,
        ),
    ],
)
def test_an_error_says_whether_any_reply_left_the_outcome_open(
    replies: Script, *, unknown: bool
) -> None:
    with pytest.raises(errors.DarkroomError) as raised:
        play(operations().submit("x", {}), replies)
    assert raised.value.outcome_unknown is unknown


def test_a_move_whose_answer_was_lost_is_seen_to_be_made() -> None:
    lost = NoAnswer("lost", sent=True, at=0)
    canceled = {**JOB, "status": "canceled"}
    refused = problem(409, "job_final")
    assert play(operations().cancel_job("job_1"), [lost, refused, answer(canceled)])[2].is_final
    with pytest.raises(errors.Conflict):
        play(operations().cancel_job("job_1"), [refused, answer(DONE)])


def test_waiting_holds_one_request_until_something_changes() -> None:
    running = {**JOB, "status": "running"}
    replies: Script = [
        answer(JOB, headers={"etag": 'W/"1"'}),
        answer(None, 304),
        answer(running, headers={"etag": 'W/"2"'}),
        answer(DONE),
    ]
    sent, found, _ = play(operations().watch("job_1"), replies)
    assert [job.status for job in found] == ["queued", "running", "succeeded"]
    assert [one.headers.get("If-None-Match") for one in sent] == [
        None,
        *('W/"1"', 'W/"1"', 'W/"2"'),
    ]
    assert [one.query.get("wait") for one in sent] == [None, 60, 60, 60]


def test_waiting_ends_with_its_time() -> None:
    replies: Script = [answer(JOB, headers={"etag": "1"}, at=10.0), answer(None, 304, at=15.0)]
    sent, found, _ = play(operations().watch("job_1", ends_at=15.0), replies)
    assert (sent[1].query["wait"], len(found)) == (5, 1)


def test_results_come_as_the_feed_tells_of_them_and_each_once() -> None:
    lines = [{"id": "job_1", "status": "succeeded"}, {"id": "job_2", "status": "queued"}]
    manifest = "\n".join(json.dumps(line) for line in lines).encode()
    news = [
        {"job_id": "job_1", "status": "succeeded"},
        {"job_id": "job_9", "status": "failed"},
        {"job_id": "job_2", "status": "running"},
    ]
    last = [{"job_id": "job_2", "status": "failed"}]
    replies: Script = [
        answer({"data": [], "next_cursor": "a"}),
        Answer(200, httpx.Headers(), manifest, 0),
        answer(DONE),
        answer({"data": news, "next_cursor": "b"}),
        answer({"data": last, "next_cursor": "c"}),
        answer({**JOB, "id": "job_2", "status": "failed"}),
    ]
    sent, found, _ = play(operations().results("batch_1", None), replies)
    assert [job.id for job in found] == ["job_1", "job_2"]
    feeds = [one.query["after"] for one in sent if one.path == "/v1/events"]
    assert feeds == ["now", "a", "b"]


def test_a_list_is_read_page_after_page() -> None:
    replies: Script = [
        answer({"data": [JOB], "next_cursor": "n"}),
        answer({"data": [DONE], "next_cursor": None}),
    ]
    sent, found, _ = play(operations().list_jobs({"tag": "t"}), replies)
    assert [job.status for job in found] == ["queued", "succeeded"]
    assert sent[1].query == {"limit": 200, "tag": "t", "cursor": "n"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Unauthorized),
        (403, errors.Unauthorized),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (410, errors.NotFound),
        (422, errors.InvalidInput),
    ],
)
def test_a_refusal_is_an_error_of_its_kind_and_not_tried_again(
    status: int, kind: Callable[..., errors.DarkroomError]
) -> None:
    refused = problem(status, "why", request_id="req_1", errors=[{"pointer": "/a", "message": "b"}])
    with pytest.raises(errors.DarkroomError) as raised:
        play(operations().get_job("job_1"), [refused])
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.request_id) == ("why", "req_1")
    if isinstance(raised.value, errors.InvalidInput):
        assert raised.value.faults == (errors.Fault("/a", "b"),)
        assert str(raised.value) == "/a b."


def test_a_page_that_is_not_darkrooms_is_said_to_be_none() -> None:
    page = Answer(200, httpx.Headers({"content-type": "text/html"}), b"<html>", 0)
    with pytest.raises(errors.Unavailable, match="not Darkroom: 200, text/html"):
        play(operations().get_job("job_1"), [page])


PAGE = Answer(200, httpx.Headers({"content-type": "text/html"}), b"<html>", 0)
MOVED = Answer(301, httpx.Headers({"location": "https://ann:pw@darkroom.example/v1?t=1"}), b"", 0)
IMAGE = job_of(DONE, lambda facts: facts).image


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (PAGE, "is not Darkroom: 200, text/html"),
        (MOVED, r"redirects to https://darkroom\.example\."),
    ],
)
@pytest.mark.parametrize(
    "steps",
    [
        lambda can: can.get_job("job_1"),
        lambda can: can.delete_job("job_1"),
        lambda can: can.delete_endpoint("ep_1"),
        lambda can: can.manifest("batch_1"),
        lambda can: can.usage_csv({}),
        lambda can: can.image_bytes(IMAGE, preview=True),
    ],
)
def test_what_another_server_answers_is_no_success(
    steps: Callable[[Operations[ImageFacts]], Any], reply: Answer, says: str
) -> None:
    with pytest.raises(errors.Unavailable, match=says):
        play(steps(operations()), [reply])


@pytest.mark.parametrize("location", ["", "/login", "https://a:port", "mailto:a@b"])
def test_a_redirect_to_no_other_server_is_told_as_it_is(location: str) -> None:
    moved = Answer(302, httpx.Headers({"location": location}), b"", 0)
    with pytest.raises(errors.Unavailable, match="is not Darkroom: 302"):
        play(operations().get_job("job_1"), [moved])


def test_what_the_service_answers_to_such_requests_is_a_success() -> None:
    def text(kind: str, content: bytes) -> Answer:
        return Answer(200, httpx.Headers({"content-type": kind}), content, 0)

    can, deleted = operations(), Answer(204, httpx.Headers(), b"", 0)
    assert play(can.delete_job("job_1"), [deleted])[2] is None
    assert play(can.delete_endpoint("ep_1"), [deleted])[2] is None
    assert play(can.manifest("batch_1"), [text("application/x-ndjson", b'{"id": "j"}\n')])[2] == [
        {"id": "j"}
    ]
    assert play(can.usage_csv({}), [text("text/csv; charset=utf-8", b"day\r\n")])[2] == "day\r\n"
    assert IMAGE
    assert play(can.image_bytes(IMAGE, preview=True), [text("image/webp", b"i")])[2] == b"i"
