"""What operators do: each write once, noted in the same step, and told to whoever asks."""

from collections.abc import Sequence

import pytest

from shared import signing
from shared.api_keys import OPS_SCOPES, TENANT_SCOPES, Key, Scope, new_key
from shared.errors import ErrorCode
from shared.jobs import JobSpec, Status
from shared.store import api_keys, bulk, erasures, job_queries, keys, tenants, transitions
from shared.store.audit import AuditContext, AuditFilter, Entry, read_audit
from shared.store.job_queries import Filter
from tests.support.queue_invariants import assert_true
from tests.support.store import World

DAY_MS = 86_400_000


def audit_context() -> AuditContext:
    return AuditContext("key-of-an-operator", "request-1")


def make(world: World, name: str = "acme", **limits: float | str | bool) -> str | None:
    secret = signing.new_webhook_secret()
    return world.store.run(
        tenants.create_tenant(audit_context(), name, limits, webhook_secret=secret)
    )


def add(
    world: World, *, tenant: str = "acme", scopes: Sequence[Scope] = TENANT_SCOPES, **how: int
) -> Key:
    key = new_key()
    made = world.store.run(api_keys.add_api_key(audit_context(), tenant, key, scopes, **how))  # type: ignore[arg-type]
    assert isinstance(made, api_keys.ApiKeyInfo), made
    return key


def rotate(
    world: World, old: Key, *, grace_seconds: float = 60, expires_at: int | None = None
) -> api_keys.ApiKeyInfo | api_keys.KeyRejected:
    call = api_keys.rotate_api_key(
        audit_context(),
        "acme",
        old.id,
        new_key(),
        grace_seconds=grace_seconds,
        expires_at=expires_at,
    )
    return world.store.run(call)


def keys_by_id(world: World) -> dict[str, api_keys.ApiKeyInfo]:
    return {key.id: key for key in world.store.run(api_keys.list_api_keys("acme")) or ()}


def principal_of(world: World, key: Key) -> tenants.Principal:
    found = world.store.run(tenants.authenticate(key.id))
    assert found is not None
    return found


ANY = AuditFilter()


def audit(world: World, wanted: AuditFilter = ANY) -> tuple[Entry, ...]:
    return world.store.run(read_audit(wanted, limit=50)).entries


def now(world: World) -> int:
    return world.store.run(job_queries.service_stats()).now_ms


# tenants --------------------------------------------------------------------------------------


def test_a_tenant_is_made_once(world: World) -> None:
    assert make(world, weight=2.0, may_disable_safety=True) is None
    assert make(world, weight=9.0)
    (tenant,) = world.store.run(tenants.read_tenant("acme"))
    assert (tenant.weight, tenant.may_disable_safety, tenant.max_running) == (2.0, True, None)
    assert [entry.action for entry in audit(world)] == ["tenant.create"]


def test_tenants_are_listed_by_name_page_by_page(world: World) -> None:
    for name in ("b", "a", "c"):
        make(world, name)
    world.accept("b")
    first = world.store.run(tenants.list_tenants(limit=2))
    assert [(tenant.name, tenant.queued) for tenant in first] == [("a", 0), ("b", 1)]
    rest = world.store.run(tenants.list_tenants(after="b", limit=2))
    assert [tenant.name for tenant in rest] == ["c"]


def test_a_limit_is_set_and_taken_away_only_from_who_is_there(world: World) -> None:
    make(world)
    assert world.store.run(
        tenants.set_limits("acme", audit_context(), max_running=3, budget_action="hold")
    )
    assert world.store.run(tenants.set_limits("acme", audit_context(), max_running=None))
    (tenant,) = world.store.run(tenants.read_tenant("acme"))
    assert (tenant.max_running, tenant.budget_action) == (None, "hold")
    assert not world.store.run(tenants.set_limits("nobody", audit_context(), weight=2))
    assert world.store.run(tenants.read_tenant("nobody")) == ()
    assert [entry.detail for entry in audit(world)[:2]] == [
        {"max_running": None},
        {"max_running": 3, "budget_action": "hold"},
    ]


def test_a_write_that_is_sent_again_is_made_and_noted_once(world: World) -> None:
    make(world)
    call = tenants.set_limits("acme", audit_context(), weight=2)
    assert world.store.run(call)
    world.limit(weight=5)
    assert world.store.run(call)
    (tenant,) = world.store.run(tenants.read_tenant("acme"))
    assert tenant.weight == 5
    assert len(audit(world)) == 2


# keys -----------------------------------------------------------------------------------------


def test_a_key_opens_what_its_scopes_say_until_it_is_revoked(world: World) -> None:
    make(world)
    key = add(world, scopes=OPS_SCOPES)
    assert principal_of(world, key).scopes == frozenset(OPS_SCOPES)
    assert principal_of(world, key).state is tenants.KeyState.LIVING
    assert world.store.run(api_keys.revoke_api_key(audit_context(), "acme", key.id))
    assert principal_of(world, key).state is tenants.KeyState.REVOKED
    assert keys_by_id(world)[key.id].revoked_at is not None
    assert key.secret not in str(world.client.hgetall(keys.api_key(key.id)))


def test_a_key_ends_by_itself_and_is_known_for_a_while(world: World) -> None:
    make(world)
    key = add(world, expires_at=now(world) + 3_600_000)
    assert principal_of(world, key).state is tenants.KeyState.LIVING
    world.client.hset(keys.api_key(key.id), "expires", now(world) - 1)
    assert principal_of(world, key).state is tenants.KeyState.EXPIRED
    kept = world.client.pttl(keys.api_key(key.id))
    assert 30 * DAY_MS < kept < 31 * DAY_MS
    world.client.delete(keys.api_key(key.id))
    other = add(world)
    assert list(keys_by_id(world)) == [other.id]
    assert world.client.zrange(keys.api_keys("acme"), 0, -1) == [other.id]


def test_a_key_that_is_replaced_lives_on_for_the_grace_beside_the_new_one(world: World) -> None:
    make(world)
    old = add(world, scopes=[Scope.JOBS_READ], expires_at=now(world) + DAY_MS)
    made = rotate(world, old, grace_seconds=60)
    assert isinstance(made, api_keys.ApiKeyInfo)
    assert made.scopes == (Scope.JOBS_READ,)
    assert made.expires_at is not None
    assert made.expires_at - made.created_at == pytest.approx(DAY_MS, abs=60_000)
    before = keys_by_id(world)[old.id]
    assert (before.state, before.replaced_by) == (tenants.KeyState.LIVING, made.id)
    assert before.expires_at == made.created_at + 60_000
    assert rotate(world, old) == api_keys.KeyRejected("replaced", made.id)


def test_no_key_is_made_of_what_is_not_there_or_at_its_end(world: World) -> None:
    nobody = add_to_nobody(world)
    assert nobody == api_keys.KeyRejected("missing")
    make(world)
    make(world, "other")
    key = add(world)
    foreign = add(world, tenant="other")
    assert rotate(world, foreign) == api_keys.KeyRejected("unknown")
    assert not world.store.run(api_keys.revoke_api_key(audit_context(), "acme", foreign.id))
    assert rotate(world, key, expires_at=now(world) - 1) == api_keys.KeyRejected("past")
    world.store.run(api_keys.revoke_api_key(audit_context(), "acme", key.id))
    assert rotate(world, key) == api_keys.KeyRejected("dead", "revoked")


def add_to_nobody(world: World) -> api_keys.ApiKeyInfo | api_keys.KeyRejected:
    return world.store.run(
        api_keys.add_api_key(audit_context(), "nobody", new_key(), TENANT_SCOPES)
    )


def test_a_tenant_has_no_more_keys_than_can_be_listed(world: World) -> None:
    make(world)
    first = add(world)
    names = {f"k{number}": 0 for number in range(api_keys.MOST_KEYS - 1)}
    world.client.zadd(keys.api_keys("acme"), names)
    for name in names:
        world.client.hset(keys.api_key(name), "tenant", "acme")
    assert rotate(world, first) == api_keys.KeyRejected("many", str(api_keys.MOST_KEYS))


# queues and jobs ------------------------------------------------------------------------------


def test_a_paused_queue_goes_on_where_it_stood(world: World) -> None:
    world.accept()
    world.store.run(bulk.pause(audit_context(), "generate"))
    world.store.run(bulk.pause(audit_context(), "deliver"))
    assert isinstance(world.try_claim(), transitions.Closed)
    assert world.claim_delivery() == transitions.Closed("paused", 1.0)
    assert world.store.run(job_queries.service_stats()).closed == "paused"
    world.client.delete("{dr}:celery:generate")
    world.store.run(bulk.resume(audit_context(), "generate"))
    assert world.permits() == 1
    assert isinstance(world.try_claim(), transitions.Claim)
    assert [entry.action for entry in audit(world)] == [
        *("queue.resume", "queue.pause", "queue.pause")
    ]


def find(world: World, tenant: str | None = None, **marks: object) -> list[str]:
    among = marks.pop("among", tuple(Status))
    wanted = Filter(**marks)  # type: ignore[arg-type]
    search = bulk.search_of(tenant, wanted, among, limit=50, scan_limit=100)  # type: ignore[arg-type]
    found = world.store.run(bulk.find_jobs(search))
    ids = [one.job.id for one in found.jobs]
    assert ids == list(world.store.run(bulk.find_ids(search)).ids)
    return ids


def test_jobs_of_all_tenants_are_found_by_every_mark_newest_first(world: World) -> None:
    tagged = JobSpec(model="n", input={"prompt": "p", "seed": 7}, tags=("blue",))
    one = world.accept("a")
    two = world.accept("b", spec=tagged)
    three = world.accept("c")
    four = world.accept("a", spec=tagged)
    world.cancel(three, "c")
    failed = world.claim()
    world.fail(failed)
    assert find(world) == [four, three, two, one]
    assert find(world, "a") == [four, one]
    assert find(world, among=(Status.CANCELED,)) == [three]
    assert find(world, among=(Status.CANCELED, Status.FAILED)) == [three, failed.job.id]
    assert find(world, tag="blue") == [four, two]
    assert find(world, "b", tag="blue") == [two]
    assert find(world, model="n") == [four, two]
    assert find(world, error_code=ErrorCode.PROVIDER_REJECTED) == [failed.job.id]
    assert find(world, error_code=ErrorCode.INTERNAL) == []
    assert_true(world)


def test_pages_over_all_tenants_have_no_gap_and_no_repeat(world: World) -> None:
    accepted = [world.accept(f"t{number % 3}") for number in range(10)]
    for job_id in accepted[::4]:
        world.cancel(job_id, f"t{accepted.index(job_id) % 3}")
    found: list[str] = []
    before = None
    while True:
        search = bulk.search_of(None, Filter(), tuple(Status), limit=3, scan_limit=4)
        page = world.store.run(bulk.find_ids(search_from(search, before)))
        found += page.ids
        before = page.before
        if before is None:
            break
    assert found == accepted[::-1]


def search_from(search: job_queries.Search, before: str | None) -> job_queries.Search:
    return job_queries.Search(
        some=search.some,
        rest=search.rest,
        wanted=search.wanted,
        limit=search.limit,
        scan_limit=search.scan_limit,
        before=before,
    )


def move(world: World, action: bulk.Action, ids: list[str]) -> bulk.Moved:
    call = bulk.bulk_transition(
        audit_context(), action, ids, deadline_seconds=60, query={"status": "failed"}
    )
    first = world.store.run(call)
    assert world.store.run(call) == first
    return first


def test_the_audit_says_that_a_filter_has_words_but_not_which(world: World) -> None:
    query = {"tenant": "acme", "q": "zanzibar"}
    world.store.run(
        bulk.bulk_transition(audit_context(), "cancel", [], deadline_seconds=60, query=query)
    )
    new = erasures.NewErasure(
        erasures.new_erasure_id(), "acme", Filter(words=("zanzibar",)), 1, prefix="job_"
    )
    world.store.run(erasures.begin_any_erasure(audit_context(), new))

    deleted, canceled = audit(world)

    assert canceled.detail["filter"] == {"tenant": "acme", "q": True}
    assert deleted.detail["filter"] == {"id": "job_", "q": True}
    claimed = world.store.run(erasures.next_erasure(lease_seconds=9))
    assert claimed is not None
    assert claimed.wanted.words == ("zanzibar",)


def test_jobs_are_moved_together_and_each_that_cannot_be_is_counted(world: World) -> None:
    ids = [world.accept(name) for name in ("a", "b", "c")]
    world.finish(world.claim())
    done = next(job for job in ids if world.read(job, "").job.state.is_final)
    assert move(world, "cancel", [*ids, "job_x"]) == bulk.Moved(2, {"state": 1, "gone": 1})
    full = next(job for job in ids if job != done)
    world.limit(world.read(full, "").job.tenant, max_queued=0)
    assert move(world, "rerun", ids) == bulk.Moved(1, {"state": 1, "tenant_full": 1})
    assert done not in find(world, among=(Status.CANCELED, Status.QUEUED))
    entries = audit(world)
    assert [(entry.action, entry.detail["moved"]) for entry in entries] == [
        ("jobs.retry", 1),
        ("jobs.cancel", 2),
    ]
    assert entries[0].detail["filter"] == {"status": "failed"}
    assert audit(world, AuditFilter(below=entries[0].id)) == entries[1:]
    assert_true(world)
