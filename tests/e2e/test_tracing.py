"""One trace from the caller's request to the webhook, over real processes, and over their loss."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.wait import wait_until
from tests.faults.crash_points import Trap
from tests.faults.service import Service, service
from tests.support.trace_collector import Collector, Seen, collector

pytestmark = pytest.mark.xdist_group("tracing")

CALLERS_SPAN = "00f067aa0ba902b7"
SERVER, CLIENT, CONSUMER = 2, 3, 5


def traceparent(trace: str) -> str:
    return f"00-{trace}-{CALLERS_SPAN}-01"


@pytest.fixture(scope="module")
def seen() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, seen: Collector) -> Iterator[Service]:
    told = {"DARKROOM_OTLP_ENDPOINT": seen.url, "DARKROOM_LOG_FORMAT": "json"}
    where = tmp_path_factory.mktemp("tracing")
    with service(where, workers=1, concurrency=2, **told) as running:
        yield running


def ask(here: Service, trace: str, request_id: str) -> str:
    headers = {"traceparent": traceparent(trace), "X-Request-Id": request_id}
    made = here.http.post("/v1/jobs", json=here.body(word=request_id), headers=headers)
    assert made.status_code == 202, made.text
    return str(made.json()["id"])


def wait_for_all(here: Service, seen: Collector, trace: str, job_id: str) -> None:
    """Wait for a job's webhook, and until every process has told its part of the trace."""
    here.wait_for_webhooks([job_id])
    last = {"POST /v1/jobs", "attempt", "webhook"}
    wait_until(lambda: last <= named(seen.of(trace)).keys(), "the whole trace")


def named(spans: list[Seen]) -> dict[str, Seen]:
    return {span.name: span for span in spans}


def lines(data: Path, **facts: object) -> list[dict[str, Any]]:
    """Return the lines of all logs that say these facts."""
    texts = [path.read_text(errors="replace") for path in (data / "logs").glob("*.log")]
    read = [json.loads(line) for text in texts for line in text.splitlines() if line[:1] == "{"]
    return [line for line in read if facts.items() <= line.items()]


def test_one_trace_leads_from_the_caller_to_the_webhook_and_names_what_happened(
    here: Service, seen: Collector
) -> None:
    # given
    trace = "a" * 32
    job_id = ask(here, trace, "request-one")
    # when
    wait_for_all(here, seen, trace, job_id)
    # then
    spans = named(seen.of(trace))
    request, attempt = spans["POST /v1/jobs"], spans["attempt"]
    assert request.parent == CALLERS_SPAN
    assert {spans[name].parent for name in ("accept", "wait", "claim", "attempt", "webhook")} == {
        request.id
    }
    inside = ("provider", "checkpoint", "download", "store", "finish")
    assert {spans[name].parent for name in inside} == {attempt.id}
    kinds = [spans[name].kind for name in ("POST /v1/jobs", "attempt", "provider", "webhook")]
    assert kinds == [SERVER, CONSUMER, CLIENT, CLIENT]
    assert [spans[name].service for name in ("accept", "wait")] == [
        "darkroom-api",
        "darkroom-worker",
    ]
    assert attempt.facts["darkroom.job_id"] == spans["accept"].facts["darkroom.job_id"] == job_id
    assert attempt.facts["darkroom.outcome"] == "succeeded"
    assert (attempt.facts["darkroom.attempt"], attempt.facts["darkroom.tenant"]) == (1, here.tenant)
    assert spans["webhook"].facts["http.response.status_code"] == 200
    assert not any(span.failed for span in spans.values())


def test_the_receiver_is_told_the_trace_and_the_provider_is_not(
    here: Service, seen: Collector
) -> None:
    trace = "b" * 32
    job_id = ask(here, trace, "request-two")
    wait_for_all(here, seen, trace, job_id)

    [told] = [one for one in here.hook.received if one.json["data"]["id"] == job_id]

    assert told.headers["traceparent"] == f"00-{trace}-{named(seen.of(trace))['webhook'].id}-01"
    [call] = here.calls([job_id])
    assert trace not in json.dumps(call)


def test_the_trace_goes_on_with_whoever_takes_over_from_a_killed_worker(
    here: Service, seen: Collector
) -> None:
    # given
    trace = "c" * 32
    here.crash_points.set(Trap("before download", "pause"))
    job_id = ask(here, trace, "request-three")
    wait_until(lambda: here.crash_points.sprung, "a worker at the step")
    wait_until(lambda: "checkpoint" in named(seen.of(trace)), "what was done so far")
    # when
    here.kill("generate-1")
    here.crash_points.clear()
    wait_for_all(here, seen, trace, job_id)
    # then
    spans = seen.of(trace)
    names = [span.name for span in spans]
    assert [names.count(name) for name in ("wait", "claim", "provider", "store")] == [2, 2, 1, 1]
    [attempt] = [span for span in spans if span.name == "attempt"]
    assert attempt.facts["darkroom.outcome"] == "succeeded"
    assert here.paid(job_id) == 1


def test_every_line_about_a_job_names_it_its_tenant_and_its_trace(
    here: Service, seen: Collector
) -> None:
    trace = "d" * 32
    job_id = ask(here, trace, "request-four")
    here.wait_for_webhooks([job_id])
    wait_until(lambda: len(lines(here.data, job_id=job_id)) == 4, "four lines")

    told = lines(here.data, job_id=job_id)

    assert {line["event"] for line in told} == {
        "job accepted",
        "job claimed",
        "job succeeded",
        "webhook delivered",
    }
    assert {(line["tenant"], line["trace_id"]) for line in told} == {(here.tenant, trace)}
    [accepted] = [line for line in told if line["event"] == "job accepted"]
    assert accepted["request_id"] == "request-four"


def test_no_prompt_key_or_signature_is_in_any_trace(here: Service, seen: Collector) -> None:
    trace = "e" * 32
    job_id = ask(here, trace, "request-five")
    wait_for_all(here, seen, trace, job_id)

    everything = b"".join(seen.bodies)

    assert job_id.encode() in everything
    for secret in (b"image", str(here.state["api_key"]).encode(), b"X-Signature", b"whsec_"):
        assert secret not in everything


def test_what_is_asked_for_by_machines_is_in_no_trace(here: Service, seen: Collector) -> None:
    here.http.get("/healthz", headers={"traceparent": traceparent("f" * 32)})
    last = "9" * 32
    here.http.get("/v1/models", headers={"traceparent": traceparent(last)})

    wait_until(lambda: bool(seen.of(last)), "a later request's trace")

    assert seen.of("f" * 32) == []
