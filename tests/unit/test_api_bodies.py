"""What is asked for is checked whole: every fault is named, at its place."""

import json
from typing import Any

import pytest

from api.jobs.parsing import JobRequestContext, fingerprint, parse_job
from api.problems import Problem
from shared.api_keys import TENANT_SCOPES
from shared.jobs import FOREVER, OnUnknown, Priority, Retention
from shared.model_catalog import CHOSEN_SEED_MAX, DEFAULT_MODEL
from shared.settings import Settings
from shared.store.job_submission import NewJob
from shared.store.tenants import Principal
from tests.support.bad_bodies import BAD_BODIES

SETTINGS = Settings(webhook_allow_hosts=("allowed.localhost", "10.0.0.1"))


def asking(*, may_disable_safety: bool = True, key: str | None = None) -> JobRequestContext:
    holder = Principal("k", "h", frozenset(TENANT_SCOPES), "acme", may_disable_safety)
    return JobRequestContext(holder, SETTINGS, key)


def ask(body: object, **how: Any) -> NewJob:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_job(raw, asking(**how))


def faults(body: object, **how: Any) -> dict[str, str]:
    with pytest.raises(Problem) as caught:
        ask(body, **how)
    assert caught.value.code == "invalid_request"
    return {fault.pointer: fault.message for fault in caught.value.errors}


@pytest.mark.parametrize(("body", "pointer"), [pytest.param(*bad) for bad in BAD_BODIES])
def test_a_bad_body_is_refused_at_its_place(body: bytes, pointer: str) -> None:
    found = faults(body)
    assert list(found) == [pointer]
    assert found[pointer]


def test_all_faults_of_a_body_are_named_at_once() -> None:
    body = {
        "model": DEFAULT_MODEL,
        "input": {"prompt": " ", "megapixels": 1, "sed": 4, "disable_safety_checker": True},
        "webhook": {"url": "http://127.0.0.1/"},
        "pri0rity": "high",
        "tags": ["a", "a"],
        "reuse": True,
    }
    assert set(faults(body, may_disable_safety=False, key="not visible")) == {
        "/input/prompt",
        "/input/megapixels",
        "/input/sed",
        "/input/disable_safety_checker",
        "/webhook/url",
        "/pri0rity",
        "/tags",
        "/input/seed",
        "/header/Idempotency-Key",
    }


def test_an_unknown_model_is_named_with_the_faults_of_the_envelope() -> None:
    body = {"model": "nobody/nothing", "input": {"prompt": "p"}, "deadline_seconds": 0}
    assert set(faults(body)) == {"/model", "/deadline_seconds"}


def test_a_misspelt_option_is_told_with_the_one_that_was_meant() -> None:
    found = faults({"input": {"prompt": "p", "aspect_ration": "1:1"}, "prioity": "low"})
    assert found["/input/aspect_ration"] == "is unknown; did you mean aspect_ratio?"
    assert found["/prioity"] == "is unknown; did you mean priority?"


def test_a_choice_is_told_in_words() -> None:
    found = faults({"input": {"prompt": "p", "megapixels": "2"}, "priority": "urgent"})
    assert found["/input/megapixels"] == "must be one of: 0.25, 1"
    assert found["/priority"] == "must be one of: high, normal, low"


def test_what_is_left_open_is_filled_in() -> None:
    job = ask({"input": {"prompt": "A lighthouse"}})
    seed = job.spec.input["seed"]
    assert 0 <= seed <= CHOSEN_SEED_MAX
    assert job.spec.input == {
        "prompt": "A lighthouse",
        "aspect_ratio": "1:1",
        "output_format": "webp",
        "output_quality": 80,
        "num_inference_steps": 4,
        "go_fast": True,
        "megapixels": "1",
        "disable_safety_checker": False,
        "seed": seed,
    }
    assert job.spec.model == DEFAULT_MODEL
    assert job.priority is Priority.NORMAL
    assert job.deadline_seconds == SETTINGS.deadline_seconds
    assert job.spec.on_unknown is OnUnknown.RETRY
    assert job.spec.webhook is None


def test_a_webhook_tells_of_every_end_unless_it_says_otherwise() -> None:
    job = ask({"input": {"prompt": "p"}, "webhook": {"url": "https://Example.COM:8443/x?y=1"}})
    assert job.spec.webhook == {
        "url": "https://Example.COM:8443/x?y=1",
        "events": ["job.succeeded", "job.failed", "job.canceled"],
    }
    assert job.webhook_host == "example.com"


def test_a_webhook_keeps_its_headers_and_its_size() -> None:
    webhook = {
        "url": "https://example.com/",
        "events": ["job.started"],
        "headers": {"X-Token": "a b", "Authorization": "Bearer 1"},
        "payload": "slim",
    }
    assert ask({"input": {"prompt": "p"}, "webhook": webhook}).spec.webhook == webhook


@pytest.mark.parametrize(
    "url",
    [
        "http://allowed.localhost:9/x",
        "https://10.0.0.1/",
        "https://93.184.215.14/",
        "http://[2606:2800:21f::1]:8080/x",
        "https://example.com.:443/",
        "https://sub_domain.example.com/%C3%A9?a=b#c",
    ],
)
def test_an_address_that_may_be_called_is_taken(url: str) -> None:
    assert ask({"input": {"prompt": "p"}, "webhook": {"url": url}}).webhook_host


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://BÜCHER.example.:8443/a?b=c#d", "https://xn--bcher-kva.example.:8443/a?b=c#d"),
        ("https://例え\u3002テスト/", "https://xn--r8jz45g.xn--zckzah/"),
        ("https://\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.com/", "https://example.com/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
    ],
)
def test_a_host_of_any_script_is_written_as_dns_has_it(url: str, written: str) -> None:
    webhook = ask({"input": {"prompt": "p"}, "webhook": {"url": url}}).spec.webhook
    assert webhook
    assert webhook["url"] == written


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://bücher.example./", "xn--bcher-kva.example"),
        ("https://Example.com.:443/", "example.com"),
        ("https://[2606:2800:21F:0:0::1]/", "2606:2800:21f::1"),
        ("http://1568069390/", "93.118.215.14"),
        ("http://93.118.215.14./", "93.118.215.14"),
    ],
)
def test_all_spellings_of_a_host_wait_in_one_queue(url: str, host: str) -> None:
    assert ask({"input": {"prompt": "p"}, "webhook": {"url": url}}).webhook_host == host


def test_the_safety_checker_may_be_switched_off_by_those_who_may() -> None:
    body = {"input": {"prompt": "p", "disable_safety_checker": True}}
    assert ask(body).spec.input["disable_safety_checker"] is True
    assert set(faults(body, may_disable_safety=False)) == {"/input/disable_safety_checker"}


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\x00", "a\tb"])
def test_an_idempotency_key_that_cannot_be_is_refused(key: str) -> None:
    assert set(faults({"input": {"prompt": "p"}}, key=key)) == {"/header/Idempotency-Key"}


@pytest.mark.parametrize("key", ["a", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~!"])
def test_a_visible_idempotency_key_is_taken(key: str) -> None:
    job = ask({"input": {"prompt": "p"}}, key=key)
    assert job.idempotency_key == key
    assert job.fingerprint


def test_the_fingerprint_knows_a_body_again_however_it_is_written() -> None:
    one = b'{"input":{"prompt":"th\xc3\xa9","seed":1},"tags":["a","b"]}'
    same = b'{ "tags" : ["a", "b"],\n "input": {"seed": 1, "prompt": "th\\u00e9"} }'
    other = b'{"input":{"prompt":"th\xc3\xa9","seed":1},"tags":["b","a"]}'
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)


def test_a_chosen_seed_does_not_change_the_fingerprint() -> None:
    first, second = (ask({"input": {"prompt": "p"}}, key="k") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.id != second.id


def test_a_hostile_number_of_faults_is_not_told_in_full() -> None:
    body = {"input": {"prompt": "p"}, **{f"unknown{number}": 1 for number in range(5000)}}
    assert len(faults(body)) == 100


@pytest.mark.parametrize(
    "body",
    [
        {"input": {"prompt": "p"}, "metadata": {f"k{n}": "v" for n in range(50)}},
        {"input": {"prompt": "p"}, "metadata": {"k" * 64: "v" * 512, "é": ""}},
        {"input": {"prompt": "p"}, "tags": [f"tag {n}" for n in range(10)]},
        {"input": {"prompt": "p"}, "tags": ["t" * 64]},
        {"input": {"prompt": "é" * 10_000, "seed": 2**53 - 1}},
        {"input": {"prompt": "p", "seed": None}, "webhook": None, "deadline_seconds": None},
        {"input": {"prompt": "p"}, "reuse": False, "dry_run": False, "fail_fast": None},
        {"input": {"prompt": "p", "seed": 0}, "reuse": True, "dry_run": True},
        {"input": {"prompt": "p"}, "fail_fast": {"max_position": 0, "max_wait_seconds": 0}},
        {"input": {"prompt": "p"}, "deadline_seconds": 30 * 86_400, "on_unknown": "fail"},
        {"input": {"prompt": "p", "output_quality": 0, "num_inference_steps": 1}},
        {"input": {"prompt": "p"}, "retention": {"image_seconds": 60, "record_seconds": 60.0}},
    ],
)
def test_what_is_just_within_the_limits_is_taken(body: dict[str, Any]) -> None:
    assert ask(body).id


@pytest.mark.parametrize(
    ("written", "value"), [("7.0", 7), ("7e0", 7), ("70e-1", 7), ("0.0", 0), ("-0.0", 0)]
)
def test_a_whole_number_is_an_integer_however_it_is_written(written: str, value: int) -> None:
    found = ask(f'{{"input":{{"prompt":"p","seed":{written}}}}}'.encode()).spec.input["seed"]
    assert (found, type(found)) == (value, int)


def test_every_integer_of_a_job_may_be_written_as_a_whole_float() -> None:
    body = {
        "input": {"prompt": "p", "output_quality": 90.0, "num_inference_steps": 2.0},
        "deadline_seconds": 600.0,
        "fail_fast": {"max_position": 3.0},
    }
    job = ask(body)
    assert (job.spec.input["output_quality"], job.spec.input["num_inference_steps"]) == (90, 2)
    assert (job.deadline_seconds, job.max_position) == (600, 3)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ({}, Retention(None, None)),
        ({"image_seconds": None}, Retention(FOREVER, None)),
        ({"image_seconds": 60, "record_seconds": None}, Retention(60, FOREVER)),
        ({"image_seconds": None, "record_seconds": 60}, Retention(FOREVER, 60)),
    ],
)
def test_a_retention_of_null_is_another_than_none_at_all(
    sent: dict[str, Any], stored: Retention
) -> None:
    assert ask({"input": {"prompt": "p"}, "retention": sent}).spec.retention == stored


def test_an_image_is_not_kept_longer_than_its_job() -> None:
    body = {"input": {"prompt": "p"}, "retention": {"image_seconds": 61, "record_seconds": 60}}
    assert faults(body)["/retention/image_seconds"] == (
        "must be at most `record_seconds` (60): an image is deleted with its job"
    )


def test_an_image_that_is_kept_too_long_is_named_beside_other_faults() -> None:
    kept = {"image_seconds": 61, "record_seconds": 60, "images": 1}
    found = faults({"input": {"prompt": "p"}, "retention": kept})
    assert set(found) == {"/retention/image_seconds", "/retention/images"}


def test_a_byte_order_mark_before_a_body_is_ignored() -> None:
    raw = b'{"input":{"prompt":"p","seed":7}}'
    assert ask(b"\xef\xbb\xbf" + raw, key="k").fingerprint == ask(raw, key="k").fingerprint


def test_a_body_of_another_encoding_is_told_which_one_is_taken() -> None:
    body = json.dumps({"input": {"prompt": "p"}})
    assert faults(body.encode("utf-16"))[""] == "must be encoded in UTF-8, and looks like UTF-16"


def test_a_member_that_another_replaces_does_not_matter_to_the_key() -> None:
    raw = b'{"input":{"prompt":"p","seed":NaN,"seed":7}}'
    assert (
        ask(raw, key="k").fingerprint
        == ask({"input": {"prompt": "p", "seed": 7}}, key="k").fingerprint
    )
