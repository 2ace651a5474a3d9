"""Answers of the provider that are another job's, or say that something else was made."""

from collections.abc import Mapping

import orjson
import pytest
from prometheus_client import REGISTRY

from sandbox.wait import wait_until
from shared.jobs import DOUBTFUL, IMAGE_WARNINGS, Job, OnUnknown, State
from shared.store import keys
from shared.store.codec import request_hash
from tests.integration.conftest import Open
from tests.support.worker_harness import WorkerHarness, spec
from worker.generate import do_next_jobs

REPEATED = [{"fault": "repeat_record"}, {"fault": "repeat_url"}]
SandboxFault = Mapping[str, object]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"darkroom_{name}_total", labels) or 0.0


def run_of(harness: WorkerHarness, tenant: str, **fields: object) -> Job:
    """Accept a job of one tenant, and do it to its end."""
    job_id = harness.accept(tenant=tenant, **fields)

    def job() -> Job:
        return harness.world.read(job_id, tenant).job

    def is_final() -> bool:
        harness.world.come_due(job_id)
        harness.world.sweep()
        do_next_jobs(harness.context)
        return job().state.is_final

    wait_until(is_final, f"the end of {job_id}")
    return job()


def facts(harness: WorkerHarness, job: Job) -> tuple[State, int, int]:
    assert harness.slots() == (0, 0)
    # the first job's call is among them
    assert harness.paid() <= 2 + job.unknown_outcomes + job.regenerated
    return job.state, job.calls, job.unknown_outcomes


def sha256_of(job: Job) -> str:
    assert job.image is not None
    return job.image.sha256


# of another job -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", REPEATED)
def test_the_answer_of_another_tenant_s_job_is_not_given_out(
    harness: WorkerHarness, fault: SandboxFault
) -> None:
    harness.provider.behave("ok", fault, "ok")
    before = counted("provider_repeated_answers")
    first = run_of(harness, "first", prompt="A harbour")

    second = run_of(harness, "second", prompt="A forest")

    assert facts(harness, second) == (State.SUCCEEDED, 2, 1)
    assert sha256_of(second) != sha256_of(first)
    assert second.record_id != first.record_id
    assert counted("provider_repeated_answers") == before + 1


@pytest.mark.parametrize("fault", REPEATED)
def test_a_job_that_gets_another_s_answer_twice_fails_without_an_image(
    harness: WorkerHarness, fault: SandboxFault
) -> None:
    harness.provider.behave("ok", default=fault)
    run_of(harness, "first", prompt="A harbour")

    second = run_of(harness, "second", prompt="A forest")

    assert facts(harness, second) == (State.FAILED, 2, 2)
    assert (second.image, second.record_id) == (None, None)
    assert harness.asked("download") == ["ok"]


def test_another_s_answer_ends_a_job_that_asked_to_fail_on_an_unknown_outcome(
    harness: WorkerHarness,
) -> None:
    harness.provider.behave("ok", {"fault": "repeat_record"})
    harness.run(prompt="A harbour")

    second = harness.run(spec=spec(on_unknown=OnUnknown.FAIL, prompt="A forest"))

    assert facts(harness, second) == (State.FAILED, 1, 1)


@pytest.mark.parametrize("fault", REPEATED)
def test_another_s_answer_is_not_looked_up_again_and_again(
    open_harness: Open, fault: SandboxFault
) -> None:
    harness = open_harness(onemin_async=True)
    harness.provider.behave("ok", fault, "ok")
    first = run_of(harness, "first", prompt="A harbour")

    second = run_of(harness, "second", prompt="A forest")

    assert facts(harness, second) == (State.SUCCEEDED, 2, 1)
    assert sha256_of(second) != sha256_of(first)
    assert second.attempt == 2


def test_the_same_image_for_one_job_twice_is_no_repeat(harness: WorkerHarness) -> None:
    # given a job whose URL expired, and which the provider gives a fresh one of the same record
    harness.provider.behave({"fault": "url_expired"})
    before = counted("provider_repeated_answers")

    job = harness.run()

    assert facts(harness, job) == (State.SUCCEEDED, 1, 0)
    assert counted("provider_repeated_answers") == before


# of another request ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("echo", "warnings"),
    [
        ({"prompt": "Another"}, ("prompt",)),
        ({"seed": 8}, ("seed",)),
        ({"model": "black-forest-labs/flux-2-klein-4b"}, ("model",)),
        ({"results": 3}, ("record",)),
        ({"record_id": "\x1b[31mb2c3\x00"}, ("record",)),
        ({"prompt": "Another", "seed": "8", "model": "m"}, ("prompt", "seed", "model")),
        ({"prompt": " A  lighthouse\nat dawn ", "seed": "7"}, ()),
    ],
)
def test_what_the_record_says_otherwise_is_a_warning_on_the_image(
    harness: WorkerHarness, echo: Mapping[str, object], warnings: tuple[str, ...]
) -> None:
    harness.provider.behave({"fault": "echo", **echo})
    before = {word: counted("image_warnings", warning=word) for word in IMAGE_WARNINGS}

    job = harness.run()

    assert facts(harness, job) == (State.SUCCEEDED, 1, 0)
    assert job.image is not None
    assert job.image.warnings == warnings
    assert (job.record_id or "").isprintable()
    rose = [word for word in before if counted("image_warnings", warning=word) > before[word]]
    assert tuple(rose) == warnings


def test_a_warning_outlives_the_worker_that_got_the_answer(harness: WorkerHarness) -> None:
    # given a job that was given back between the answer and the image
    harness.provider.behave({"fault": "echo", "seed": 8})
    harness.provider.images(state="status", status=503)
    job_id = harness.accept()
    do_next_jobs(harness.context)
    kept = harness.job(job_id)
    assert kept.answer is not None
    assert kept.answer.warnings == ("seed",)
    # when another worker finishes it
    harness.provider.images()
    harness.context = harness.open_context()
    job = harness.finish(job_id)
    # then
    assert job.image is not None
    assert job.image.warnings == ("seed",)
    assert harness.paid() == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_a_record_that_is_looked_up_is_compared_too(
    open_harness: Open,
    is_async: bool,  # noqa: FBT001
) -> None:
    harness = open_harness(onemin_async=is_async)
    harness.provider.behave({"fault": "echo", "prompt": "Another"})

    job = harness.run()

    assert job.image is not None
    assert job.image.warnings == ("prompt",)


@pytest.mark.parametrize("word", sorted(DOUBTFUL))
def test_an_image_of_perhaps_another_request_is_not_reused(
    harness: WorkerHarness, word: str
) -> None:
    harness.provider.behave({"fault": "echo", word: "8"})

    harness.run()

    reused = keys.reuse("acme", request_hash(spec()))
    assert not harness.world.client.exists(reused)


def test_what_the_provider_says_is_kept_without_control_characters(harness: WorkerHarness) -> None:
    message = "\x1b]0;title\x07The prompt\x00 is \u202ebad\x1b[2J"
    harness.provider.behave({"fault": "failure_record", "message": message})

    job = harness.run()

    assert job.error_message == "1min.ai could not make this image: The prompt is bad"
    said = [note.excerpt or "" for note in job.attempt_errors]
    assert said
    assert all(text.isprintable() for text in said)
    whole = harness.world.client.hgetall(keys.job(job.id))
    assert "\\u001b[" not in orjson.dumps(whole["error_message"]).decode()
