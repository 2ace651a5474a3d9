"""The life of one job, with a real Redis, a real storage and the sandbox provider."""

import hashlib
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from sandbox.wait import wait_until
from shared import metrics
from shared.errors import (
    ContentRejected,
    ErrorCode,
    JobError,
    ProviderAuth,
    ProviderBusy,
    ProviderDown,
    ProviderRejected,
    StoreError,
    UnknownOutcome,
)
from shared.jobs import Job, OnUnknown, ProviderResult, State
from shared.provider_keys import ProviderKey
from shared.serializers import waiting_on
from shared.store import command, job_queries, job_submission, keys
from shared.store.provider_models import ListedModel
from shared.store.transitions import Closed
from tests.integration.conftest import Open
from tests.integration.loopback import read_request, serving
from tests.support import lying_storage as lies
from tests.support.lying_storage import Lie, lying_before
from tests.support.servers import S3Server, s3_server
from tests.support.worker_harness import StopsDuringTheCall, WorkerHarness, at_work
from worker.generate import do_next_jobs
from worker.key_pool import KeyPool
from worker.lifecycle import release_all


def facts(harness: WorkerHarness, job: Job) -> tuple[str, str | None, int, int, int, int]:
    """Return status, error, attempt, calls, unknown outcomes, regenerated."""
    assert job.calls == len(harness.asked("generate"))
    assert harness.paid() <= 1 + job.unknown_outcomes + job.regenerated
    assert job.calls <= 2 or harness.paid() <= 2
    assert harness.slots() == (0, 0)
    code = job.error_code.value if job.error_code else None
    return (
        job.state.value,
        code,
        job.attempt,
        job.calls,
        job.unknown_outcomes,
        job.regenerated,
    )


# what goes well -------------------------------------------------------------------------------


def test_a_job_becomes_an_image_in_the_storage(harness: WorkerHarness) -> None:
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)
    image = job.image
    assert image is not None
    data = harness.stored(image.key)
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert (image.bytes, image.content_type) == (len(data), "image/webp")
    assert (image.width, image.height, image.warnings) == (672, 384, ())
    assert image.key.startswith("acme/")
    assert image.key.endswith(f"/{job.id}-1.webp")
    assert harness.provider.outcomes() == [("generate", "ok", True), ("download", "ok", False)]
    assert job.record_id == harness.provider.calls()[0]["record_id"]
    assert [change.state for change in job.history] == [
        State.QUEUED,
        State.CLAIMED,
        State.CALLING,
        State.FETCHING,
        State.SUCCEEDED,
    ]
    assert set(job.timings) == {"wait", "provider", "download", "store", "total"}


def test_the_address_that_was_sold_is_forgotten_with_the_end(harness: WorkerHarness) -> None:
    job = harness.run()
    assert job.answer is None


def test_the_provider_gets_exactly_the_documented_body(open_harness: Open) -> None:
    # given
    requests: list[bytes] = []

    def refuse(connection: socket.socket, _: threading.Event) -> None:
        requests.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}")

    with serving(refuse) as port:
        harness = open_harness(onemin_base_url=f"http://127.0.0.1:{port}")
        # when
        harness.run()
    # then
    (request,) = requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/features HTTP/1.1\r\n")
    assert b"\r\napi-key: k\r\n" in head.lower() + b"\r\n"
    assert orjson.loads(body) == {
        "type": "IMAGE_GENERATOR",
        "model": "black-forest-labs/flux-2-klein-9b",
        "promptObject": {
            "prompt": "A lighthouse at dawn",
            "aspect_ratio": "16:9",
            "output_format": "webp",
            "output_quality": 80,
            "num_inference_steps": 4,
            "go_fast": True,
            "megapixels": "0.25",
            "disable_safety_checker": False,
            "seed": 7,
        },
    }


def test_with_nothing_to_do_a_permit_ends_at_once(harness: WorkerHarness) -> None:
    do_next_jobs(harness.context)
    assert harness.provider.calls() == []


def test_a_job_costs_three_round_trips_after_the_first(harness: WorkerHarness) -> None:
    def calls() -> int:
        commands: Any = harness.world.client.info("commandstats")
        return int(commands["cmdstat_fcall"]["calls"])

    accepted = [harness.accept() for _ in range(3)]
    before = calls()
    do_next_jobs(harness.context, 3)
    # claim, start_call, checkpoint, succeed; then the last of these claims the next job
    assert calls() - before == 4 + 3 + 3
    assert {harness.job(job_id).state for job_id in accepted} == {State.SUCCEEDED}


def test_what_is_claimed_while_a_stop_comes_is_released_and_not_called(
    harness: WorkerHarness,
) -> None:
    first, second = harness.accept(), harness.accept()

    do_next_jobs(replace(harness.context, stopping=StopsDuringTheCall()), 5)

    assert harness.job(first).state is State.SUCCEEDED
    assert (harness.job(second).state, harness.job(second).attempt) == (State.QUEUED, 0)
    assert harness.paid() == 1
    assert harness.slots() == (0, 0)


def test_a_job_has_ended_even_if_the_next_one_cannot_be_read(harness: WorkerHarness) -> None:
    first, second = harness.accept(), harness.accept()
    harness.world.client.hset(keys.job(second), "spec", "{")
    finished = metrics.JOBS_FINISHED.labels(harness.job(first).model, "succeeded", "")
    before = finished._value.get()

    with pytest.raises(orjson.JSONDecodeError):
        do_next_jobs(harness.context, 5)

    assert harness.job(first).state is State.SUCCEEDED
    assert finished._value.get() - before == 1


# what the provider does wrong -----------------------------------------------------------------

SandboxFault = Mapping[str, object]
Facts = tuple[str, str | None, int, int, int, int]


@pytest.mark.parametrize(
    ("step", "meant"),
    [
        # fault, then: status, error, attempt, calls, unknown, regenerated
        ({"fault": "status", "status": 500}, ("succeeded", None, 2, 2, 0, 0)),
        ({"fault": "status", "status": 503}, ("succeeded", None, 2, 2, 0, 0)),
        (
            {"fault": "status", "status": 429, "retry_after": 0},
            ("succeeded", None, 1, 2, 0, 0),
        ),
        ({"fault": "misleading_busy", "status": 503}, ("succeeded", None, 2, 2, 0, 0)),
        ({"fault": "misleading_busy", "details": False}, ("succeeded", None, 2, 2, 0, 0)),
        ({"fault": "misleading_busy"}, ("failed", "provider_rejected", 1, 1, 0, 0)),
        (
            {"fault": "misleading_busy", "message": "NSFW content detected"},
            ("failed", "content_rejected", 1, 1, 0, 0),
        ),
        (
            {"fault": "status", "status": 400, "code": "UNSUPPORTED_MODEL"},
            ("failed", "model_unavailable", 0, 1, 0, 0),  # no key is left that has it
        ),
        ({"fault": "failure_record"}, ("failed", "provider_rejected", 1, 1, 0, 0)),
        ({"fault": "made_but_522"}, ("succeeded", None, 2, 2, 1, 0)),
        ({"fault": "made_but_522", "status": 504}, ("succeeded", None, 2, 2, 1, 0)),
        ({"fault": "drop"}, ("succeeded", None, 2, 2, 1, 0)),
        ({"fault": "drop", "reset": True}, ("succeeded", None, 2, 2, 1, 0)),
        ({"fault": "malformed"}, ("succeeded", None, 2, 2, 1, 0)),
        ({"fault": "empty"}, ("succeeded", None, 2, 2, 1, 0)),
        ({"fault": "huge_reply", "bytes": 3_000_000}, ("succeeded", None, 2, 2, 1, 0)),
        ({"fault": "missing_url"}, ("succeeded", None, 2, 2, 1, 0)),
        # a look at its record names the image, for free
        ({"fault": "missing_url", "times": 1}, ("succeeded", None, 1, 1, 0, 0)),
        ({"fault": "url", "place": "top"}, ("succeeded", None, 1, 1, 0, 0)),
        # the provider's record tells another address, for free
        ({"fault": "url_expired"}, ("succeeded", None, 1, 1, 0, 0)),
        ({"fault": "download_status"}, ("succeeded", None, 2, 2, 0, 1)),
        ({"fault": "download_status", "status": 503, "times": 3}, ("succeeded", None, 1, 1, 0, 0)),
        ({"fault": "truncated", "times": 1}, ("succeeded", None, 2, 1, 0, 0)),
        ({"fault": "truncated"}, ("failed", "image_invalid", 3, 1, 0, 0)),
        ({"fault": "wrong_length", "times": 1}, ("succeeded", None, 2, 1, 0, 0)),
        ({"fault": "html", "times": 2}, ("succeeded", None, 1, 1, 0, 0)),
        ({"fault": "gzip_bomb", "times": 1}, ("succeeded", None, 2, 1, 0, 0)),
        ({"fault": "redirect", "location": "/x"}, ("failed", "image_invalid", 3, 1, 0, 0)),
        ({"fault": "huge", "bytes": 60_000_000}, ("failed", "image_too_large", 1, 1, 0, 0)),
        (
            {"fault": "huge", "bytes": 60_000_000, "declare": False},
            ("failed", "image_too_large", 1, 1, 0, 0),
        ),
        ({"fault": "pixel_bomb"}, ("failed", "image_too_large", 1, 1, 0, 0)),
    ],
    ids=str,
)
def test_each_fault_of_the_provider_has_its_outcome(
    harness: WorkerHarness, step: SandboxFault, meant: Facts
) -> None:
    # given
    harness.provider.behave(step)
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == meant


@pytest.mark.parametrize(
    ("step", "meant", "warnings"),
    [
        ({"fault": "wrong_format"}, "image/png", ("format",)),
        ({"fault": "wrong_format", "format": "jpg"}, "image/jpeg", ("format",)),
        ({"fault": "black"}, "image/webp", ("flat",)),
        ({"fault": "wrong_size"}, "image/webp", ("size",)),
        ({"fault": "wrong_size", "width": 500, "height": 500}, "image/webp", ("ratio",)),
    ],
    ids=str,
)
def test_an_image_that_differs_is_stored_as_what_it_is(
    harness: WorkerHarness, step: SandboxFault, meant: str, warnings: tuple[str, ...]
) -> None:
    # given
    harness.provider.behave(step)
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)
    assert job.image is not None
    assert (job.image.content_type, job.image.warnings) == (meant, warnings)
    assert hashlib.sha256(harness.stored(job.image.key)).hexdigest() == job.image.sha256


def test_a_second_unknown_outcome_ends_the_job(harness: WorkerHarness) -> None:
    # given
    harness.provider.behave(default={"fault": "made_but_522"})
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("failed", "provider_unknown_outcome", 2, 2, 2, 0)
    assert job.error_retryable


def test_an_unknown_outcome_ends_a_job_that_asked_for_it(harness: WorkerHarness) -> None:
    harness.provider.behave({"fault": "drop"})
    job = harness.run(on_unknown=OnUnknown.FAIL)
    assert facts(harness, job) == ("failed", "provider_unknown_outcome", 1, 1, 1, 0)


def test_an_image_that_expires_twice_is_not_made_a_third_time(harness: WorkerHarness) -> None:
    harness.provider.behave(default={"fault": "download_status"})
    job = harness.run()
    assert facts(harness, job) == ("failed", "image_expired", 2, 2, 0, 1)


def test_after_an_unknown_outcome_nothing_is_regenerated(harness: WorkerHarness) -> None:
    harness.provider.behave({"fault": "made_but_522"}, {"fault": "download_status"})
    job = harness.run()
    assert facts(harness, job) == ("failed", "image_expired", 2, 2, 1, 0)


def test_a_provider_that_hangs_is_left_and_counted(open_harness: Open) -> None:
    # given
    harness = open_harness(provider_timeout_seconds=0.2)
    harness.provider.behave({"fault": "hang", "seconds": 20})
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("succeeded", None, 2, 2, 1, 0)


def test_a_download_that_drips_is_left_in_time_and_fetched_again(open_harness: Open) -> None:
    # given
    harness = open_harness(download_timeout_seconds=0.3)
    harness.provider.behave({"fault": "slow_drip", "times": 1, "seconds": 0.05})
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)
    assert harness.asked("download") == ["slow_drip", "ok"]


def test_troubles_before_the_image_was_bought_leave_all_its_fetches(
    harness: WorkerHarness,
) -> None:
    # given
    down = {"fault": "status", "status": 500}
    harness.provider.behave(down, down, {"fault": "truncated", "times": 1})
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("succeeded", None, 4, 3, 0, 0)


def test_a_dead_key_holds_the_queue_and_fails_nothing(harness: WorkerHarness) -> None:
    # given
    harness.provider.http.put("/_sandbox/keys", json={"good": ["another"]})
    job_id = harness.accept()
    # when
    with at_work(harness.context):
        wait_until(lambda: harness.asked("generate") == ["401"], "the refusal")
    do_again = threading.Thread(target=do_next_jobs, args=(harness.context,))
    do_again.start()
    # then
    queued_job = harness.world.read(job_id)
    assert (queued_job.job.state, queued_job.job.attempt) == (State.QUEUED, 0)
    harness.context.stopping.set()
    do_again.join(5)
    assert not do_again.is_alive()
    assert len(harness.asked("generate")) == 1


def test_without_credits_the_queue_is_held_with_the_attempt_given_back(
    harness: WorkerHarness,
) -> None:
    # given
    harness.provider.behave({"fault": "status", "status": 406})
    job_id = harness.accept()
    # when
    do_next_jobs(harness.context)
    assert isinstance(harness.world.try_claim(keys=harness.context.keys), Closed)
    # then
    queued_job = harness.world.read(job_id)
    assert (queued_job.job.state, queued_job.job.attempt, queued_job.gate) == (
        State.QUEUED,
        0,
        "provider_credits",
    )


def test_an_address_that_has_no_such_endpoint_fails_no_job(open_harness: Open) -> None:
    # given
    harness = open_harness()
    astray = harness.open_context(onemin_base_url=f"{harness.provider.url}/elsewhere")
    job_id = harness.accept()
    # when
    do_next_jobs(astray)
    # then
    queued_job = harness.world.read(job_id)
    assert (queued_job.job.state, queued_job.job.attempt) == (State.QUEUED, 0)
    assert queued_job.gate == "provider_down"
    assert "DARKROOM_ONEMIN_BASE_URL" in str(
        harness.world.client.hget(keys.job(job_id), "last_error_message")
    )
    # and when
    harness.world.client.delete(keys.gate())
    # then
    job = harness.finish(job_id)
    assert (job.state, job.attempt, harness.paid()) == (State.SUCCEEDED, 1, 1)


@pytest.mark.parametrize("key", ["“curly”", "a\u200bb", "a\nb"])
def test_a_key_that_no_header_can_carry_is_dead_and_fails_no_job(
    harness: WorkerHarness, key: str
) -> None:
    # given
    context = replace(harness.context, key_pool=KeyPool((ProviderKey("odd", "odd", key),), None))
    job_id = harness.accept()
    # when
    do_next_jobs(context)
    # then
    job = harness.job(job_id)
    assert (job.state, job.attempt, job.last_error_code) == (
        State.QUEUED,
        0,
        ErrorCode.PROVIDER_AUTH,
    )
    assert harness.asked("generate") == []
    assert key not in str(harness.world.client.hgetall(keys.job(job_id)))


# images that cannot be fetched now -------------------------------------------------------------


def test_a_paid_image_on_a_host_that_is_not_allowed_waits_until_the_setting_is_right(
    open_harness: Open,
) -> None:
    # given
    harness = open_harness(onemin_image_hosts="images.example")
    paid, waiting = harness.accept(), harness.accept()
    # when
    do_next_jobs(harness.context)
    do_next_jobs(harness.context)
    # then
    queued_job = harness.world.read(paid)
    assert waiting_on(queued_job) == "image_host"
    assert queued_job.job.answer is not None
    assert harness.world.read(waiting).gate == "image_host"
    assert harness.paid() == 1, "nothing more is bought"
    assert "127.0.0.1" in harness.world.store.run(job_queries.service_stats()).image_host
    # and when
    harness.context = harness.open_context(onemin_image_hosts="127.0.0.1")
    # then
    jobs = [harness.finish(paid), harness.finish(waiting)]
    assert [(job.state, job.attempt, job.calls) for job in jobs] == [(State.SUCCEEDED, 1, 1)] * 2
    assert harness.paid() == 2


def test_a_new_url_that_is_not_served_yet_is_fetched_again_before_anything_is_made_again(
    open_harness: Open,
) -> None:
    # given
    harness = open_harness(image_settle_seconds=60)
    harness.provider.behave({"fault": "download_status", "status": 404, "times": 5})
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)


def test_a_new_image_that_does_not_come_over_whole_costs_no_attempt(open_harness: Open) -> None:
    # given
    harness = open_harness(image_settle_seconds=60)
    harness.provider.behave({"fault": "truncated", "times": 4})
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)


def test_a_retry_of_a_job_whose_image_may_still_be_had_fetches_and_does_not_buy(
    harness: WorkerHarness,
) -> None:
    # given
    harness.provider.behave({"fault": "truncated", "times": 3})
    job = harness.run()
    assert facts(harness, job) == ("failed", "image_invalid", 3, 1, 0, 0)
    # when
    harness.world.again(job.id)
    job = harness.finish(job.id)
    # then
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)
    assert harness.paid() == 1


class OtherRecords:
    """The provider, whose look-ups all have the same outcome."""

    def __init__(self, outcome: JobError | ProviderResult | None, good: Any) -> None:
        self.outcome = outcome
        self.good = good

    def look_up(self, *_: Any, **__: Any) -> ProviderResult | None:
        if isinstance(self.outcome, JobError):
            raise self.outcome
        return self.outcome

    def __getattr__(self, name: str) -> Any:
        return getattr(self.good, name)


def look_ups_have(outcome: JobError | ProviderResult | None, harness: WorkerHarness) -> None:
    provider = OtherRecords(outcome, harness.context.provider)
    harness.context = replace(harness.context, provider=provider)


@pytest.mark.parametrize(
    "found",
    [
        UnknownOutcome("The record names no image."),
        ProviderRejected("The record has failed."),
        ContentRejected("The record has failed."),
    ],
    ids=lambda found: type(found).__name__,
)
def test_an_image_whose_record_no_longer_names_it_is_made_again_once(
    harness: WorkerHarness, found: JobError
) -> None:
    # given
    harness.provider.behave({"fault": "download_status", "status": 403})
    look_ups_have(found, harness)
    # when
    job = harness.run()
    # then
    assert facts(harness, job) == ("succeeded", None, 2, 2, 0, 1)


@pytest.mark.parametrize(
    "failure",
    [ProviderBusy("Slow down.", retry_after=40), ProviderAuth("No."), ProviderDown("No.")],
)
def test_a_paid_image_whose_record_cannot_be_read_waits_and_blames_no_key(
    harness: WorkerHarness, failure: JobError
) -> None:
    # given
    harness.provider.behave({"fault": "download_status", "status": 403, "times": 9})
    good = harness.context
    look_ups_have(failure, harness)
    job_id = harness.accept()
    # when
    for _ in range(8):
        harness.world.come_due(job_id)
        harness.world.sweep()
        do_next_jobs(harness.context)
    # then
    job = harness.job(job_id)
    assert (job.state, job.attempt, job.calls) == (State.QUEUED, 0, 1)
    assert job.answer is not None
    assert waiting_on(harness.world.read(job_id)) == "image_host"
    assert job.due_at is not None
    assert job.due_at - job.history[-1].at >= 1000 * (failure.retry_after or 1)
    assert not any(
        name.startswith(("hold:", "dead:", "fails:"))
        for name in map(str, harness.world.client.hkeys(keys.gate()))
    )
    # and when
    harness.context = good
    # then
    assert facts(harness, harness.finish(job_id)) == ("succeeded", None, 1, 1, 0, 0)


def test_a_retry_makes_an_image_again_whose_record_no_longer_names_it(
    harness: WorkerHarness,
) -> None:
    # given
    harness.provider.behave(*[{"fault": "download_status", "status": 403}] * 2)
    look_ups_have(UnknownOutcome("The record names no image."), harness)
    job = harness.run()
    assert facts(harness, job) == ("failed", "image_expired", 2, 2, 0, 1)
    # when
    harness.world.again(job.id)
    # then
    job = harness.finish(job.id)
    assert (job.state, job.calls, harness.paid()) == (State.SUCCEEDED, 3, 3)


# what the storage does wrong ------------------------------------------------------------------


def test_while_the_storage_is_away_the_image_is_kept_and_not_bought_again(
    open_harness: Open, tmp_path: Path
) -> None:
    with s3_server(tmp_path) as own:
        # given
        harness = open_harness(s3=own, storage_timeout_seconds=2)
        own.child.kill()
        job_id = harness.accept()
        # when
        do_next_jobs(harness.context)
        # then
        queued_job = harness.world.read(job_id)
        assert queued_job.job.last_error_code is ErrorCode.STORAGE_DOWN
        assert queued_job.job.answer is not None
        assert harness.world.client.hexists(keys.gate(), "hold:storage")
        # and when
        own.start()
        job = harness.finish(job_id)
        # then
        assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)
        assert job.image is not None
        assert hashlib.sha256(harness.stored(job.image.key)).hexdigest() == job.image.sha256


@pytest.mark.parametrize(
    "lie",
    [
        lies.keeps_nothing,
        lies.keeps_half,
        lies.keeps_other_bytes_without_etag,
        lies.wrong_etag,
        lies.error_in_a_200,
    ],
)
def test_a_storage_that_lies_has_the_image_stored_again_and_not_bought_again(
    open_harness: Open, s3: S3Server, lie: Lie
) -> None:
    with lying_before(s3) as liar:
        # given
        harness = open_harness(s3=liar.server)
        job_id = harness.accept()
        liar.lie("PUT", lie)
        # when
        do_next_jobs(harness.context)
        # then
        job = harness.job(job_id)
        assert (job.state, job.last_error_code) == (State.QUEUED, ErrorCode.STORAGE_DOWN)
        assert job.answer is not None
        assert harness.world.client.hexists(keys.gate(), "hold:storage")
        # and when
        liar.stop_lying()
        job = harness.finish(job_id)
        # then
        assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)
        assert job.image is not None
        assert hashlib.sha256(harness.stored(job.image.key)).hexdigest() == job.image.sha256


def test_an_image_is_read_back_where_the_operator_asks_for_it(
    open_harness: Open, s3: S3Server
) -> None:
    with lying_before(s3) as liar:
        harness = open_harness(s3=liar.server, storage_read_back=True)
        liar.lie("PUT", lies.keeps_nothing_under_the_true_etag, times=1)

        job = harness.run()

        assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)
        assert job.image is not None
        assert hashlib.sha256(harness.stored(job.image.key)).hexdigest() == job.image.sha256


# what others do meanwhile ---------------------------------------------------------------------


def calling(harness: WorkerHarness, job_id: str) -> Callable[[], bool]:
    return lambda: harness.job(job_id).state is State.CALLING and bool(harness.provider.calls())


def test_a_job_canceled_while_the_provider_works_drops_the_late_image(
    harness: WorkerHarness,
) -> None:
    # given
    harness.provider.behave(latency_seconds=0.5)
    job_id = harness.accept()
    with at_work(harness.context):
        wait_until(calling(harness, job_id), "the call")
        # when
        harness.world.store.run(job_submission.cancel(job_id, tenant="acme"))
        # then
        assert harness.slots() == (0, 0)
    job = harness.job(job_id)
    assert facts(harness, job) == ("canceled", None, 1, 1, 0, 0)
    assert harness.asked("download") == []
    assert job.image is None


def test_a_job_canceled_while_it_downloads_stores_nothing(harness: WorkerHarness) -> None:
    # given
    harness.provider.behave({"fault": "slow_drip", "bytes": 4000, "seconds": 0.1})
    job_id = harness.accept()
    with at_work(harness.context):
        wait_until(lambda: bool(harness.asked("download")), "the download")
        # when
        harness.world.store.run(job_submission.cancel(job_id, tenant="acme"))
        harness.context.leases["generate"].renew()
    # then
    job = harness.job(job_id)
    assert job.state is State.CANCELED
    assert not any(harness.is_stored(key) for key in harness.world.object_deletions())


def test_a_job_past_its_deadline_ends(harness: WorkerHarness) -> None:
    # given a provider that is busy for ever, which costs no attempt
    harness.provider.behave(default={"fault": "status", "status": 429, "retry_after": 0})
    job_id = harness.accept(deadline_seconds=1)
    # when
    job = harness.finish(job_id)
    # then
    assert (job.state, job.error_code) == (State.FAILED, ErrorCode.DEADLINE_EXCEEDED)
    assert harness.slots() == (0, 0)


def test_a_job_at_the_provider_is_not_ended_by_its_deadline(harness: WorkerHarness) -> None:
    # given
    harness.provider.behave({"fault": "hang", "seconds": 1})
    job_id = harness.accept()
    with at_work(harness.context):
        wait_until(calling(harness, job_id), "the call")
        # when
        harness.world.client.zadd(keys.deadlines(), {job_id: 1})
        harness.world.sweep()
        # then
        assert harness.job(job_id).state is State.CALLING
    assert harness.job(job_id).state is State.SUCCEEDED


class Broken:
    """A provider with a defect."""

    def __init__(self, times: int, good: Any) -> None:
        self.left = times
        self.good = good

    def generate(self, *told: Any, **more: Any) -> ProviderResult:
        self.left -= 1
        if self.left >= 0:
            raise ZeroDivisionError("a defect")
        answer: ProviderResult = self.good.generate(*told, **more)
        return answer

    def look_up(self, *_: Any, **__: Any) -> ProviderResult | None:
        raise NotImplementedError

    def check_key(self, key: str) -> None:
        raise NotImplementedError

    def list_models(self) -> list[ListedModel]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("times", "meant"), [(1, ("succeeded", None, 2)), (9, ("failed", "internal", 2))]
)
def test_a_defect_of_ours_is_tried_once_more(
    harness: WorkerHarness, times: int, meant: tuple[str, str | None, int]
) -> None:
    # given
    broken = Broken(times, harness.context.provider)
    harness.context = replace(harness.context, provider=broken)
    # when
    job = harness.run()
    # then
    code = job.error_code.value if job.error_code else None
    assert (job.state.value, code, job.attempt) == meant
    assert harness.slots() == (0, 0)


def test_a_defect_after_another_trouble_is_still_tried_once_more(harness: WorkerHarness) -> None:
    # given
    harness.provider.behave({"fault": "status", "status": 500})
    job_id = harness.accept()
    do_next_jobs(harness.context)
    good = harness.context
    harness.context = replace(good, provider=Broken(1, good.provider))
    # when
    job = harness.finish(job_id)
    # then
    assert (job.state, job.attempt) == (State.SUCCEEDED, 3)


# stopping -------------------------------------------------------------------------------------


def test_a_stop_by_force_while_the_provider_works_counts_an_unknown_outcome(
    harness: WorkerHarness,
) -> None:
    # given
    harness.provider.behave({"fault": "hang", "seconds": 1})
    job_id = harness.accept()
    with at_work(harness.context):
        wait_until(calling(harness, job_id), "the call")
        # when
        release_all(harness.context)
        # then
        assert harness.job(job_id).state is State.QUEUED
        assert harness.job(job_id).unknown_outcomes == 1
    # and the thread's own late answer is refused
    assert harness.job(job_id).state is State.QUEUED
    assert facts(harness, harness.finish(job_id)) == ("succeeded", None, 2, 2, 1, 0)
    assert harness.world.client.hget(keys.gate(), "fails") is None


def test_a_stop_by_force_after_the_checkpoint_gives_the_bought_image_on(
    harness: WorkerHarness,
) -> None:
    # given
    step = {"fault": "slow_drip", "bytes": 4000, "seconds": 0.1, "times": 1}
    harness.provider.behave(step)
    job_id = harness.accept()
    with at_work(harness.context):
        wait_until(lambda: bool(harness.asked("download")), "the download")
        # when
        release_all(harness.context)
        assert harness.job(job_id).state is State.QUEUED
    # then
    job = harness.finish(job_id)
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)


class Frozen:
    """A store that loses each reply of a script while it is told to."""

    def __init__(self, store: Any, script: str) -> None:
        self.store = store
        self.script = script
        self.met = threading.Event()
        self.thaw = threading.Event()

    def run(self, call: command.Command[Any]) -> Any:
        if call.script == self.script and not self.thaw.is_set():
            self.met.set()
            raise StoreError("away")
        return self.store.run(call)


def test_a_stop_by_force_keeps_an_answer_that_redis_has_not_taken_yet(
    harness: WorkerHarness,
) -> None:
    # given
    store = Frozen(harness.context.store, "checkpoint")
    context = replace(harness.context, store=store)  # type: ignore[arg-type]  # it stands in for one
    job_id = harness.accept()
    with at_work(context):
        assert store.met.wait(10)
        # when
        store.thaw.set()
        release_all(context)
    # then
    job = harness.finish(job_id)
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)


def test_a_permit_of_another_queue_takes_no_job(harness: WorkerHarness) -> None:
    # given
    only_deliver = {"deliver": harness.context.leases["deliver"]}
    context = replace(harness.context, leases=only_deliver)
    job_id = harness.accept()
    # when
    with pytest.raises(KeyError):
        do_next_jobs(context)
    # then
    assert harness.job(job_id).state is State.QUEUED


def test_a_closed_gate_keeps_no_thread_of_a_worker_that_has_another_queue(
    harness: WorkerHarness,
) -> None:
    # given
    harness.accept()
    harness.world.client.hset(keys.gate(), "paused:generate", "1")
    # when
    thread = threading.Thread(target=do_next_jobs, args=(harness.context,), daemon=True)
    thread.start()
    # then
    wait_until(lambda: not thread.is_alive(), "the thread to be free")


def test_a_worker_that_waits_at_the_gate_leaves_at_once(harness: WorkerHarness) -> None:
    # given
    harness.world.client.hset(keys.gate(), "paused:generate", "1")
    job_id = harness.accept()
    with at_work(harness.context, threads=4):
        # when
        harness.context.stopping.set()
    # then
    assert harness.job(job_id).attempt == 0


def rescue(harness: WorkerHarness, job_id: str) -> None:
    """Let the lease of a job run out while its thread works on, and give the job to others."""
    harness.world.sweep()
    harness.world.client.zadd(keys.queue_leases("jobs"), {job_id: 1})
    harness.world.client.hset(keys.sweep(), "rescue_after", "1")
    harness.world.sweep()


@pytest.mark.slow
def test_the_late_image_of_a_lost_lease_does_not_take_the_good_one_along(
    harness: WorkerHarness,
) -> None:
    # given a thread that downloads slowly, and loses its lease meanwhile
    step = {"fault": "slow_drip", "bytes": 4000, "seconds": 0.1, "times": 1}
    harness.provider.behave(step)
    job_id = harness.accept()
    with at_work(harness.context):
        wait_until(lambda: bool(harness.asked("download")), "the download")
        rescue(harness, job_id)
        # when another does it
        job = harness.finish(job_id)
    # then
    assert facts(harness, job) == ("succeeded", None, 1, 1, 0, 0)
    assert job.worker_losses == 1
    assert job.image is not None
    assert harness.world.object_deletions() == {}
