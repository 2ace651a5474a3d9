"""Row 7a: the reply of each script is lost on its way back: one job, one move, one paid call.

That a late accept refuses itself behind a frozen Redis stands in `test_api_faults`.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

import pytest

from sandbox.provider.server import running
from sandbox.wait import wait_until
from shared import signing
from shared.api_keys import TENANT_SCOPES, new_key
from shared.errors import OutcomeUnknown, StoreDown
from shared.jobs import State
from shared.store import (
    api_keys,
    archive,
    batches,
    bulk,
    delivery_log,
    endpoints,
    erasures,
    job_queries,
    job_submission,
    keys,
    maintenance,
    run_counts,
    tenants,
    transitions,
)
from shared.store.audit import (
    AuditContext,
    Entry,
    EntryId,
    read_audit,
    record_logged_audit,
    remove_archived_audit,
    unlogged_audit,
)
from shared.store.client import Store
from shared.store.command import Command
from shared.store.dry_run import find_reusable
from shared.store.image_urls import read_signing_keys, rotate_signing_key
from shared.store.job_queries import Filter
from shared.store.operations import all_operations
from shared.store.provider_keys import (
    read_stored_keys,
    remove_provider_key,
    reseal_provider_key,
)
from shared.store.provider_models import (
    ListedModel,
    begin_models_check,
    record_provider_models,
)
from shared.store.usage import read_usage
from tests.faults.conftest import Tell
from tests.faults.proxy import Action, Proxy, Rule, proxied
from tests.integration.sandbox_client import Client, steered
from tests.support.api_server import PROMPT, problem, served, settings, tenant_at
from tests.support.provider_keys import add, operator, states
from tests.support.queue_invariants import assert_true
from tests.support.run_counts import LAST, counted
from tests.support.servers import S3Server
from tests.support.store import FAR, World, answer_of
from tests.support.webhook_receiver import receiver
from tests.support.worker_harness import WorkerHarness
from worker.generate import do_next_jobs
from worker.webhook_delivery import do_next_deliveries

T = TypeVar("T")
TENANT = "acme"
WEBHOOK = {"url": "https://x", "events": ["job.started", "job.succeeded", "job.canceled"]}
#: Called by the API only; it changes nothing.
READ_ONLY = {
    *(
        "read_audit",
        "list_api_keys",
        "list_tenants",
        "read_totals",
        "read_samples",
        "list_workers",
        "count_failed_deliveries",
    ),
    *("authenticate", "dry_run", "service_stats", "find_jobs", "read_job", "read_usage"),
    *("read_batch", "list_batches", "list_batch_jobs"),
    *("read_events", "list_deliveries", "list_endpoints", "read_delivery", "read_webhook_secret"),
    *("read_signing_keys", "read_stored_keys", "find_superseded", "read_erasure"),
    *("list_run_counts", "read_run_counts", "unwritten_run_counts", "archivable_audit"),
}
ACTIONS: tuple[Action, ...] = ("drop", "cut", "reset")


class Stubborn(Store):
    """Asks again until there is an answer, as workers do."""

    def run(self, call: Command[T]) -> T:
        for _ in range(5):
            try:
                return super().run(call)
            except (StoreDown, OutcomeUnknown):
                continue
        return super().run(call)


@pytest.fixture
def proxy(empty_redis_url: str) -> Iterator[Proxy]:
    with (
        closing(World(empty_redis_url)) as world,
        proxied(empty_redis_url, world.scripts) as proxy,
    ):
        yield proxy


def live_through(world: World) -> list[str]:
    """Let jobs make every move there is, through every script that writes."""
    ids = [world.accept(webhook=WEBHOOK, webhook_host="x") for _ in range(4)]
    done = world.claim()
    world.call(done)
    world.store.run(transitions.record_submitted(done, "record-1"))
    world.checkpoint(done)
    assert world.store.run(transitions.claim_answer(done, answer_of(done.job.id)))
    world.pass_a_millisecond()  # what it owes now comes after what it owed then
    world.succeed(done)
    world.settle(world.delivery(), "retry")
    world.settle(world.delivery(), "delivered")
    send_again(world)
    for leave in (world.retry, world.release, world.fail):
        leave(world.claim())
    world.claim()
    world.cancel(ids[2])
    world.cancel(ids[3])
    world.again(ids[3])
    world.delete_job(ids[2])
    ids.append(reuse_an_image(world))
    ids += ask_together(world)
    keep_house(world)
    ids.append(change_model(world))
    ids += live_through_batches(world)
    ids.append(archive_and_erase(world))
    return ids


def send_again(world: World) -> None:
    """Let an owner do all that can be done about webhooks."""
    found = world.store.run(
        endpoints.ensure_endpoint(TENANT, api_key="", url="https://x", host="x")
    )
    assert found
    world.store.run(endpoints.rotate_secret(TENANT, "whsec_new"))
    world.store.run(endpoints.rotate_secret(TENANT, "whsec_own", endpoint_id=found))
    world.store.run(
        delivery_log.send_test(
            "msg_t", tenant=TENANT, host="x", webhook={"url": "https://x"}, data={}
        )
    )
    world.settle(world.delivery(), "failed")
    for one in world.store.run(delivery_log.list_deliveries(TENANT, limit=9, scan_limit=9)).entries:
        world.pass_a_millisecond()  # their order is that of being sent again, not of their ids
        world.store.run(delivery_log.redeliver(one.id, tenant=TENANT))
    world.settle(world.delivery(), "gone")
    world.store.run(endpoints.enable_endpoint(found, tenant=TENANT))
    world.store.run(delivery_log.redeliver_failed(TENANT, since=0, until=None, most=9))
    world.client.delete(keys.delivery("msg_t"))
    use_a_standing_endpoint(world)
    use_an_endpoint_of_operators(world)


def use_a_standing_endpoint(world: World) -> None:
    """Let a standing endpoint be made and changed, get a webhook, and be deleted with another."""
    url, how = "https://standing", endpoints.EndpointSettings(events=["job.canceled"])
    made = endpoints.ensure_endpoint(TENANT, api_key="", url=url, host="standing", settings=how)
    found = world.store.run(made)
    for enabled in (False, True):
        changed = endpoints.EndpointSettings(enabled=enabled)
        world.store.run(endpoints.update_endpoint(found, tenant=TENANT, settings=changed))
    for _ in range(2):
        job_id = world.accept()
        world.cancel(job_id)
        owed = delivery_log.list_deliveries(TENANT, job_id=job_id, limit=9, scan_limit=9)
        assert [one.endpoint for one in world.store.run(owed).entries] == [found]
        world.delete_job(job_id)
    world.cancel(world.accept())
    world.store.run(endpoints.delete_endpoint(found, tenant=TENANT))


def use_an_endpoint_of_operators(world: World) -> None:
    """Let operators make, change and delete an endpoint, and a worker log what they did."""
    world.store.run(unlogged_audit(most=1, turn=0))
    how = endpoints.EndpointSettings(events=["provider.held"])
    made = endpoints.ensure_operator_endpoint(
        audit_context(), url="https://ops", host="ops", secret="whsec_ops", settings=how
    )
    found, is_new = world.store.run(made)
    assert is_new
    changed = endpoints.EndpointSettings(enabled=False)
    updated = endpoints.update_operator_endpoint(audit_context(), found, settings=changed)
    assert world.store.run(updated) == "ok"
    assert world.store.run(endpoints.delete_operator_endpoint(audit_context(), found)) == "ok"
    for entry in world.store.run(unlogged_audit(most=9, turn=0)):
        world.store.run(record_logged_audit(entry.id))


def reuse_an_image(world: World) -> str:
    """Let a job be made of the image of one that was done."""
    job = world.new_job(webhook=WEBHOOK, webhook_host="x")
    found = world.store.run(find_reusable(job, object_name="t/copy-0"))
    assert found is not None
    copied = replace(job, reused=found.copy)
    world.store.run(job_submission.accept(copied, not_after_ms=FAR))
    return job.id


def ask_together(world: World) -> list[str]:
    """Ask for two jobs at once, leave, and come again; the first tries are other jobs."""
    for answered in (True, False):
        first = world.together(2)
        made = [job.id for job in first.jobs]
        world.store.run(job_submission.accept_group(first, not_after_ms=FAR))
        world.store.run(job_submission.close_group(first, made, answered=answered))
    retry = world.store.run(
        job_submission.accept_group(world.together(2, is_retry=True), not_after_ms=FAR)
    )
    assert retry == job_submission.JoinedAttempt(tuple(made))
    return made


def change_model(world: World) -> str:
    """Let a fallback model serve a job instead of the one that it waits for."""
    fallback = job_submission.Fallback("other", {"prompt": "p"})
    job_id = world.accept(model="first", fallbacks=(fallback,))
    world.client.hset(keys.gate(), "paused:model:first", 1)
    world.sweep()
    world.client.hdel(keys.gate(), "paused:model:first")
    assert world.read(job_id).job.model == "other"
    world.cancel(job_id)
    return job_id


def live_through_batches(world: World) -> list[str]:
    """Let one batch be given up, and another be committed, laid out and canceled."""
    for is_wanted in (False, True):
        jobs = [world.new_job() for _ in range(4)]
        batch_id = world.stage(jobs[:2], jobs[2:])
        if is_wanted:
            world.commit(batch_id, 4)
            world.advance_batch(batch_id, most=2)
            world.store.run(batches.cancel_batch(batch_id, tenant=TENANT))
        else:
            world.store.run(batches.discard_batch(batch_id))
        world.advance_batch(batch_id, most=2, most_ends=2)
    return [job.id for job in jobs]


def archive_and_erase(world: World) -> str:
    """Let one job move to a history and come back, and another be deleted there."""
    moved, deleted = (world.accept() for _ in range(2))
    for job_id in (moved, deleted):
        world.cancel(job_id)
        world.client.zadd(keys.archive_due(), {job_id: 1})
    call = archive.next_archivable("w", lock_seconds=60, lease_seconds=0, most=10)
    found = world.store.run(call)
    assert found is not None
    world.store.run(archive.remove_archived(found.jobs))
    stored = next(job for job in found.jobs if job.id == moved)
    assert world.store.run(archive.restore_job(stored, None, not_after_ms=FAR)) == "ok"
    assert world.store.run(archive.delete_archived(deleted, ["x"], not_after_ms=FAR)) == "ok"
    world.store.run(archive.history_deletions([deleted], most=10))
    world.store.run(archive.schedule_object_deletions(["y"]))
    world.store.run(archive.refuse_archivable("job_none"))
    world.store.run(archive.remove_archived_batches([archive.StoredRecord("batch_none", {})]))
    world.store.run(remove_archived_audit([Entry(EntryId(1, 0), "", "", "", "", {})]))
    world.store.run(begin_models_check(60))
    world.store.run(record_provider_models([ListedModel("m", "active", 1)]))
    erase(world)
    return moved


def erase(world: World) -> None:
    """Let jobs be deleted by a filter, and a tenant with everything."""
    new = erasures.NewErasure(erasures.new_erasure_id(), TENANT, Filter(tag="none"), 1)
    world.store.run(erasures.begin_erasure(new, api_key=""))
    claimed = world.store.run(erasures.next_erasure(lease_seconds=0))
    assert claimed is not None
    world.store.run(erasures.report_erasure(claimed.id, deleted=3, is_done=True))
    done = world.store.run(erasures.read_erasure(claimed.id, tenant=TENANT))
    assert done is not None
    assert done.deleted == 3
    other = replace(new, id=erasures.new_erasure_id())
    world.store.run(erasures.begin_any_erasure(audit_context(), other))
    secret = signing.new_webhook_secret()
    world.store.run(tenants.create_tenant(audit_context(), "leaving", {}, webhook_secret=secret))
    begin = erasures.begin_tenant_erasure(audit_context(), erasures.new_erasure_id(), "leaving")
    assert world.store.run(begin) is not None
    assert world.store.run(erasures.delete_tenant("leaving")) == "ok"
    world.store.run(erasures.erase_usage_tags("leaving", [1]))
    world.store.run(archive.history_tenant_deletions(["leaving"], most=9))


def keep_house(world: World) -> None:
    """Let a lease be lost and the job rescued, and do what else a worker does beside the jobs."""
    world.limit(weight=2)
    held = world.claim()
    world.store.run(
        maintenance.renew(
            "w", queue="generate", threads=1, lease_seconds=15, held=[(held.job.id, held.fence)]
        )
    )
    world.lose_lease(held.job.id)
    world.rescue()
    world.store.run(maintenance.report_signal(transitions.Signal.failed(held.key)))
    world.store.run(maintenance.register_keys([held.key]))
    world.store.run(remove_provider_key(operator(), add(world, "a-key-that-is-removed")))
    add(world, "a-key-that-stays")
    for stored in world.store.run(read_stored_keys()):
        assert world.store.run(reseal_provider_key(operator(), stored, "sealed again"))
    world.store.run(maintenance.deregister_worker("w"))
    world.store.run(maintenance.object_deletions(["gone"], most=10))
    world.store.run(maintenance.postpone_object_deletions(["refused"]))
    world.client.zadd(keys.expiries(), {held.job.id: 1}, xx=True)
    world.store.run(maintenance.delete_expired(most=10))
    write_usage(world)
    operate(world)


def write_usage(world: World) -> None:
    """Record that the history has what was counted, as the archiver does for days that are over."""
    listed = world.store.run(run_counts.list_run_counts(TENANT, first=0, last=LAST))
    world.store.run(run_counts.record_written_run_counts(listed.names))


def operate(world: World) -> None:
    """Do what operators do, each thing once."""
    secret = signing.new_webhook_secret()
    world.store.run(tenants.create_tenant(audit_context(), TENANT, {}, webhook_secret=secret))
    world.store.run(tenants.set_limits(TENANT, audit_context(), weight=3))
    first, second = new_key(), new_key()
    made = world.store.run(api_keys.add_api_key(audit_context(), TENANT, first, TENANT_SCOPES))
    assert isinstance(made, api_keys.ApiKeyInfo), made
    made = world.store.run(
        api_keys.rotate_api_key(
            audit_context(), TENANT, first.id, second, grace_seconds=9, expires_at=None
        )
    )
    assert isinstance(made, api_keys.ApiKeyInfo), made
    world.store.run(api_keys.touch_api_key(second.id))
    limits = {"requests_per_minute": 60}
    assert world.store.run(api_keys.set_key_limits(audit_context(), TENANT, second.id, limits))
    world.store.run(archive.record_history_failure())
    assert world.store.run(api_keys.revoke_api_key(audit_context(), TENANT, second.id))
    world.store.run(bulk.pause(audit_context(), "deliver"))
    world.store.run(bulk.resume(audit_context(), "deliver"))
    assert world.store.run(endpoints.rotate_tenant_secret(audit_context(), TENANT, "whsec_ops"))
    for _ in range(2):
        world.store.run(rotate_signing_key(audit_context(), overlap_seconds=60))
    spare = world.accept()
    moved = [
        world.store.run(
            bulk.bulk_transition(audit_context(), action, [spare], deadline_seconds=3600, query={})
        ).moved
        for action in CANCELED_AND_BACK
    ]
    assert moved == [1, 1, 1]
    send_again_for_others(world)


def send_again_for_others(world: World) -> None:
    """Let an operator send again one delivery, and then all that failed."""
    hook = {"url": "https://y", "events": ["job.canceled"]}
    job_id = world.accept(webhook=hook, webhook_host="y")
    world.cancel(job_id)
    (one,) = world.store.run(
        delivery_log.list_deliveries("", limit=9, scan_limit=9, job_id=job_id)
    ).entries
    fail_delivery(world, one.id)
    assert world.store.run(delivery_log.redeliver_any(audit_context(), one.id)) == "ok"
    fail_delivery(world, one.id)
    assert world.store.run(endpoints.enable_any_endpoint(audit_context(), one.endpoint)) == TENANT
    rotated = endpoints.rotate_any_secret(audit_context(), one.endpoint, "whsec_other")
    assert world.store.run(rotated) == TENANT
    count, until = world.store.run(delivery_log.count_failed_deliveries(None, since=0))
    redone = delivery_log.redeliver_all(audit_context(), None, since=0, until=until, most=50)
    assert world.store.run(redone).moved == count


def fail_delivery(world: World, delivery_id: str) -> None:
    """Let a delivery fail; those that are claimed before it are given back."""
    while (held := world.delivery()).id != delivery_id:
        world.settle(held, "release")
    world.settle(held, "failed")


CANCELED_AND_BACK: tuple[bulk.Action, ...] = ("cancel", "rerun", "cancel")


def audit_context() -> AuditContext:
    return AuditContext("test", "request-1")


def outcomes(world: World, ids: list[str]) -> object:
    """Say all that a move leaves behind, but for the times."""
    jobs = [world.store.run(job_queries.read_job(one, tenant=TENANT)) for one in ids]
    facts = world.store.run(job_queries.service_stats())
    told = world.store.run(delivery_log.list_deliveries(TENANT, limit=99, scan_limit=99))
    return (
        [
            [(change.state, change.attempt) for change in one.job.history] if one else None
            for one in jobs
        ],
        [
            (one.job.version, one.job.run, one.job.worker_losses, one.rank) if one else None
            for one in jobs
        ],
        facts.jobs,
        len(world.object_deletions()),
        len(world.store.run(read_signing_keys())),
        sorted(states(world)),
        world.store.run(read_usage(TENANT, days=1)).days[0].total,
        sorted((kind.status, sums.jobs, sums.calls) for kind, sums in counted(world).items()),
        facts.in_flight,
        facts.depth,
        world.client.xlen(keys.feed(TENANT)),
        [(one.action, one.target[:4]) for one in world.store.run(read_audit(limit=50)).entries],
        sorted(key.state for key in world.store.run(api_keys.list_api_keys(TENANT)) or ()),
        len(world.client.keys("[{]dr}:delivery:*")),
        world.permits(),
        [
            (one.state, one.pending, one.parked, one.failures)
            for one in world.store.run(endpoints.list_endpoints(TENANT, limit=9)).endpoints
        ],
        # which of those of one millisecond goes first is left to their ids
        sorted((one.type, one.state) for one in told.entries),
        sum(one.attempt for one in told.entries),
        len((world.client.hget(keys.tenant(TENANT), "webhook_old") or "").split()),
    )


@pytest.fixture(scope="module")
def undisturbed(redis_url: str) -> object:
    """What the same moves leave behind where nothing is lost."""
    with closing(World(redis_url)) as world:
        world.client.flushall()
        return outcomes(world, live_through(world))


@pytest.mark.parametrize("script", sorted({one.script for one in all_operations()} - READ_ONLY))
def test_a_script_whose_reply_is_lost_twice_has_moved_once(
    undisturbed: object, proxy: Proxy, tell: Tell, script: str
) -> None:
    for action in ACTIONS:
        # given: twice, so that the second try that every call has is not enough
        with closing(World(proxy.url)) as world:
            world.client.flushall()
            world.store = Stubborn(world.client, world.scripts)
            proxy.set(Rule(script, action, times=2))
            # when
            ids = live_through(world)
            # then
            assert proxy.struck == 2
            assert outcomes(world, ids) == undisturbed
            assert_true(world)
    tell("7a", f"replies of {script}: {', '.join(ACTIONS)}", lost=6, moves=3)


# through a worker's thread --------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def provider(provider_url: str) -> Iterator[Client]:
    with steered(provider_url) as client:
        yield client


@pytest.mark.parametrize(
    "script", ["claim", "start_call", "checkpoint", "succeed", "requeue", "fail"]
)
def test_a_worker_whose_replies_are_lost_pays_once_and_ends_the_job_once(
    proxy: Proxy, s3: S3Server, provider: Client, tell: Tell, script: str
) -> None:
    # given
    steps: dict[str, list[int]] = {"requeue": [500], "fail": [400]}
    statuses = steps.get(script, [])
    provider.behave(*({"fault": "status", "status": status} for status in statuses))
    with closing(WorkerHarness(proxy.url, s3, provider)) as harness:
        job_id = harness.accept()
        proxy.set(Rule(script, "drop", times=3))
        # when
        job = harness.finish(job_id)
        # then
        assert proxy.struck == 3
        wanted = State.FAILED if script == "fail" else State.SUCCEEDED
        assert job.state is wanted
        assert (job.attempt, harness.paid()) == (1 + (script == "requeue"), script != "fail")
        assert [one.state for one in job.history].count(wanted) == 1
        assert harness.slots() == (0, 0)
    tell("7a", f"a worker's {script} unheard", lost=3, paid=harness.paid())


def test_a_thread_whose_success_is_unheard_makes_each_image_once(
    proxy: Proxy, s3: S3Server, provider: Client, tell: Tell
) -> None:
    with closing(WorkerHarness(proxy.url, s3, provider)) as harness:
        # given
        accepted = [harness.accept() for _ in range(3)]
        proxy.set(Rule("succeed", "drop", times=3))
        # when: after an unheard reply, the thread leaves the rest to the next permit
        for _ in range(2):
            do_next_jobs(harness.context, 3)
        # then
        assert proxy.struck == 3
        found = [harness.job(job_id) for job_id in accepted]
        assert [(job.state, job.attempt) for job in found] == [(State.SUCCEEDED, 1)] * 3
        assert (harness.paid(), harness.slots()) == (3, (0, 0))
        assert_true(harness.world)
    tell("7a", "a thread's succeed unheard", lost=3, paid=3)


def test_a_worker_whose_settling_is_unheard_sends_each_webhook_once(
    proxy: Proxy, s3: S3Server, provider: Client, tell: Tell
) -> None:
    with (
        receiver() as inbox,
        closing(WorkerHarness(proxy.url, s3, provider)) as harness,
    ):
        # given
        webhook = {"url": inbox.url, "events": ["job.canceled"]}
        for _ in range(3):
            harness.world.cancel(harness.accept(webhook=webhook, webhook_host="127.0.0.1"))
        proxy.set(Rule("settle_delivery", "drop", times=3))
        # when: after an unheard reply, the thread leaves the rest to the next permit
        for _ in range(2):
            do_next_deliveries(harness.context, 3)
        # then
        assert proxy.struck == 3
        assert len({request.id for request in inbox.received}) == len(inbox.received) == 3
        assert harness.world.client.hget(keys.counts(), "webhook_pending") == "0"
        assert_true(harness.world)
    tell("7a", "a worker's settle_delivery unheard", lost=3, webhooks=3)


@pytest.mark.parametrize("script", ["claim_delivery", "settle_delivery"])
def test_a_redis_that_says_nothing_holds_a_thread_no_longer_than_its_timeout(
    proxy: Proxy, tell: Tell, script: str
) -> None:
    with closing(World(proxy.url, redis_timeout_seconds=0.2)) as world:
        world.store = Stubborn(world.client, world.scripts)
        world.accept(webhook=WEBHOOK, webhook_host="x")
        world.succeed(world.checkpoint(world.call(world.claim())))
        proxy.set(Rule(script, "swallow", times=2))
        world.settle(world.delivery(), "delivered")
        assert proxy.struck == 2
        assert_true(world)
    tell("7a", f"reply of {script}: swallowed", lost=2, moves=1)


# through the API -----------------------------------------------------------------------


def jobs_of(world: World, tenant: str) -> int:
    return int(world.client.zcard(keys.tenant_jobs(tenant)))


def test_an_accept_whose_reply_is_lost_once_is_sent_again_unseen(proxy: Proxy, tell: Tell) -> None:
    with served(settings(proxy.url)) as url, tenant_at(url, proxy.url) as api_server:
        api_server.create()
        proxy.set(Rule("accept", "drop"))
        api_server.create()
        assert proxy.struck == 1
        assert jobs_of(api_server.world, api_server.tenant) == 2
    tell("7a", "an accept unheard once", answers=202, jobs=1)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_accept_that_nobody_heard_of_is_one_job_under_the_id_told(
    proxy: Proxy, tell: Tell, action: Action
) -> None:
    with served(settings(proxy.url)) as url, tenant_at(url, proxy.url) as api_server:
        # given
        api_server.create()
        proxy.set(Rule("accept", action, times=2))
        key = {"idempotency-key": "only-once"}
        # when
        answer = api_server.client.post("/v1/jobs", json=PROMPT, headers=key)
        # then
        told = problem(answer, 503, "accept_unknown")["job_id"]
        proxy.set()
        again = api_server.client.post("/v1/jobs", json=PROMPT, headers=key)
        assert (again.status_code, again.json()["id"]) == (202, told)
        assert jobs_of(api_server.world, api_server.tenant) == 2
    tell("7a", f"an accept unheard for good: {action}", answers=503, jobs=1)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_batch_that_nobody_heard_of_is_whole_under_the_id_told(
    proxy: Proxy, tell: Tell, action: Action
) -> None:
    with served(settings(proxy.url)) as url, tenant_at(url, proxy.url) as api_server:
        # given
        body = {"jobs": [PROMPT] * 3}
        key = {"idempotency-key": "only-once"}
        assert api_server.client.post("/v1/batches", json=body).status_code == 202
        proxy.set(Rule("commit_batch", action, times=2))
        # when
        answer = api_server.client.post("/v1/batches", json=body, headers=key)
        # then
        told = problem(answer, 503, "accept_unknown")["batch_id"]
        proxy.set()
        assert api_server.client.get(answer.headers["location"]).json()["total"] == 3
        again = api_server.client.post("/v1/batches", json=body, headers=key)
        assert (again.status_code, again.json()["id"]) == (202, told)
        wait_until(
            lambda: jobs_of(api_server.world, api_server.tenant) == 6, "its stage to be taken away"
        )
    tell("7a", f"a batch unheard for good: {action}", answers=503, batches=1)


def test_a_batch_of_which_a_chunk_is_unheard_is_no_batch(proxy: Proxy, tell: Tell) -> None:
    with served(settings(proxy.url)) as url, tenant_at(url, proxy.url) as api_server:
        api_server.create()
        proxy.set(Rule("stage_jobs", "drop", times=2))
        answer = api_server.client.post("/v1/batches", json={"jobs": [PROMPT] * 3})
        problem(answer, 503, "redis_down")
        wait_until(
            lambda: jobs_of(api_server.world, api_server.tenant) == 1, "the stage to be taken away"
        )
        assert api_server.client.get("/v1/batches").json()["data"] == []
    tell("7a", "a chunk of a batch unheard for good", answers=503, batches=0)
