"""Prompts of a tenant that does not archive them: no byte of them is in the history's database."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from shared.batches import BatchSpec
from shared.errors import ContentRejected
from shared.history.prompts import MESSAGE_WITHHELD, archived_prompt
from shared.history.search import DeliveryFilter, JobFilter
from shared.history.tables import deliveries as deliveries_table
from shared.history.tables import metadata
from shared.history.terms import terms
from shared.jobs import Job, JobSpec, ProviderResult
from shared.store import archive, bulk, deliveries, keys, tenants, transitions
from shared.store.audit import AuditContext
from shared.store.codec import request_hash
from shared.store.delivery_log import redeliver
from shared.store.job_submission import Fallback, NotAccepted
from tests.support.history import HistoryWorld
from tests.support.history_service import ATTEMPT
from tests.support.store import FAR

#: A word of the prompt, which nothing else has.
SECRET = "zanzibar"
PROMPT = f'A "{SECRET}" é\nat dawn'
WEBHOOK = {
    "webhook": {"url": "https://x.example/", "events": ["job.succeeded", "job.failed"]},
    "webhook_host": "x.example",
}


@pytest.fixture
def history(empty_redis_url: str, history_url: str) -> Iterator[HistoryWorld]:
    history = HistoryWorld(empty_redis_url, history_url)
    history.world.store.run(tenants.set_limits("quiet", archive_prompts=False))
    yield history
    assert history.world.undocumented() == set()
    history.close()


def accept(history: HistoryWorld, tenant: str = "quiet", **changes: Any) -> str:
    spec = JobSpec(
        model="m",
        input={"prompt": PROMPT, "seed": 7},
        webhook=WEBHOOK["webhook"],  # type: ignore[arg-type]  # a mapping
        fallback_models=("other",),
    )
    fallbacks = (Fallback("other", {"prompt": PROMPT}),)
    return history.world.accept(
        tenant, spec=spec, webhook_host="x.example", fallbacks=fallbacks, **changes
    )


def fail(history: HistoryWorld) -> None:
    """Fail the next job with an answer that repeats its prompt."""
    world = history.world
    held = world.call(world.claim())
    error = ContentRejected(f"The provider refused this: {PROMPT}")
    error.evidence = f'{{"prompt": "{PROMPT}"}}'
    world.store.run(transitions.fail(held, error, signal=transitions.NO_SIGNAL))


def cancel_paid(history: HistoryWorld, job_id: str, tenant: str) -> None:
    """Cancel a job whose image is paid, at a URL that repeats its prompt."""
    world = history.world
    held = world.call(world.claim())
    url = f"https://storage.1min.ai/{SECRET}-{job_id}.webp"
    answer = ProviderResult(f"record-{job_id}", url, "t/1")
    assert world.store.run(transitions.checkpoint(held, answer, seconds=0.5))
    world.cancel(job_id, tenant)


def deliver_all(history: HistoryWorld) -> None:
    """Deliver every webhook to an endpoint that answers with what it got."""
    world = history.world
    while isinstance(delivery := world.claim_delivery(), deliveries.Delivery):
        attempt = {**ATTEMPT, "answer": f"received {PROMPT}"}
        world.store.run(deliveries.settle_delivery(delivery, "delivered", attempt=attempt))


def end_each_way(history: HistoryWorld, tenant: str) -> list[str]:
    """Return a succeeded, a failed and a canceled job, archived with their deliveries."""
    succeeded = accept(history, tenant)
    history.world.finish(history.world.claim())
    failed = accept(history, tenant)
    fail(history)
    canceled = accept(history, tenant)
    cancel_paid(history, canceled, tenant)
    deliver_all(history)
    history.archive()
    return [succeeded, failed, canceled]


def stored_text(history: HistoryWorld) -> str:
    """Return everything in the database: all rows, and the bytes of the files of SQLite."""
    with history.database.reading() as connection:
        rows = [
            str(tuple(row))
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
        ]
    url = make_url(history.world.settings.history_url)
    files = [Path(f"{url.database}{end}") for end in ("", "-wal")] if "sqlite" in str(url) else []
    found = [path.read_bytes().decode("latin-1") for path in files if path.exists()]
    return "\n".join((*rows, *found))


def archived(history: HistoryWorld, job_id: str) -> Job:
    job = history.reader.job(job_id, "quiet")
    assert job is not None
    return job


def restore(history: HistoryWorld, job_id: str) -> None:
    stored = history.reader.stored_job(job_id, "quiet")
    assert stored is not None
    assert history.world.store.run(archive.restore_job(*stored, not_after_ms=FAR)) == "ok"


def test_no_byte_of_a_withheld_prompt_is_in_the_database(history: HistoryWorld) -> None:
    job_ids = end_each_way(history, "quiet")

    assert all(history.is_archived(job_id) for job_id in job_ids)
    sent = history.reader.deliveries(DeliveryFilter("quiet"), 10)
    assert len(sent) == 2
    assert not any(history.is_live(job_id) for job_id in job_ids)
    assert SECRET not in stored_text(history).lower()


def test_the_prompts_of_other_tenants_are_archived(history: HistoryWorld) -> None:
    succeeded, failed, canceled = end_each_way(history, "acme")

    text = stored_text(history).lower()
    for job_id in (succeeded, failed, canceled):
        job = history.reader.job(job_id, "acme")
        assert job is not None
        assert archived_prompt(job) == PROMPT
    for repeated in ("the provider refused this", "said", f"{SECRET}-{canceled}", "received"):
        assert repeated in text


def test_a_job_without_its_prompt_says_so_as_a_new_version(history: HistoryWorld) -> None:
    job_id = accept(history)
    fail(history)
    before = history.world.read(job_id, "quiet").job
    assert not before.is_prompt_withheld
    deliver_all(history)
    history.archive()

    after = archived(history, job_id)

    assert after.is_prompt_withheld
    assert archived_prompt(after) is None
    assert after.spec.input == {"seed": 7}
    assert (after.error_code, after.error_message) == (before.error_code, MESSAGE_WITHHELD)
    assert [one.excerpt for one in after.attempt_errors] == [None]
    assert after.version == before.version + 1
    same = {
        "version": 0,
        "spec": before.spec,
        "error_message": None,
        "attempt_errors": (),
        "is_prompt_withheld": True,
    }
    assert replace(after, **same) == replace(before, **same)  # type: ignore[arg-type]


def test_a_job_without_its_prompt_does_not_run_again(history: HistoryWorld) -> None:
    job_id = accept(history)
    fail(history)
    deliver_all(history)
    history.archive()
    restore(history, job_id)

    refused = history.world.again(job_id, tenant="quiet")
    call = bulk.bulk_transition(
        AuditContext("ops", "r1"), "rerun", [job_id], deadline_seconds=60, query={}
    )
    moved = history.world.store.run(call)

    assert isinstance(refused, NotAccepted)
    assert (refused.reason, refused.detail) == ("prompt_withheld", job_id)
    assert (moved.moved, moved.refused) == (0, {"prompt_withheld": 1})


def test_a_webhook_is_sent_again_without_the_prompt(history: HistoryWorld) -> None:
    job_id = accept(history)
    fail(history)
    deliver_all(history)
    history.archive()
    restore(history, job_id)
    (sent,) = history.reader.deliveries(DeliveryFilter("quiet"), 10)
    version = archived(history, job_id).version

    assert history.world.store.run(redeliver(sent.id, tenant="quiet")) == "ok"

    again = history.world.delivery()
    assert again.job is not None
    assert (again.job.is_prompt_withheld, again.job.spec.input) == (True, {"seed": 7})
    assert again.job.error_message == MESSAGE_WITHHELD
    call = deliveries.settle_delivery(again, "delivered", attempt={**ATTEMPT, "number": 2})
    history.world.store.run(call)
    history.archive()
    assert not history.is_live(job_id)
    assert archived(history, job_id).version == version, "nothing was left to withhold"


def test_the_image_of_a_withheld_prompt_is_not_found_for_reuse(history: HistoryWorld) -> None:
    quiet, _, _ = end_each_way(history, "quiet")
    end_each_way(history, "acme")
    request = request_hash(JobSpec("m", {"prompt": PROMPT, "seed": 7}))

    assert archived(history, quiet).image is not None
    assert len(history.reader.reusable("acme", request, 20)) == 1
    assert history.reader.reusable("quiet", request, 20) == []


def test_the_words_of_a_job_that_was_archived_with_its_prompt_go_when_it_is_archived_without(
    history: HistoryWorld,
) -> None:
    history.world.store.run(tenants.set_limits("quiet", archive_prompts=True))
    job_id, *_ = end_each_way(history, "quiet")
    with_word = JobFilter("quiet", terms=terms(prompt_words=[SECRET]))
    assert job_id in history.reader.job_ids(with_word, 10)
    restore(history, job_id)
    history.world.store.run(tenants.set_limits("quiet", archive_prompts=False))

    history.archive()

    assert archived(history, job_id).is_prompt_withheld
    assert job_id not in history.reader.job_ids(with_word, 10)


def test_what_counts_is_the_setting_when_a_job_moves(history: HistoryWorld) -> None:
    job_id = accept(history)
    history.world.finish(history.world.claim())
    deliver_all(history)
    history.world.store.run(tenants.set_limits("quiet", archive_prompts=True))

    history.archive()

    assert archived_prompt(archived(history, job_id)) == PROMPT
    assert history.world.client.hget(keys.tenant("quiet"), "archive_prompts") == "1"


def archive_batch(history: HistoryWorld) -> tuple[str, str]:
    """Return a batch and its job, archived, whose endpoint answered with the prompt."""
    world = history.world
    webhook = {"url": "https://x.example/", "events": ["batch.completed"]}
    new = world.new_job("quiet", spec=JobSpec("m", {"prompt": "p"}))
    batch_id = world.batch(
        new, tenant="quiet", spec=BatchSpec(webhook=webhook), webhook_host="x.example"
    )
    world.finish(world.claim())
    deliver_all(history)
    history.archive()
    assert history.reader.batch(batch_id, "quiet") is not None
    return batch_id, new.id


def deliveries_text(history: HistoryWorld) -> str:
    with history.database.reading() as connection:
        return str([*map(tuple, connection.execute(select(deliveries_table)))])


def test_what_the_receiver_of_a_batch_answered_is_not_archived(history: HistoryWorld) -> None:
    archive_batch(history)
    assert SECRET not in stored_text(history).lower()


def test_what_the_receiver_of_a_batch_answered_goes_when_the_batch_is_written_again(
    history: HistoryWorld,
) -> None:
    history.world.store.run(tenants.set_limits("quiet", archive_prompts=True))
    batch_id, job_id = archive_batch(history)
    assert SECRET in deliveries_text(history)
    _, batch = history.reader.stored_job(job_id, "quiet") or (None, None)
    assert batch is not None

    history.archiver.writer.update_batches([replace(batch, withholds_prompt=True)])

    assert batch_id in deliveries_text(history)
    assert SECRET not in deliveries_text(history)
