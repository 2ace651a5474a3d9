"""All keys of Darkroom in Redis: for Python, for the Lua functions, for `docs/redis.md`.

`keys.job("job_…")` returns a key; the Lua functions read the same table as module `keys`, where
`keys.job(id)` does the same and a key without parts, such as `keys.gate`, is a string. All start
with `{dr}:`, a hash tag: a cluster keeps all of them on one node.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "{dr}:"
_PART = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of Redis: `pattern` with `<parts>`, its type, its content, and its fields.

    In field names, `<…>` marks the variable part, as in `pattern`.
    """

    pattern: str
    type: str
    holds: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of the variable parts, in order."""
        return tuple(_PART.findall(self.pattern))

    def __call__(self, *parts: object) -> str:
        """Return the name of the key with these parts; raise ValueError for too few or too many."""
        if len(parts) != len(self.parts):
            raise ValueError(f"{self.pattern} has {len(self.parts)} parts, not {len(parts)}")
        values = iter(parts)
        return PREFIX + _PART.sub(lambda _: str(next(values)), self.pattern)


HASH, ZSET, SET, STRING, LIST, STREAM = "hash", "sorted set", "set", "string", "list", "stream"

# --- jobs -----------------------------------------------------------------------------------------

job = Key(
    "job:<id>",
    HASH,
    "A job. Fields with a default are left out: run 1, fence 0, priority normal, on_unknown retry.",
    {
        "tenant": "whose it is",
        "state": "queued, claimed, calling, fetching, succeeded, failed or canceled",
        "version": "counts every change; the ETag",
        "run": "counts from 1; a retry by the client begins the next",
        "fence": "counts claims; what a worker writes with an older one is refused",
        "attempt": "attempts of this run",
        "max_attempts": "attempts that a run may take",
        "priority": "high, normal or low",
        "model": "the model that serves it: the requested one or a fallback",
        "models": "the requested model and its fallbacks, separated by spaces; absent without fallbacks",
        "alternative:<model>": "`credits spec` of another of these models, until one has made the image",
        "spec": "what was asked for, as JSON: input, metadata, reuse, the webhook's headers and payload",
        "tags": "tags, one a line",
        "words": "the words of a prompt that is not ASCII, separated by spaces, for searches",
        "on_unknown": "retry or fail, where the outcome of a call is unknown",
        "webhook_url": "where webhooks go",
        "webhook_host": "the host of that URL",
        "webhook_events": "the event types that are sent, separated by spaces",
        "created": "when it was accepted (ms)",
        "enqueued": "when it was queued for this run, if later than created (ms)",
        "deadline": "when it is given up (ms)",
        "started": "when the first attempt of this run began (ms)",
        "claimed": "when the present attempt began (ms)",
        "due": "when the next attempt may begin (ms)",
        "finished": "when it became final (ms)",
        "expires": "when it is deleted (ms); absent: never",
        "image_expires": "when its image is deleted, if that is earlier (ms)",
        "image_deleted": "when its image was deleted (ms)",
        "hist": "changes of state: `version ms state attempt`, with ms from `created`, separated by `;`, at most 4,000 characters",
        "last": "`fence transition` or `transition token` of the last change, to recognize a repeated one",
        "log": "failed attempts, one a line: `run attempt ms outcome JSON`, with ms from `created`",
        "batch": "the batch that it belongs to",
        "trace": "the traceparent of the request that made it",
        "api_key": "the id of the API key that made it, or retried it",
        "payer": "`payer` of that key, if it replaced another",
        "credits": "credits that one call may cost, as estimated",
        "reserved_credits": "credits reserved until a call is charged; they count against a budget",
        "reserved_for": "`key:<id>` where they are reserved for a key with a budget too",
        "calls": "calls that may have made an image",
        "charged": "calls of this run that were or may have been billed",
        "call_key": "the provider key that made the last call",
        "unknown": "calls whose outcome is unknown",
        "regenerated": "images made again because the URL was no longer served",
        "spare_calls": "unknown and regenerated calls of earlier runs",
        "worker_losses": "workers lost while they held it, in this run",
        "worker_losses_here": "the same since its last progress; three fail the job",
        "isolated": "1 after a worker was lost: it is claimed one at a time by each process",
        "failed_key": "the provider key that failed last; another one tries next",
        "pending": "the provider's record of a call that it works on",
        "record_id": "the provider's record of the image",
        "answer": "the provider's answer as JSON, until the image is stored",
        "object": "what the image's object key begins with, until it is stored",
        "image": "the stored image as JSON",
        "reused_from": "the job whose image was copied",
        "record_retention": "seconds for which it is kept after its end, if it says so; 0: forever",
        "image_retention": "the same for its image; 0: as long as the job",
        "error_code": "why it failed",
        "error_message": "the same for people",
        "error_retryable": "1 where a retry may help",
        "last_error_code": "why the last attempt failed",
        "last_error_message": "the same for people",
        "t_provider": "seconds that the provider took",
        "t_download": "seconds that the download took",
        "t_store": "seconds that the upload took",
        "deliveries": "its webhook deliveries, as `run_event`, with `_endpoint` for a standing one, separated "
        "by spaces",
        "sent_version": "the newest version that the receiver of its webhook has",
        "sent_version:<endpoint>": "the same of a standing endpoint",
        "sending_delivery": "the delivery that is being sent, so that its others wait",
        "sending_delivery:<endpoint>": "the same to a standing endpoint",
        "archived": "1 where the history may have a copy",
        "prompt_withheld": "1 where it came back from the history, which does not have its prompt",
    },
)
fallback_jobs = Key(
    "fallback_jobs:<model>",
    ZSET,
    "Queued jobs that this model serves and that may still change to another, as `models|id`; all scores are 0.",
)
staged = Key(
    "staged:<id>",
    HASH,
    "A job of a batch that is not committed or not written out yet; `deadline` counts from the commit.",
)
tenant_jobs = Key("jobs:<tenant>", ZSET, "The ids of a tenant's jobs; all scores are 0.")
jobs_by = Key(
    "jobs:<tenant>:<field>:<value>",
    ZSET,
    "An index: ids of jobs by `status`, `error`, `tag` or `batch`; without a tenant, of all tenants.",
)
deadlines = Key("deadlines", ZSET, "Deadline (ms) of every job that is not final.")
expiries = Key("expiries", ZSET, "When each final job that is not kept forever is deleted (ms).")
image_expiries = Key(
    "image_expiries", ZSET, "When the image of each final job is deleted before its job (ms)."
)
archive_due = Key("archive_due", ZSET, "When each final job moves to the history (ms).")
archive_checked = Key(
    "archive_checked",
    STRING,
    "Status and id of the last final job that `delete_expired` checked for a move to the history.",
)
archiver = Key(
    "archiver", STRING, "The worker process that moves jobs to the history, while it does so."
)
history_failing = Key(
    "history_failing", STRING, "Since when (ms) the history has refused what the archiver does."
)
history_deletions = Key(
    "history_deletions",
    ZSET,
    "Deleted jobs that the history may still have, by when they are deleted there (ms).",
)
archive_refused = Key(
    "archive_refused",
    ZSET,
    "Final jobs that the history could not store, by when they were refused (ms).",
)
history_tenant_deletions = Key(
    "history_tenant_deletions",
    ZSET,
    "Deleted tenants by when (ms), until the history has erased their tags and the details of audit "
    "entries about them.",
)
object_deletions = Key(
    "object_deletions", ZSET, "Object keys in the storage, by when they may be deleted (ms)."
)
erasure = Key(
    "erasure:<id>",
    HASH,
    "A deletion of many jobs, or of a tenant with everything it has; 30 days after its end.",
    {
        "tenant": "whose jobs; absent: of all tenants",
        "filter": "which jobs, as JSON",
        "is_tenant": "1 where the tenant itself is deleted",
        "found": "how many jobs there were",
        "deleted": "how many are deleted so far",
        "created": "when it was requested (ms)",
        "finished": "when it was done (ms)",
    },
)
erasures = Key(
    "erasures", ZSET, "Erasures that are not done, by when any worker may continue them (ms)."
)
tenant_erasures = Key(
    "erasures:<tenant>", SET, "The erasures that the tenant requested and that are not done."
)
provider_models = Key(
    "provider_models",
    HASH,
    "The models that the provider lists, by the last check.",
    {
        "due": "when any worker may check again (ms)",
        "checked": "when the list was last read (ms)",
        "error": "why the last check failed; absent if it did not",
        "model:<id>": "its status, and its credits a call ('' if not listed)",
    },
)
deleted = Key("deleted:<id>", STRING, "The token of the request that deleted the job; one minute.")
claim = Key(
    "claim:<nonce>",
    HASH,
    "What a claim was given, so that the same claim gets it again; one minute.",
    {
        "job": "the job",
        "delivery": "the delivery",
        "fence": "its fence",
        "key": "the provider key it may use",
    },
)
group_of = Key(
    "group:<id>",
    STRING,
    "The jobs that a retried OpenAI request joined, by the id of the first job that it would have "
    "created: a call that is sent twice joins the same jobs; one minute.",
)
idempotency = Key(
    "idempotency:<tenant>:<key>",
    HASH,
    "What an idempotency key made; 24 hours.",
    {
        "fingerprint": "hash of the request",
        "job": "the job or batch",
        "jobs": "all jobs of a group, separated by spaces",
    },
)
open_groups = Key(
    "groups:<tenant>:<body>",
    ZSET,
    "The jobs of each OpenAI request with this body that has had no response, by when its client "
    "last waited (ms); 0: its client has left.",
)
refused_groups = Key(
    "groups:<tenant>:<body>:refused",
    STRING,
    "How many requests with this body were refused; that many retries join no jobs of a client that still waits.",
)
reuse = Key("reuse:<tenant>:<request>", STRING, "The last job that succeeded with this request.")
answers = Key(
    "answers:<period>:<shard>",
    HASH,
    "Which job has which answer of the provider; two weeks.",
    {"<hash>": "hash of a record's id or of an image URL: the hash of the job that has it"},
)
ended = Key(
    "ended",
    LIST,
    "Jobs that ended outside of a worker, `model status code ms`, with ms from accept to end, for the metrics.",
)

# --- batches --------------------------------------------------------------------------------------

batch = Key(
    "batch:<id>",
    HASH,
    "A batch.",
    {
        "tenant": "whose it is",
        "state": "staged, committed or dropped",
        "size": "how many jobs it has",
        "chunks": "chunks staged so far",
        "credits": "credits of all staged jobs",
        "deadline": "the soonest deadline of the staged jobs (ms from the commit)",
        "priority": "the priority of that job",
        "model": "the model of that job",
        "api_key": "the API key that stages it",
        "reserved_for": "`key:<id>` where that key has a budget",
        "spec": "what was asked for, as JSON",
        "webhook_url": "where its webhook goes",
        "webhook_host": "the host of that URL",
        "webhook_events": "the event types that are sent",
        "trace": "the traceparent of the request that made it",
        "archived": "1 if the history may have a copy of it",
        "committed": "when it was committed (ms)",
        "started": "when its first job began (ms)",
        "completed": "when its last job ended (ms)",
        "cancel": "the token of the request that canceled it",
        "canceling": "when that was (ms), until all of its jobs have ended",
        "canceled_at": "when that was (ms)",
        "at": "the last job that was written out or canceled",
        "queued": "how many of its jobs are queued",
        "running": "how many run",
        "succeeded": "how many succeeded",
        "failed": "how many failed",
        "canceled": "how many were canceled",
        "deliveries": "its webhook deliveries",
        "sent_version": "the newest version that a receiver has",
        "sent_version:<endpoint>": "the same of a standing endpoint",
        "sending_delivery": "the delivery that is being sent",
        "sending_delivery:<endpoint>": "the same to a standing endpoint",
    },
)
batches = Key("batches:<tenant>", ZSET, "The ids of a tenant's batches; all scores are 0.")
batch_work = Key("batch_work", ZSET, "Batches with work to do, by when any worker may do it (ms).")
staged_counts = Key(
    "staged_counts",
    HASH,
    "Jobs of a tenant that are staged and not committed.",
    {"<tenant>": "jobs"},
)

# --- queues ---------------------------------------------------------------------------------------

queue_state = Key(
    "q:<queue>:state",
    HASH,
    "Counters of a queue (`jobs` or `deliveries`).",
    {
        "vt": "virtual time of the fair queue",
        "seq": "counts start tags",
        "claimable": "members that can be claimed now",
        "bound": "the most permits that the Celery list may have",
        "claimed": "when something was last claimed (ms)",
        "throughput": "`ended busy at`: jobs ended and busy milliseconds, both decayed, and when (ms)",
        "permits": "counts permits",
        "round": "virtual time of the deliveries",
        "turn": "counts turns of hosts",
        "threads": "threads that send webhooks",
        "unproven": "threads that send to hosts that have not answered lately",
    },
)
queue_lanes = Key("q:<queue>:lanes", SET, "Lanes (models) in which something can be claimed.")
queue_active = Key(
    "q:<queue>:active:<lane>", ZSET, "Start tag -> group that has ready members in the lane."
)
queue_ready = Key("q:<queue>:ready:<group>:<lane>", ZSET, "Rank -> ready member of a group.")
queue_group = Key(
    "q:<queue>:group:<group>",
    HASH,
    "A group (tenant) of the fair queue.",
    {
        "tag": "its name in `active`, while it can be claimed from",
        "start": "its start tag",
        "finish": "virtual time up to which its claims are charged",
        "running": "how many of its members are claimed",
        "throughput": "as in the queue's state",
        "lane:<lane>": "1 while it has ready members in the lane",
    },
)
queue_paid = Key("q:<queue>:paid", ZSET, "Jobs whose image is paid: claimed before all others.")
queue_isolated = Key(
    "q:<queue>:isolated",
    ZSET,
    "Jobs that lost their worker: claimed one at a time by each process.",
)
queue_leases = Key("q:<queue>:leases", ZSET, "When the lease of each claimed member ends (ms).")
queue_due = Key("q:<queue>:due", ZSET, "When the next attempt of each waiting member is due (ms).")
queue_budget_blocked = Key(
    "q:<queue>:budget_blocked",
    ZSET,
    "Groups that a budget may hold, by the end of its day or month (ms).",
)
delivery_tenants = Key(
    "q:deliveries:tenants", ZSET, "Start tag -> tenant of which something may be sent."
)
delivery_tenant = Key(
    "q:deliveries:tenant:<tenant>",
    HASH,
    "A tenant in the queue of deliveries.",
    {
        "tag": "its name in `tenants`",
        "finish": "virtual time up to which its claims are charged",
        "ready": "deliveries in lines that have a turn",
        "unproven": "threads that send to its unproven hosts",
    },
)
delivery_line = Key(
    "q:deliveries:line:<tenant>:<host>", ZSET, "Rank -> delivery of a tenant to a host."
)
responsive_hosts = Key(
    "q:deliveries:responsive:<tenant>", ZSET, "Turn -> host that answered lately and has a line."
)
unproven_hosts = Key(
    "q:deliveries:unproven:<tenant>",
    ZSET,
    "Turn -> host that has not answered lately and has a line.",
)
host_answered = Key(
    "q:deliveries:answered:<tenant>:<host>", STRING, "There while the host is responsive."
)
host_slots = Key("q:deliveries:slots:<host>", STRING, "Slots of the host that are in use.")
full_host = Key(
    "q:deliveries:full:<host>", ZSET, "Order -> tenant that waits for a slot of the host."
)
crowded = Key(
    "q:deliveries:crowded",
    ZSET,
    "Threads held, then order -> tenant that waits for an unproven thread.",
)
sending = Key(
    "q:deliveries:sending",
    HASH,
    "What each delivery that is being sent holds.",
    {"<delivery>": "`unproven length tenant host`, the last two joined"},
)

# --- the gate of provider calls -------------------------------------------------------------------

gate = Key(
    "gate",
    HASH,
    "Whether new provider calls may be made. A subject is `key:<id>`, `team:<name>` or `model:<id>`.",
    {
        "paused:<what>": "since when `generate`, `deliver`, `model:<id>` or `key:<key>` is paused (ms)",
        "hold:<reason>[:<subject>]": "until when no new call is made (ms)",
        "probe:<reason>[:<subject>]": "1 while a probe call is in progress; also `probe:gone:…` and "
        "`probe:unoffered:…`",
        "fails:<subject>": "failed calls in a row",
        "with:<subject>": "the keys (of a model) or models (of a key) of these failed calls",
        "budget:<subject>": "failed calls that are left before its circuit opens",
        "trips:<subject>": "times its circuit opened in a row",
        "tat:<key>": "when the key may be used next by its rate (GCRA, ms)",
        "model_tat:<model>": "the same of a model with a rate of its own",
        "key:<key>": "`masked team ms`: a key that workers use, and when one last registered it",
        "environment:<key>": "when a worker last registered it from its environment (ms)",
        "unreadable:<key>": "when a worker last reported that none of its seal keys opens the stored key (ms)",
        "removed:<key>": "when an operator removed it (ms): no claim takes it, whatever a worker still has",
        "dead:<key>": "since when the provider refuses the key (ms)",
        "refused:<key>": "the model whose call was refused last",
        "revived:<key>": "that model, once a check has found that the key works",
        "unoffered:<key>:<model>": "when it last said that it does not offer the model to the key (ms)",
        "failing_since:<model>": "since when its calls are held because they fail (ms)",
        "gone:<model>": "when it last said that it offers the model to no key that workers use (ms)",
        "credits:<team>": "`needed has`: credits that a call needs and the team has",
        "unfetched": "up to three jobs whose images could not be fetched since one last could",
        "unstored": "up to three jobs whose images could not be stored since one last could",
        "refused_images": "up to three such jobs that waited when the image of another was stored",
        "image_host": "the host that images could not be fetched from",
        "fetched_host": "the host of the last image that was stored",
        "regenerations": "images made again in a row",
        "no_key": "`reason ms`: why the last claim found no usable key, and until when that counts",
    },
)

provider_keys = Key(
    "provider_keys",
    HASH,
    "Provider keys that operators have added.",
    {
        "<key>": "JSON: `team`, `label`, `masked`, `created_at` (ms), and `sealed`, the key itself, encrypted "
        "with the first of DARKROOM_SEAL_KEYS",
    },
)

# --- webhooks -------------------------------------------------------------------------------------

delivery = Key(
    "delivery:<id>",
    HASH,
    "A webhook and its attempts.",
    {
        "subject": "the job, batch or event of its owner that it is about",
        "tenant": "whose it is",
        "host": "the host it goes to",
        "endpoint": "the endpoint it goes to",
        "query": "the query of its URL",
        "type": "the event type",
        "state": "pending, sending, parked, delivered, failed or superseded",
        "attempt": "attempts so far",
        "schedule_base": "attempts before the last redelivery was requested; the schedule counts from there",
        "fence": "counts claims",
        "created": "when the event happened (ms)",
        "version": "the version of the subject",
        "snapshot": "what changes of the subject, as JSON",
        "key": "the subject's record where it is no job",
        "webhook": "the whole webhook as JSON, of a test event",
        "test": "1 for a test event",
        "standing": "1 if it goes to a standing endpoint, not to a webhook of its subject",
        "forced": "1 if it was requested: it is sent even if its endpoint is failing",
        "redelivery": "the token of the request that asked for it",
        "due": "when the next attempt is due (ms)",
        "finished": "when it was settled (ms)",
        "log": "attempts as JSON, one a line",
    },
)
deliveries = Key(
    "deliveries:<tenant>",
    ZSET,
    "Deliveries by when the event happened (ms); without a tenant, all.",
)
failed_deliveries = Key(
    "deliveries:<tenant>:failed", ZSET, "Failed deliveries by when they failed (ms)."
)
endpoint = Key(
    "endpoint:<id>",
    HASH,
    "A URL without its query, of a tenant or of the operators (`@operators`); of a deleted one that has deliveries, only `url` and `kept`.",
    {
        "tenant": "whose it is",
        "url": "the URL without its query",
        "host": "its host",
        "created": "when it was first used (ms)",
        "kept": "deliveries that are kept",
        "pending": "deliveries that are not settled",
        "retired": "1 if it was deleted while webhooks of jobs to it were not settled: it goes with the last of these",
        "fails": "failed attempts in a row",
        "since": "when those began (ms)",
        "next": "when it is probed next, while it is failing (ms)",
        "probe": "the delivery that is sent as the probe",
        "ok_at": "when it last took a webhook (ms)",
        "failed_at": "when it last failed (ms)",
        "last_error": "the last failed attempt as JSON",
        "off": "since when it is disabled (ms)",
        "why": "why it is disabled: gone, failing or requested",
        "uncounted": "1 if `endpoints_disabled` does not count it, because its owner disabled it",
        "events": "the event types that it is subscribed to as a standing endpoint, separated by spaces",
        "query": "the query of its URL as a standing endpoint",
        "description": "what the tenant says that it is for",
        "headers": "headers that are sent, as JSON; absent: none",
        "payload": "slim; absent: full",
        "format": "slack, of an endpoint of operators; absent: standard",
        "webhook_secret": "a signing secret of its own",
        "webhook_old": "previous secrets that also sign: `secret ms` each",
        "webhook_rotated": "when the secret was last changed (ms)",
    },
)
endpoints = Key(
    "endpoints:<tenant>", ZSET, "A tenant's endpoints by when they were first used (ms)."
)
standing_deliveries = Key(
    "standing_deliveries:<endpoint>",
    ZSET,
    "Unsettled deliveries to a standing endpoint, by when the event happened (ms).",
)
parked = Key("parked:<endpoint>", ZSET, "Deliveries that wait for the endpoint to recover.")
endpoint_probes = Key(
    "endpoint_probes", ZSET, "Failing endpoints with parked deliveries, by the next probe (ms)."
)
endpoint_backlogs = Key(
    "endpoint_backlogs", ZSET, "Recovered endpoints that still have parked deliveries."
)
endpoint_expiries = Key(
    "endpoint_expiries", ZSET, "Unused endpoints by when they are deleted (ms)."
)
tenant_event = Key(
    "tenant_event:<id>",
    HASH,
    "An event of a tenant or of the operators that is about no job, for standing endpoints; 30 days.",
    {
        "tenant": "whose it is",
        "deliveries": "its deliveries, as of a job",
        "sent_version:<endpoint>": "1 once the endpoint has it, 2 once it has the event of the end",
        "sending_delivery:<endpoint>": "the delivery that is being sent",
    },
)
tenant_events = Key("tenant_events:<tenant>", ZSET, "A tenant's events by when they happened (ms).")
tenant_event_expiries = Key(
    "tenant_event_expiries", ZSET, "Events of tenants by when they are deleted (ms)."
)
episodes = Key(
    "episodes",
    HASH,
    "Conditions that operators' endpoints are notified of, from when they begin until their end is "
    "notified, while there is such an endpoint.",
    {
        "<event> <subject>": "JSON: `began` (ms), `opened` once its event was written, `cleared` (ms) while "
        "it does not hold, `data` of its events; `off` of a disabled endpoint"
    },
)
redelivered = Key(
    "redelivered:<token>",
    HASH,
    "What a request to redeliver did; one minute.",
    {"looked": "deliveries looked at", "count": "those sent again", "until": "up to when (ms)"},
)

# --- tenants, API keys, audit ---------------------------------------------------------------------

tenant = Key(
    "tenant:<tenant>",
    HASH,
    "A tenant and its limits; after its deletion only when that was, for 15 minutes. Of `@operators`, only "
    "`subscriptions`.",
    {
        "created": "when it was made (ms)",
        "deleting": "the erasure that deletes it",
        "deleted": "when a tenant of this name was last deleted (ms)",
        "weight": "its share of the queue",
        "max_running": "jobs that may run at once",
        "max_queued": "jobs that may be queued",
        "requests_per_minute": "requests that make jobs",
        "daily_credits": "credits a day (UTC)",
        "monthly_credits": "credits a month (UTC)",
        "budget_action": "refuse or hold, where those are spent",
        "limits_keys": "1 once a key of it has had limits of its own, or replaced another",
        "models": "the models that its jobs may use, separated by spaces; absent: all",
        "may_disable_safety": "1 where its jobs may switch the safety checker off",
        "record_retention_seconds": "how long its jobs are kept after their end; 0: forever",
        "image_retention_seconds": "the same for their images; 0: as long as the job",
        "archive_prompts": "0 where the history does not get its prompts",
        "subscriptions": "its standing endpoints, one a line: the id, and event types separated by spaces",
        "webhook_secret": "what signs its webhooks",
        "webhook_old": "previous secrets that also sign",
        "webhook_rotated": "when the secret was last changed (ms)",
    },
)
tenants = Key("tenants", ZSET, "The names of all tenants; all scores are 0.")
api_key = Key(
    "key:<id>",
    HASH,
    "An API key, without its secret.",
    {
        "hash": "hash of the secret",
        "tenant": "whose it is, or @operators",
        "scopes": "what it may do, separated by spaces",
        "label": "what it is for",
        "created": "when it was made (ms)",
        "expires": "when it ends (ms)",
        "revoked": "when it was revoked (ms)",
        "used": "when it was last used (ms)",
        "replaced_by": "the key that replaces it",
        "monthly_credits": "credits a month (UTC)",
        "requests_per_minute": "requests that make jobs",
        "models": "the models that its jobs may use, separated by spaces; absent: all",
        "payer": "of keys that replaced each other, the first: the use of all counts as its own",
    },
)
key_expiries = Key(
    "key_expiries", ZSET, "API keys of tenants by when they end (ms), until that was notified."
)
api_keys = Key("keys:<tenant>", ZSET, "The keys of a tenant by when they were made (ms).")
request_times = Key(
    "rate:<payer>",
    LIST,
    "Times of the requests of the last minute (ms), newest first, of a tenant or of `key:<id>`.",
)
usage = Key(
    "usage:<tenant>:<day>",
    HASH,
    "What a tenant spent on one day (UTC; `<day>` counts days since 1970); 90 days.",
    {
        "calls": "calls that may have been billed",
        "credits": "their credits, as estimated",
        "calls:<tag>": "the same by tag; '' for those beyond 100 tags",
        "credits:<tag>": "the same by tag",
        "uncounted": "what an earlier tenant of this name spent that day; no budget counts it",
        "threshold": "the highest percentage of the day's budget that was reported",
    },
)
month_usage = Key(
    "month_usage:<payer>:<day>",
    HASH,
    "What a tenant, or an API key as `key:<id>`, spent in the month (UTC) that begins on this day (`<day>` counts days since 1970); 90 days.",
    {
        "credits": "credits of calls that may have been billed, as estimated",
        "threshold": "the highest percentage of the month's budget that was reported",
    },
)
crossed_thresholds = Key(
    "crossed_thresholds",
    LIST,
    "Thresholds of budgets that were reached since the last sweep: "
    "`tenant payer threshold`, and the budget as `budgets.describe` in Lua has it.",
)
run_counts = Key(
    "run_counts:<tenant>:<day>",
    HASH,
    "Runs of a tenant's jobs that ended on one day (UTC; `<day>` counts days since 1970); 100 days.",
    {
        "<status> <model> <api_key> <tags>": "`jobs calls credits`: ends of runs, their calls that may "
        "have been billed, and the estimated credits of these in millionths. The key is `-` if it is not "
        "known; tags are sorted, one a line; `(other)` for those beyond 1,000 combinations or 2,000 bytes",
        "combinations": "how many of these fields there are",
    },
)
counted_days = Key(
    "counted_days",
    ZSET,
    "`day tenant` of all run counts, by the day; by the negative day once the history has them.",
)
reserved_credits = Key(
    "reserved_credits",
    HASH,
    "Credits of jobs whose call is not charged yet, by tenant, and by key as `key:<id>`.",
    {"<payer>": "credits"},
)
audit_log = Key(
    "audit_log",
    HASH,
    "Which audit entries workers have written to their log.",
    {
        "logged": "the id of the last one",
        "due": "until when another worker reads none (ms)",
    },
)
audit = Key(
    "audit",
    STREAM,
    "Writes of operators, until the history has them; without a history, the last 100,000.",
    {
        "by": "the API key, or `cli:<user>`",
        "request": "the request's id",
        "action": "what was done",
        "target": "to what",
        "detail": "what changed, as JSON",
    },
)
reply = Key(
    "replies:<token>",
    STRING,
    "The reply to an operator's write, returned again if the request is repeated; one minute.",
)

# --- events, counters, workers --------------------------------------------------------------------

feed = Key(
    "feed:<tenant>",
    STREAM,
    "A tenant's events of the last seven days.",
    {
        "job": "the job that changed",
        "version": "its version",
        "status": "its status",
        "type": "the event of an endpoint",
        "endpoint": "that endpoint",
        "url": "its URL",
        "why": "why it was disabled",
    },
)
notifications = Key(
    "notifications",
    STREAM,
    "What API processes wake waiting clients by; the last 10,000.",
    {
        "job": "what changed",
        "version": "its version, or `gone`",
        "tenant": "whose feed has new events",
    },
)
counts = Key(
    "counts",
    HASH,
    "Current numbers of jobs, deliveries and endpoints.",
    {
        "<status>": "jobs of this status",
        "webhook_pending": "deliveries that are not settled",
        "webhook_parked": "deliveries that wait for their endpoint",
        "endpoints_failing": "endpoints that are failing",
        "endpoints_disabled": "endpoints that are disabled because they failed or are gone",
    },
)
totals = Key(
    "totals",
    HASH,
    "Totals of jobs since the first one, including deleted ones.",
    {
        "accepted": "jobs accepted",
        "reused": "jobs that got a copy of an image",
        "<status>": "times a job changed to this status; its first status counts in `accepted` or `reused`",
    },
)
samples = Key(
    "samples:<step_ms>",
    STREAM,
    "The counters as they stood, one sample a step.",
    {"<counter>": "its value"},
)
workers = Key(
    "workers",
    HASH,
    "Living worker processes.",
    {"<worker>": "`ms threads queue`: until when it counts as living"},
)
worker_leases = Key(
    "worker_leases",
    HASH,
    "What each worker process held when it last renewed its leases.",
    {"<worker>": "`started_ms id id …`"},
)
sweep = Key(
    "sweep",
    HASH,
    "The last sweep.",
    {
        "by": "the worker that swept",
        "until": "until when no other may (ms)",
        "at": "when it was (ms)",
        "rescue_after": "before this (ms) no lease counts as expired",
        "token": "of the last sweep call; the same call sent again gets `reports`",
        "reports": "what it reported of `ended` and `crossed_thresholds`, as JSON",
        "<step_ms>": "the last sample at this interval",
        "conditions": "when conditions were last compared with `episodes` (ms)",
    },
)
signing_key = Key("signing", STRING, "The secret that signs image URLs, in hexadecimal.")
old_signing_keys = Key(
    "signing:old",
    ZSET,
    "Ends (ms) -> earlier secret with which image URLs are still accepted, in hexadecimal.",
)
signing_key_replaced = Key(
    "signing:replaced", STRING, "When the secret that signs image URLs was last replaced (ms)."
)
schema = Key("schema", STRING, "The number of this layout.")
prices = Key(
    "prices",
    STRING,
    "The credits of a call by model, null without a price, as JSON: those of the API process that "
    "started last.",
)


def all_keys() -> Iterator[tuple[str, Key]]:
    """Return the name and the key of everything above, in order."""
    return ((name, value) for name, value in globals().items() if isinstance(value, Key))


def reference() -> str:
    """Return `docs/redis.md`: every key with its type, content, and fields."""
    lines = [
        "# Keys in Redis",
        "",
        "Written by `make deploy-files` from `shared/store/keys.py`; do not edit.",
        "",
        f"All keys begin with `{PREFIX}`, a hash tag. Celery's own lists are below `{PREFIX}celery:`. Times are",
        "milliseconds since 1970 by Redis' clock (`ms`). A part in `<…>` varies. A time at the end",
        "of a description, such as “one minute”, is how long the key is kept.",
    ]
    for name, key in all_keys():
        lines += [
            "",
            f"## `{PREFIX}{key.pattern}`",
            "",
            f"`keys.{name}`, a {key.type}. {key.holds}",
        ]
        if key.fields:
            lines += ["", "| field | |", "|---|---|"]
            lines += [f"| `{one}` | {text} |" for one, text in key.fields.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
