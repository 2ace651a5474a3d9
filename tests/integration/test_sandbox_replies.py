"""What a generate call of the sandbox provider can meet: one test a fault."""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from sandbox.provider.server import running
from tests.integration.sandbox_client import Client, steered


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def client(provider_url: str) -> Iterator[Client]:
    with steered(provider_url) as client:
        yield client


@pytest.mark.parametrize("status", [402, 403, 404, 418, 429, 500, 502, 503])
def test_a_status_is_answered_in_the_providers_shape(client: Client, status: int) -> None:
    client.behave({"fault": "status", "status": status})

    answer = client.generate()

    assert answer.status_code == status
    assert set(answer.json()) == {"errorCode", "message"}
    assert "retry-after" not in answer.headers
    assert client.outcomes() == [("generate", str(status), False)]


def test_too_fast_can_say_when_to_come_back(client: Client) -> None:
    client.behave({"fault": "status", "status": 429, "retry_after": 2})

    assert client.generate().headers["retry-after"] == "2"


def test_a_team_without_credits_is_told_both_numbers(client: Client) -> None:
    client.behave(
        {"fault": "status", "status": 406},
        {"fault": "status", "status": 406, "required": 9, "available": 0},
    )

    assert client.generate().json() == {
        "errorCode": "INSUFFICIENT_CREDITS",
        "message": "The feature requires 105 credits, but the Team only has 35 credits",
    }
    assert "requires 9 credits, but the Team only has 0" in client.generate().json()["message"]


def test_a_status_can_have_words_of_its_own(client: Client) -> None:
    client.behave(
        {
            "fault": "status",
            "status": 400,
            "code": "MISSING_REQUIRED_FIELDS",
            "message": "no",
            "details": [{"field": "seed", "message": "m"}],
        }
    )

    body = client.generate().json()

    assert (body["errorCode"], body["message"]) == ("MISSING_REQUIRED_FIELDS", "no")
    assert json.loads(body["details"]) == [{"field": "seed", "message": "m"}]


@pytest.mark.parametrize("status", [504, 520, 522, 524])
def test_the_gateway_answers_with_a_page(client: Client, status: int) -> None:
    client.behave({"fault": "status", "status": status})

    answer = client.generate()

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


def test_busy_hides_what_really_happened(client: Client) -> None:
    client.behave(
        {"fault": "misleading_busy", "status": 422, "message": "NSFW content"},
        {"fault": "misleading_busy", "details": False},
    )

    hidden, bare = client.generate(), client.generate()

    assert hidden.status_code == bare.status_code == 400
    assert hidden.json()["errorCode"] == "EXTERNAL_API_RESPONSE_WITH_ERROR"
    assert "is a bit busy, please try again shortly" in hidden.json()["message"]
    inner = json.loads(hidden.json()["details"])["response"]
    assert (inner["status"], inner["data"]["message"]) == (422, "NSFW content")
    assert "details" not in bare.json()


def test_an_image_can_be_made_and_the_reply_lost_at_the_gateway(client: Client) -> None:
    client.behave({"fault": "made_but_522"})

    answer = client.generate()

    assert answer.status_code == 522
    assert client.outcomes() == [("generate", "made_but_522", True)]
    assert client.look_up(client.calls()[0]["record_id"])["status"] == "SUCCESS"


def test_a_hanging_call_outlasts_the_callers_patience(client: Client) -> None:
    client.behave({"fault": "hang", "seconds": 30})
    client.http.timeout = httpx.Timeout(0.3)

    with pytest.raises(httpx.ReadTimeout):
        client.generate()

    assert client.outcomes() == [("generate", "hang", True)]


def test_a_hanging_call_answers_in_the_end(client: Client) -> None:
    client.behave({"fault": "hang", "seconds": 0.2}, {"fault": "hang", "seconds": 0, "paid": False})

    assert client.generate().status_code == 200
    assert client.generate().status_code == 504
    assert [paid for _, _, paid in client.outcomes()] == [True, False]


@pytest.mark.parametrize("paid", [True, False])
def test_a_connection_is_dropped_without_a_reply(client: Client, paid: bool) -> None:  # noqa: FBT001
    client.behave({"fault": "drop", "paid": paid})

    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        client.generate()

    assert client.outcomes() == [("generate", "drop", paid)]


def test_a_connection_is_reset(client: Client) -> None:
    client.behave({"fault": "drop", "reset": True})

    with pytest.raises(httpx.ReadError):
        client.generate()


def test_a_reply_is_no_json(client: Client) -> None:
    client.behave({"fault": "malformed"})

    answer = client.generate()

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_reply_is_empty(client: Client) -> None:
    client.behave({"fault": "empty"})

    answer = client.generate()

    assert (answer.status_code, answer.content) == (200, b"")


def test_a_reply_is_huge(client: Client) -> None:
    client.behave({"fault": "huge_reply", "bytes": 3_000_001})

    answer = client.generate()

    assert len(answer.content) == 3_000_001
    assert list(answer.json()) == ["aiRecord"]


def test_a_record_failed(client: Client) -> None:
    client.behave({"fault": "failure_record", "message": "no luck"})

    record = client.record()

    assert record["status"] == "FAILURE"
    assert record["aiRecordDetail"]["errorMessage"] == "no luck"
    assert "temporaryUrl" not in record
    assert client.outcomes() == [("generate", "failure_record", False)]


def test_an_asynchronous_record_fails_when_it_is_looked_up(client: Client) -> None:
    client.behave({"fault": "failure_record", "status": "FAILED"})

    record = client.record(is_async=True)

    assert record["status"] == "PROCESSING"
    assert client.look_up(record["uuid"])["status"] == "FAILED"


def test_a_record_lacks_its_address(client: Client) -> None:
    client.behave({"fault": "missing_url"}, {"fault": "missing_url", "times": 1})
    always, once = client.record(), client.record()

    assert "temporaryUrl" not in always
    assert "temporaryUrl" not in once
    assert "temporaryUrl" not in client.look_up(always["uuid"])
    assert "temporaryUrl" in client.look_up(once["uuid"])


def test_a_record_is_stuck(client: Client) -> None:
    client.behave({"fault": "stuck"}, {"fault": "stuck", "seconds": 0})
    for_ever, briefly = client.record(), client.record()

    assert for_ever["status"] == briefly["status"] == "PROCESSING"
    assert client.look_up(for_ever["uuid"])["status"] == "PROCESSING"
    assert client.look_up(briefly["uuid"])["status"] == "SUCCESS"


def test_an_address_can_point_elsewhere(client: Client) -> None:
    client.behave(
        {"fault": "url", "url": "http://169.254.169.254/latest"},
        {"fault": "url", "host": "example.com:81"},
        {"fault": "url", "place": "top"},
    )

    assert client.record()["temporaryUrl"] == "http://169.254.169.254/latest"
    assert client.record()["temporaryUrl"].startswith("http://example.com:81/assets/")
    top = client.generate().json()
    assert "temporaryUrl" not in top["aiRecord"]
    assert client.http.get(top["temporaryUrl"]).status_code == 200


def test_one_key_or_one_model_can_fail_alone(client: Client) -> None:
    client.limit({"key": "key-of-team-b", "default": {"fault": "status", "status": 406}})
    removed = {"fault": "status", "status": 400, "code": "UNSUPPORTED_MODEL"}
    client.limit({"model": "black-forest-labs/flux-2-klein-4b", "default": removed})
    body = {"type": "IMAGE_GENERATOR", "promptObject": {"prompt": "A lighthouse"}}
    asked = [("key-of-team-a", "9b"), ("key-of-team-b", "9b"), ("key-of-team-a", "4b")]

    answers = [
        client.http.post(
            "/api/features",
            json=body | {"model": f"black-forest-labs/flux-2-klein-{size}"},
            headers={"API-KEY": key},
        )
        for key, size in asked
    ]

    assert [answer.status_code for answer in answers] == [200, 406, 400]
    assert answers[2].json()["errorCode"] == "UNSUPPORTED_MODEL"
    assert [(call["key"], call["model"][-2:]) for call in client.calls()] == [
        ("am-a", "9b"),
        ("am-b", "9b"),
        ("am-a", "4b"),
    ]


def test_a_record_can_echo_what_was_not_asked_for(client: Client) -> None:
    echo = {"prompt": "Another", "seed": 8, "model": "m", "record_id": "\x1b[31mred", "results": 2}
    client.behave({"fault": "echo", **echo})

    record = client.record()

    detail = record["aiRecordDetail"]
    assert (record["uuid"], record["model"]) == ("\x1b[31mred", "m")
    assert (detail["promptObject"]["prompt"], detail["promptObject"]["seed"]) == ("Another", 8)
    assert detail["promptObject"]["aspect_ratio"] == "16:9"
    assert len(detail["resultObject"]) == 2
    assert client.http.get(record["temporaryUrl"]).status_code == 200


def test_a_record_id_can_be_repeated(client: Client) -> None:
    client.behave("ok", {"fault": "repeat_record"}, {"fault": "repeat_record"})

    first, second, third = (client.record() for _ in range(3))

    assert first["uuid"] == second["uuid"] == third["uuid"]
    assert len({urlsplit(one["temporaryUrl"]).path for one in (first, second, third)}) == 3


def test_an_address_can_be_repeated(client: Client) -> None:
    client.behave("ok", {"fault": "repeat_url"}, {"fault": "repeat_url"})

    records = [client.record(seed=seed) for seed in (1, 2, 3)]

    assert len({record["uuid"] for record in records}) == 3
    assert len({urlsplit(record["temporaryUrl"]).path for record in records}) == 1
    images = {client.http.get(record["temporaryUrl"]).content for record in records}
    assert len(images) == 1
