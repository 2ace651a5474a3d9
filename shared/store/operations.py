"""The arguments of every Lua function in `shared/lua/operations`, one dataclass each.

The class `FindJobs` holds the arguments of `find_jobs.lua`, which reads them by the same names, as
`args.limit`: `shared.store.functions` builds that table from the fields here, in their order. None
and False arrive as '', True as '1', a tuple (always the last field) as a list. Names end in `_ms`
for times and durations in milliseconds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import ClassVar, dataclass_transform

Argument = str | int | float


@dataclass_transform(eq_default=False)
class Operation:
    """One Lua function and its arguments; each subclass is a dataclass.

    Nothing compares or prints an operation, and without these methods a process imports this
    module in a third of the time.
    """

    script: ClassVar[str]
    #: the arguments, in order
    names: ClassVar[tuple[str, ...]] = ()
    #: whether the last of them is a list
    has_list: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Make a dataclass; derive the function's name and its arguments."""
        super().__init_subclass__()
        dataclass(eq=False, repr=False)(cls)
        arguments = fields(cls)  # type: ignore[arg-type]  # it is one since the line above
        cls.script = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        cls.names = tuple(one.name for one in arguments)
        cls.has_list = any(str(one.type).startswith("tuple") for one in arguments)

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


class AddProviderKey(Audited):
    id: str
    masked: str
    sealed: str
    changes: str


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


class AdvanceBatch(Operation):
    id: str
    max_jobs: int
    max_ends: int


class ArchivableAudit(Operation):
    settle_ms: int
    limit: int


class UnloggedAudit(Operation):
    limit: int
    turn_ms: float


class RecordLoggedAudit(Operation):
    id: str


class Authenticate(Operation):
    id: str


class BeginAnyErasure(Audited):
    id: str
    tenant: str
    filter: str
    audited_filter: str
    found: int


class BeginModelsCheck(Operation):
    interval_ms: float


class RecordProviderModels(Operation):
    error: str
    models: tuple[str, ...]


class BeginErasure(Operation):
    id: str
    tenant: str
    api_key: str
    filter: str
    found: int
    most: int


class BeginTenantErasure(Audited):
    id: str
    tenant: str


class BulkTransition(Audited):
    transition: str
    deadline_ms: int
    filter: str
    tenant: str
    ids: tuple[str, ...]


class Cancel(Operation):
    id: str
    tenant: str
    token: str


class CancelBatch(Operation):
    id: str
    tenant: str
    token: str


class Checkpoint(Operation):
    id: str
    fence: str
    answer: str
    record_id: str
    provider_seconds: str
    object_name: str
    signal: str
    identities: str


class Claim(Operation):
    nonce: str
    lease_ms: float
    allow_isolated: bool
    keys: tuple[str, ...]


class ClaimAnswer(Operation):
    id: str
    fence: str
    identities: str


class ClaimDelivery(Operation):
    nonce: str
    lease_ms: float


class CloseGroup(Operation):
    tenant: str
    ids: str
    outcome: str
    body: str


class CommitBatch(Operation):
    id: str
    tenant: str
    not_after_ms: float
    fingerprint: str
    size: int
    idempotency_key: str
    fields: tuple[str, ...]


class CountFailedDeliveries(Operation):
    tenant: str
    since_ms: int


class CreateTenant(Audited):
    tenant: str
    webhook_secret: str
    detail: str
    limits: tuple[Argument, ...]


class DeleteArchived(Operation):
    id: str
    not_after_ms: float
    objects: tuple[str, ...]


class DeleteEndpoint(Operation):
    id: str
    tenant: str
    limit: int


class DeleteOperatorEndpoint(Audited):
    id: str
    limit: int


class DeleteExpired(Operation):
    limit: int


class DeleteJob(Operation):
    id: str
    tenant: str
    token: str


class DeleteTenant(Operation):
    tenant: str
    limit: int


class DeregisterWorker(Operation):
    worker: str


class DiscardBatch(Operation):
    id: str


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


class EnableAnyEndpoint(Audited):
    id: str


class EnableEndpoint(Operation):
    id: str
    tenant: str


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


class EraseUsageTags(Operation):
    tenant: str
    days: tuple[int, ...]


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


class FindReusable(Operation):
    tenant: str
    request_hash: str
    object_name: str
    idempotency_key: str
    archived_id: str
    archived_image: str
    api_key: str


class FindSuperseded(Operation):
    ids: tuple[str, ...]


class HistoryDeletions(Operation):
    limit: int
    deleted: tuple[str, ...]


class HistoryTenantDeletions(Operation):
    limit: int
    erased: tuple[str, ...]


class ListApiKeys(Operation):
    tenant: str


class ListBatchJobs(Operation):
    tenant: str
    id: str
    lower: str
    limit: int


class ListBatches(Operation):
    tenant: str
    upper: str
    limit: int


class ListDeliveries(Operation):
    tenant: str
    job_id: str
    state: str
    before_ms: int | None
    before_id: str
    limit: int
    scan_limit: int
    host: str


class ListEndpoints(Operation):
    tenant: str
    id: str
    before_ms: int | None
    before_id: str
    limit: int


class ListRunCounts(Operation):
    tenant: str
    first: int
    last: int


class ListTenants(Operation):
    lower: str
    upper: str
    limit: int


class ListWorkers(Operation):
    limit: int


class NextArchivable(Operation):
    worker: str
    lock_ms: float
    lease_ms: float
    limit: int


class NextErasure(Operation):
    lease_ms: float


class ObjectDeletions(Operation):
    limit: int
    deleted: tuple[str, ...]


class RecordHistoryFailure(Operation):
    pass


class PostponeObjectDeletions(Operation):
    objects: tuple[str, ...]


class ReadAudit(Operation):
    upper: str
    lower: str
    action: str
    target: str
    by: str
    limit: int
    scan_limit: int


class ReadBatch(Operation):
    id: str
    tenant: str


class ReadDelivery(Operation):
    id: str
    tenant: str


class ReadErasure(Operation):
    id: str
    tenant: str


class ReadEvents(Operation):
    tenant: str
    after: str
    limit: int


class ReadSamples(Operation):
    back_ms: int
    step_ms: int


class ReadJob(Operation):
    id: str
    tenant: str


class ReadRunCounts(Operation):
    counted: tuple[str, ...]


class ReadSigningKeys(Operation):
    pass


class ReadStoredKeys(Operation):
    pass


class ReadTotals(Operation):
    codes: tuple[str, ...]


class ReadUsage(Operation):
    tenant: str
    days: int
    api_key: str


class ReadWebhookSecret(Operation):
    tenant: str
    endpoint_id: str


class RecordSubmitted(Operation):
    id: str
    fence: str
    record_id: str
    identities: str


class RecordWrittenRunCounts(Operation):
    counted: tuple[str, ...]


class Redeliver(Operation):
    id: str
    tenant: str
    token: str


class RedeliverAll(Audited):
    tenant: str
    since_ms: int
    until_ms: int
    skipped: int
    limit: int


class RedeliverAny(Audited):
    id: str


class RedeliverFailed(Operation):
    tenant: str
    since_ms: int
    until_ms: int | None
    skipped: int
    limit: int
    token: str


class RefuseArchivable(Operation):
    id: str


class RegisterKeys(Operation):
    keys: tuple[str, ...]


class Release(Operation):
    id: str
    fence: str


class RemoveProviderKey(Audited):
    id: str


class ResealProviderKey(Audited):
    id: str
    sealed_before: str
    sealed: str


class RemoveArchived(Operation):
    versions: tuple[str, ...]


class RemoveArchivedAudit(Operation):
    ids: tuple[str, ...]


class RemoveArchivedBatches(Operation):
    counts: tuple[str, ...]


class Renew(Operation):
    worker: str
    queue: str
    threads: int
    lease_ms: float
    held: tuple[str, ...]


class ReportErasure(Operation):
    id: str
    deleted: int
    is_done: bool
    lease_ms: float


class ReportSignal(Operation):
    signal: str


class Requeue(Operation):
    id: str
    fence: str
    wait_ms: int
    refund_attempt: bool
    unknown: bool
    regenerate: bool
    forget_record: bool
    signal: str
    code: str
    message: str
    excerpt: str
    failed_key: str


class Rerun(Operation):
    id: str
    tenant: str
    token: str
    deadline_ms: int
    api_key: str


class RestoreJob(Operation):
    id: str
    not_after_ms: float
    parts: str


class RevokeApiKey(Audited):
    tenant: str
    id: str
    keep_ms: float


class RotateAnySecret(Audited):
    id: str
    secret: str


class RotateSecret(Operation):
    tenant: str
    api_key: str
    endpoint_id: str
    secret: str


class RotateSigningKey(Audited):
    key: str
    overlap_ms: int


class RotateTenantSecret(Audited):
    tenant: str
    secret: str


class ScheduleObjectDeletions(Operation):
    objects: tuple[str, ...]


class SendTest(Operation):
    id: str
    tenant: str
    api_key: str
    host: str
    url: str
    type: str
    webhook: str
    data: str


class ServiceStats(Operation):
    """No arguments."""


class SetKeyLimits(Audited):
    tenant: str
    id: str
    detail: str
    limits: tuple[Argument, ...]


class SetLimits(Audited):
    tenant: str
    detail: str
    limits: tuple[Argument, ...]


class SetPaused(Audited):
    subject: str
    action: str


class SettleDelivery(Operation):
    id: str
    fence: str
    outcome: str
    wait_ms: int
    attempt: str
    in_time: str
    nonce: str = ""
    lease_ms: float = 0


class StageJobs(Operation):
    id: str
    tenant: str
    chunk: int
    max_attempts: int
    trace: str
    api_key: str
    idempotency_key: str
    jobs: tuple[Argument, ...]


class StartCall(Operation):
    id: str
    fence: str
    images: int
    key: str


class Succeed(Operation):
    id: str
    fence: str
    image: str
    download_seconds: str
    store_seconds: str
    request_hash: str
    nonce: str = ""
    lease_ms: float = 0
    keys: tuple[str, ...] = ()


class Sweep(Operation):
    token: str
    worker: str
    lock_ms: float
    lease_ms: float
    limit: int


class TouchApiKey(Operation):
    id: str


class UnwrittenRunCounts(Operation):
    settle_ms: int
    limit: int


class UpdateEndpoint(Operation):
    id: str
    tenant: str
    max_standing: int
    events: str
    enabled: str
    fields: tuple[str, ...]


class UpdateOperatorEndpoint(Audited):
    audited: str
    id: str
    max_standing: int
    events: str
    enabled: str
    fields: tuple[str, ...]
