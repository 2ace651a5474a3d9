"""Which trace a request is part of, and what is told of it where somebody listens, or nobody."""

import subprocess
import sys

import pytest
from pydantic import SecretStr

from shared.errors import InvalidSettings, ProviderDown
from shared.settings import Settings, load_settings
from shared.tracing.context import logged, read_traceparent
from shared.tracing.spans import NOTHING, OFF, Kind, open_tracer
from tests.support.trace_collector import collector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = f"00-{TRACE}-{SPAN}-01"
HEADERS = SecretStr("x-team=a, authorization=Basic b")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (CALLER, CALLER),
        (f" {CALLER} ", CALLER),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        # a later version may say more: what this one knows of it is taken
        (f"01-{TRACE}-{SPAN}-01-more", CALLER),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (CALLER.upper(), None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(written: str, read: str | None) -> None:
    assert read_traceparent(written) == read


def test_a_line_of_the_log_names_the_trace_it_belongs_to_if_any() -> None:
    assert logged(CALLER) == {"trace_id": TRACE}
    assert logged(None) == {}


def test_without_a_collector_no_span_is_made_for_anything() -> None:
    tracer = open_tracer(Settings(), "api")

    assert tracer is OFF
    assert tracer.serve("POST", CALLER) is tracer.serve("GET", None) is NOTHING
    assert tracer.follow("attempt", CALLER, kind=Kind.CONSUMER) is NOTHING
    with NOTHING as span:
        assert span.traceparent is None
        assert span.step("accept", job_id="job_1") is NOTHING


def test_what_is_switched_off_is_not_imported_by_whoever_starts() -> None:
    starts = (
        "import sys\n"
        "from shared.settings import Settings\n"
        "settings = Settings(s3_access_key='x', s3_secret_key='x')\n"
        "import worker.celery_tasks\n"
        "worker.celery_tasks.build(settings)\n"
        "from shared.tracing.spans import open_tracer\n"
        "open_tracer(settings, 'worker')\n"
        "import api.main\n"
        "api.main.create_app(settings)\n"
        # FastAPI and redis-py load of OpenTelemetry what they may once need for themselves
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'shared.tracing.otlp')\n"
        "loaded = [name for name in sys.modules if name.startswith(ours)]\n"
        "assert not loaded, loaded\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", starts], capture_output=True, text=True, check=False, timeout=60
    )

    assert ran.returncode == 0, ran.stderr


def test_steps_are_told_below_the_caller_s_and_of_what_is_raised_only_the_code() -> None:
    with collector() as seen:
        settings = Settings(otlp_endpoint=seen.url, otlp_headers=HEADERS)
        tracer = open_tracer(settings, "worker")

        with tracer.serve("POST", CALLER) as request:
            request.rename("POST /v1/jobs")
            request.note(status=202, job_id="job_1")
            kept = request.traceparent
        with (
            pytest.raises(ProviderDown),
            tracer.follow("attempt", kept, kind=Kind.CONSUMER, attempt=1) as attempt,
            attempt.step("provider", kind=Kind.CLIENT),
        ):
            raise ProviderDown("It says: A lighthouse at dawn.")
        tracer.past("wait", kept, began_ms=1_000, ended_ms=2_500)
        tracer.close()

    wait, request_seen, attempt_seen, call = seen.of(TRACE)
    assert (request_seen.name, request_seen.parent) == ("POST /v1/jobs", SPAN)
    assert request_seen.facts == {"http.response.status_code": 202, "darkroom.job_id": "job_1"}
    assert {wait.parent, attempt_seen.parent} == {request_seen.id}
    assert (wait.ended_ns - wait.began_ns) == 1_500_000_000
    assert (call.parent, call.failed, call.facts) == (
        attempt_seen.id,
        True,
        {"error.type": "provider_down"},
    )
    assert {span.service for span in seen.spans} == {"darkroom-worker"}
    assert not any(b"lighthouse" in body for body in seen.bodies)
    assert seen.headers[0]["x-team"] == "a"
    assert seen.headers[0]["authorization"] == "Basic b"


def test_of_the_share_that_is_not_kept_nothing_is_told_nor_handed_on() -> None:
    with collector() as seen:
        tracer = open_tracer(Settings(otlp_endpoint=seen.url, trace_sample_ratio=0), "api")

        with tracer.serve("POST", None) as request:
            assert request.traceparent is None
            with request.step("accept"):
                pass
        tracer.follow("attempt", None, kind=Kind.CONSUMER)
        with tracer.serve("POST", CALLER) as asked_for:
            assert (asked_for.traceparent or "").startswith(f"00-{TRACE}-")
        tracer.close()

    # whoever began a trace elsewhere, and keeps it, decides
    assert [span.trace for span in seen.spans] == [TRACE]


def test_a_collector_that_is_away_holds_up_nobody() -> None:
    with collector() as gone:
        url = gone.url
    tracer = open_tracer(Settings(otlp_endpoint=url), "api")

    with tracer.serve("POST", None) as request:
        assert request.traceparent

    tracer.close()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTLP_ENDPOINT", "collector:4318", "must begin with http"),
        ("OTLP_HEADERS", "authorization", "needs name=value"),
        ("TRACE_SAMPLE_RATIO", "1.5", "less than or equal to 1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"DARKROOM_{name}", value)

    with pytest.raises(InvalidSettings, match=rf"DARKROOM_{name} is not usable: .*{said}"):
        load_settings()
