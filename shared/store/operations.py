"""The arguments of every Lua function in `shared/lua/operations`, one dataclass each.

The class `FindJobs` holds the arguments of `find_jobs.lua`, which reads them by the same names, as
`args.limit`: `shared.store.functions` builds that table from the fields here, in their order. None
and False arrive as '', True as '1', a tuple (always the last field) as a list. Names end in `_ms`
for times and durations in milliseconds.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

Argument = str | int | float


class Operation:
    """One Lua function and its arguments."""

    script: ClassVar[str]
    #: the arguments, in order
    names: ClassVar[tuple[str, ...]] = ()
    #: whether the last of them is a list
    has_list: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Derive the function's name from the class, and its arguments from the fields."""
        super().__init_subclass__()
        cls.script = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        own = inspect.get_annotations(cls)
        cls.names = (*cls.__mro__[1].names, *own)  # type: ignore[attr-defined]  # an Operation
        cls.has_list = any(str(kind).startswith("tuple") for kind in own.values())

    def arguments(self) -> list[Argument]:
        """Return the arguments as they are sent."""
        sent: list[Argument] = []
        for name in self.names:
            value = getattr(self, name)
            if isinstance(value, tuple):
                sent.extend(value)
            elif value is None or value is False:
                sent.append("")
            else:
                sent.append("1" if value is True else value)
        return sent


@dataclass(frozen=True, slots=True)
class Audited(Operation):
    """An audited operation of an operator; see `shared.store.audit.AuditContext`."""

    dedup_token: str
    by: str
    request_id: str


def all_operations() -> Iterator[type[Operation]]:
    """Return every operation, by name."""
    found = (value for value in globals().values() if isinstance(value, type))
    operations = [one for one in found if issubclass(one, Operation)]
    return iter(sorted(set(operations) - {Operation, Audited}, key=lambda one: one.script))


@dataclass(frozen=True, slots=True)
class Accept(Operation):
    id: str
    tenant: str
    not_after_ms: float
    fingerprint: str
    deadline_ms: int
    max_attempts: int
    priority: str
    spec: str
    on_unknown: str
    webhook_url: str
    webhook_host: str
    webhook_events: str
    model: str
    credits: float
    max_position: int | None
    max_wait_ms: float | None
    reused_from: str
    image: str
    request_hash: str
    trace: str
    idempotency_key: str
    tags: str
    words: str
    api_key: str
    record_retention: int | None
    image_retention: int | None
    fallbacks: str


@dataclass(frozen=True, slots=True)
class AcceptGroup(Operation):
    tenant: str
    not_after_ms: float
    fingerprint: str
    is_retry: bool
    keep_ms: float
    deadline_ms: int
    max_attempts: int
    priority: str
    on_unknown: str
    model: str
    credits: float
    trace: str
    body: str
    idempotency_key: str
    api_key: str
    jobs: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class AddProviderKey(Audited):
    id: str
    masked: str
    sealed: str
    changes: str


@dataclass(frozen=True, slots=True)
class AddApiKey(Audited):
    tenant: str
    id: str
    hash: str
    scopes: str
    label: str
    expires_ms: int | None
    max_keys: int
    replaces: str
    payer: str
    grace_ms: float
    keep_ms: float
    limits: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class AdvanceBatch(Operation):
    id: str
    max_jobs: int
    max_ends: int


@dataclass(frozen=True, slots=True)
class ArchivableAudit(Operation):
    settle_ms: int
    limit: int


@dataclass(frozen=True, slots=True)
class UnloggedAudit(Operation):
    limit: int
    turn_ms: float


@dataclass(frozen=True, slots=True)
class RecordLoggedAudit(Operation):
    id: str


@dataclass(frozen=True, slots=True)
class Authenticate(Operation):
    id: str


@dataclass(frozen=True, slots=True)
class BeginAnyErasure(Audited):
    id: str
    tenant: str
    filter: str
    audited_filter: str
    found: int


@dataclass(frozen=True, slots=True)
class BeginModelsCheck(Operation):
    interval_ms: float


@dataclass(frozen=True, slots=True)
class RecordProviderModels(Operation):
    error: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BeginErasure(Operation):
    id: str
    tenant: str
    api_key: str
    filter: str
    found: int
    most: int


@dataclass(frozen=True, slots=True)
class BeginTenantErasure(Audited):
    id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class BulkTransition(Audited):
    transition: str
    deadline_ms: int
    filter: str
    tenant: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cancel(Operation):
    id: str
    tenant: str
    token: str


@dataclass(frozen=True, slots=True)
class CancelBatch(Operation):
    id: str
    tenant: str
    token: str


@dataclass(frozen=True, slots=True)
class Checkpoint(Operation):
    id: str
    fence: str
    answer: str
    record_id: str
    provider_seconds: str
    object_name: str
    signal: str
    identities: str


@dataclass(frozen=True, slots=True)
class Claim(Operation):
    nonce: str
    lease_ms: float
    allow_isolated: bool
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClaimAnswer(Operation):
    id: str
    fence: str
    identities: str


@dataclass(frozen=True, slots=True)
class ClaimDelivery(Operation):
    nonce: str
    lease_ms: float


@dataclass(frozen=True, slots=True)
class CloseGroup(Operation):
    tenant: str
    ids: str
    outcome: str
    body: str


@dataclass(frozen=True, slots=True)
class CommitBatch(Operation):
    id: str
    tenant: str
    not_after_ms: float
    fingerprint: str
    size: int
    idempotency_key: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CountFailedDeliveries(Operation):
    tenant: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class CreateTenant(Audited):
    tenant: str
    webhook_secret: str
    detail: str
    limits: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class DeleteArchived(Operation):
    id: str
    not_after_ms: float
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteEndpoint(Operation):
    id: str
    tenant: str
    limit: int


@dataclass(frozen=True, slots=True)
class DeleteOperatorEndpoint(Audited):
    id: str
    limit: int


@dataclass(frozen=True, slots=True)
class DeleteExpired(Operation):
    limit: int


@dataclass(frozen=True, slots=True)
class DeleteJob(Operation):
    id: str
    tenant: str
    token: str


@dataclass(frozen=True, slots=True)
class DeleteTenant(Operation):
    tenant: str
    limit: int


@dataclass(frozen=True, slots=True)
class DeregisterWorker(Operation):
    worker: str


@dataclass(frozen=True, slots=True)
class DiscardBatch(Operation):
    id: str


@dataclass(frozen=True, slots=True)
class DryRun(Operation):
    tenant: str
    deadline_ms: int
    priority: str
    credits: float
    max_position: int | None
    max_wait_ms: float | None
    request_hash: str
    archived_id: str
    model: str
    api_key: str
    fallbacks: str


@dataclass(frozen=True, slots=True)
class EnableAnyEndpoint(Audited):
    id: str


@dataclass(frozen=True, slots=True)
class EnableEndpoint(Operation):
    id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class EnsureEndpoint(Operation):
    tenant: str
    api_key: str
    url: str
    host: str
    max_endpoints: int
    max_standing: int
    events: str
    enabled: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnsureOperatorEndpoint(Audited):
    audited: str
    secret: str
    default_events: str
    url: str
    host: str
    max_endpoints: int
    max_standing: int
    events: str
    enabled: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EraseUsageTags(Operation):
    tenant: str
    days: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fail(Operation):
    id: str
    fence: str
    code: str
    message: str
    retryable: int
    unknown: bool
    signal: str
    excerpt: str
    discard_answer: bool


@dataclass(frozen=True, slots=True)
class FindJobs(Operation):
    upper: str
    lower: str
    limit: int
    scan_limit: int
    model: str
    served_model: str
    created_after: int | None
    created_before: int | None
    any_count: int
    tag: str
    metadata: str
    seed: int | None
    words: str
    records: bool
    indexes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FindReusable(Operation):
    tenant: str
    request_hash: str
    object_name: str
    idempotency_key: str
    archived_id: str
    archived_image: str
    api_key: str


@dataclass(frozen=True, slots=True)
class FindSuperseded(Operation):
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HistoryDeletions(Operation):
    limit: int
    deleted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HistoryTenantDeletions(Operation):
    limit: int
    erased: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListApiKeys(Operation):
    tenant: str


@dataclass(frozen=True, slots=True)
class ListBatchJobs(Operation):
    tenant: str
    id: str
    lower: str
    limit: int


@dataclass(frozen=True, slots=True)
class ListBatches(Operation):
    tenant: str
    upper: str
    limit: int


@dataclass(frozen=True, slots=True)
class ListDeliveries(Operation):
    tenant: str
    job_id: str
    state: str
    before_ms: int | None
    before_id: str
    limit: int
    scan_limit: int
    host: str


@dataclass(frozen=True, slots=True)
class ListEndpoints(Operation):
    tenant: str
    id: str
    before_ms: int | None
    before_id: str
    limit: int


@dataclass(frozen=True, slots=True)
class ListRunCounts(Operation):
    tenant: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ListTenants(Operation):
    lower: str
    upper: str
    limit: int


@dataclass(frozen=True, slots=True)
class ListWorkers(Operation):
    limit: int


@dataclass(frozen=True, slots=True)
class NextArchivable(Operation):
    worker: str
    lock_ms: float
    lease_ms: float
    limit: int


@dataclass(frozen=True, slots=True)
class NextErasure(Operation):
    lease_ms: float


@dataclass(frozen=True, slots=True)
class ObjectDeletions(Operation):
    limit: int
    deleted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordHistoryFailure(Operation):
    pass


@dataclass(frozen=True, slots=True)
class ReadAudit(Operation):
    upper: str
    lower: str
    action: str
    target: str
    by: str
    limit: int
    scan_limit: int


@dataclass(frozen=True, slots=True)
class ReadBatch(Operation):
    id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class ReadDelivery(Operation):
    id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class ReadErasure(Operation):
    id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class ReadEvents(Operation):
    tenant: str
    after: str
    limit: int


@dataclass(frozen=True, slots=True)
class ReadSamples(Operation):
    back_ms: int
    step_ms: int


@dataclass(frozen=True, slots=True)
class ReadJob(Operation):
    id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class ReadRunCounts(Operation):
    counted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadSigningKeys(Operation):
    pass


@dataclass(frozen=True, slots=True)
class ReadStoredKeys(Operation):
    pass


@dataclass(frozen=True, slots=True)
class ReadTotals(Operation):
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadUsage(Operation):
    tenant: str
    days: int
    api_key: str


@dataclass(frozen=True, slots=True)
class ReadWebhookSecret(Operation):
    tenant: str
    endpoint_id: str


@dataclass(frozen=True, slots=True)
class RecordSubmitted(Operation):
    id: str
    fence: str
    record_id: str
    identities: str


@dataclass(frozen=True, slots=True)
class RecordWrittenRunCounts(Operation):
    counted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Redeliver(Operation):
    id: str
    tenant: str
    token: str


@dataclass(frozen=True, slots=True)
class RedeliverAll(Audited):
    tenant: str
    since_ms: int
    until_ms: int
    limit: int


@dataclass(frozen=True, slots=True)
class RedeliverAny(Audited):
    id: str


@dataclass(frozen=True, slots=True)
class RedeliverFailed(Operation):
    tenant: str
    since_ms: int
    until_ms: int | None
    limit: int
    token: str


@dataclass(frozen=True, slots=True)
class RefuseArchivable(Operation):
    id: str


@dataclass(frozen=True, slots=True)
class RegisterKeys(Operation):
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Release(Operation):
    id: str
    fence: str


@dataclass(frozen=True, slots=True)
class RemoveProviderKey(Audited):
    id: str


@dataclass(frozen=True, slots=True)
class ResealProviderKey(Audited):
    id: str
    sealed_before: str
    sealed: str


@dataclass(frozen=True, slots=True)
class RemoveArchived(Operation):
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveArchivedAudit(Operation):
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveArchivedBatches(Operation):
    counts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renew(Operation):
    worker: str
    queue: str
    threads: int
    lease_ms: float
    held: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportErasure(Operation):
    id: str
    deleted: int
    is_done: bool
    lease_ms: float


@dataclass(frozen=True, slots=True)
class ReportSignal(Operation):
    signal: str


@dataclass(frozen=True, slots=True)
class Requeue(Operation):
    id: str
    fence: str
    wait_ms: int
    refund_attempt: bool
    unknown: bool
    regenerate: bool
    signal: str
    code: str
    message: str
    excerpt: str
    failed_key: str


@dataclass(frozen=True, slots=True)
class Rerun(Operation):
    id: str
    tenant: str
    token: str
    deadline_ms: int
    api_key: str


@dataclass(frozen=True, slots=True)
class RestoreJob(Operation):
    id: str
    not_after_ms: float
    parts: str


@dataclass(frozen=True, slots=True)
class RevokeApiKey(Audited):
    tenant: str
    id: str
    keep_ms: float


@dataclass(frozen=True, slots=True)
class RotateAnySecret(Audited):
    id: str
    secret: str


@dataclass(frozen=True, slots=True)
class RotateSecret(Operation):
    tenant: str
    api_key: str
    endpoint_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class RotateSigningKey(Audited):
    key: str
    overlap_ms: int


@dataclass(frozen=True, slots=True)
class RotateTenantSecret(Audited):
    tenant: str
    secret: str


@dataclass(frozen=True, slots=True)
class ScheduleObjectDeletions(Operation):
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendTest(Operation):
    id: str
    tenant: str
    host: str
    url: str
    type: str
    webhook: str
    data: str


@dataclass(frozen=True, slots=True)
class ServiceStats(Operation):
    """No arguments."""


@dataclass(frozen=True, slots=True)
class SetKeyLimits(Audited):
    tenant: str
    id: str
    detail: str
    limits: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class SetLimits(Audited):
    tenant: str
    detail: str
    limits: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class SetPaused(Audited):
    subject: str
    action: str


@dataclass(frozen=True, slots=True)
class SettleDelivery(Operation):
    id: str
    fence: str
    outcome: str
    wait_ms: int
    attempt: str
    in_time: str
    nonce: str = ""
    lease_ms: float = 0


@dataclass(frozen=True, slots=True)
class StageJobs(Operation):
    id: str
    tenant: str
    chunk: int
    max_attempts: int
    trace: str
    api_key: str
    jobs: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class StartCall(Operation):
    id: str
    fence: str
    images: int
    key: str


@dataclass(frozen=True, slots=True)
class Succeed(Operation):
    id: str
    fence: str
    image: str
    download_seconds: str
    store_seconds: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class Sweep(Operation):
    token: str
    worker: str
    lock_ms: float
    lease_ms: float
    limit: int


@dataclass(frozen=True, slots=True)
class TouchApiKey(Operation):
    id: str


@dataclass(frozen=True, slots=True)
class UnwrittenRunCounts(Operation):
    settle_ms: int
    limit: int


@dataclass(frozen=True, slots=True)
class UpdateEndpoint(Operation):
    id: str
    tenant: str
    max_standing: int
    events: str
    enabled: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpdateOperatorEndpoint(Audited):
    audited: str
    id: str
    max_standing: int
    events: str
    enabled: str
    fields: tuple[str, ...]
