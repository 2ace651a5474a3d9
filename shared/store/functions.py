"""The Lua functions: modules in `shared/lua/lib`, an operation per file in `shared/lua/operations`.

All of them form one function library of the server, which runs the text once, when it is loaded: as
scripts, each call would create every function again, which costs as much as the operation.
Processes with the same settings and version have the same text, and so the same function names,
which end in a digest of it; others have others, so that two versions can run at once.

A file names its modules in its first statement, `local keys, queue = ... -- requires`, and sees
nothing else: each module is a function of its own that receives the modules it names. Three things
come from Python: the constants `C`, the module `keys` (`shared.store.keys`), and the table `args`
of an operation (`shared.store.operations`).
"""

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files

from shared.api_keys import OPERATORS
from shared.budgets import THRESHOLDS
from shared.jobs import FINAL, PRIORITY_OFFSET_MS, TRANSITIONS, State
from shared.operator_events import ENDS
from shared.settings import Settings
from shared.store import keys, operations
from shared.store.codec import DEFAULTS
from shared.store.provider_models import ACTIVE, NOT_LISTED
from shared.words import WORD_CHARACTERS, WORDS_MAX

#: How many of our libraries a server keeps: older ones are removed, and loaded again by processes
#: that still use them.
LIBRARIES_KEPT = 8
_LIBRARY = "darkroom_"
#: Permits in the list before any worker reported its threads: enough to start, few to waste.
PERMITS_AT_START = 16
#: Consecutive failed calls, over all workers, after which the circuit opens.
CIRCUIT_FAILURES = 5
#: The failure budget, and what one successful call earns: in the long run at most a fifth of all
#: calls fail before the circuit opens.
RETRY_BUDGET = 20
RETRY_SHARE = 0.25
#: While a probe call is out, the others wait this long for its result.
PROBE_MS = 5_000
#: The longest hold of new calls: what a provider may ask for, plus random jitter below a second.
HOLD_MOST_MS = 602_000
#: A provider key that no worker has used for this long is forgotten.
KEY_KEPT_MS = 86_400_000
#: A provider key counts as one of a worker's environment for this long after a worker registered it
#: as such; workers do so every `worker.key_probe.INTERVAL_SECONDS`.
ENVIRONMENT_KEY_MS = 60_000
#: How often a call checks a model that the provider does not offer.
GONE_PROBE_MS = 60_000
#: How long new calls are held when an image cannot be downloaded: longer than a paid job waits to
#: download it again, so that those free downloads are the probes.
IMAGE_HOLD_MS = 60_000
#: Consecutive regenerations because of expired URLs that hold new calls.
REGENERATIONS_MOST = 3
#: How long the event feed and idempotency keys are kept.
FEED_MS = 7 * 86_400_000
IDEMPOTENCY_MS = 86_400_000
#: The provider's answers are recognised as long as their URLs live: for this many whole periods,
#: and the current one.
ANSWER_PERIOD_MS = 7 * 86_400_000
ANSWER_PERIODS = 1
#: How long daily spending is kept.
USAGE_DAYS = 90
#: How long the counts of ended runs are kept in Redis; the history keeps them forever.
RUN_COUNTS_DAYS = 100
#: The most combinations of status, model, API key and tags that are counted for a tenant and day.
RUN_COMBINATIONS = 1_000
#: PostgreSQL indexes at most 2,704 bytes of a row.
RUN_TAGS_BYTES = 2_000
#: Credits of runs are counted in whole units of this many decimals, so that sums are exact.
CREDIT_DIGITS = 6
CREDIT_PARTS: int = 10**CREDIT_DIGITS
#: How many thresholds of budgets that were reached one sweep reports.
THRESHOLDS_REPORTED = 1_000
#: The number of audit entries kept where there is no history.
AUDIT_ENTRIES = 100_000
#: Objects that may belong to no job are deleted after this time: no late upload follows.
OBJECT_DELETION_DELAY_MS = 600_000
#: When the storage is asked again to delete an object that it refused to delete.
OBJECT_REFUSED_MS = 60_000
#: A deleted job is deleted in the history after this time. Until then Redis records the deletion;
#: by then every read that began before it has ended.
HISTORY_DELETION_DELAY_MS = 15_000
#: How long an erasure is kept after its end.
ERASURE_KEPT_MS = 30 * 86_400_000
#: A tenant's deletion begins after this time: until then API processes may accept a deleted key,
#: which they cache for 3 s (`api.auth`), and finish the requests that it allowed.
KEY_CACHE_MS = 10_000
#: A deleted tenant is remembered this long, so that requests with its keys are refused even if
#: their bodies still arrive: these are cut off after ten minutes (`api.server.BODY_PACES`).
DELETED_TENANT_MS = 900_000
#: When a job is looked at again that may not move to the history yet.
ARCHIVE_RETRY_MS = 600_000
#: When the history is offered a job again that it could not store.
ARCHIVE_REFUSED_MS = 3_600_000
#: How long a webhook that waits for its endpoint keeps its job out of the history.
PARKED_KEPT_MS = 7 * 86_400_000
#: A stage without additions for this long is abandoned.
STAGE_MS = 120_000
#: The process that committed, canceled or discarded a batch continues it; after this long without
#: progress, the sweep does.
BATCH_WORK_DELAY_MS = 3_000
#: A job that lost its worker this often is failed, not retried forever.
MAX_WORKER_LOSSES = 3
#: Consecutive failures after which an endpoint gets one delivery at a time, and the longest
#: interval of these: a recovered endpoint gets its webhooks within minutes.
ENDPOINT_FAILURES = 5
ENDPOINT_PROBE_MS = 600_000
#: A disabled or unused endpoint is remembered this long after its last delivery.
ENDPOINT_MS = 30 * 86_400_000
#: How long an event of a tenant is kept with its deliveries.
TENANT_EVENT_MS = 30 * 86_400_000
#: How long a replaced secret also signs, and how many of them at most.
SECRET_MS = 86_400_000
SECRETS_KEPT = 4
#: Attempts kept of a delivery: more than any schedule has, and redeliveries.
ATTEMPTS_KEPT = 20
#: Failed attempts kept on a job: few enough for a compact record.
NOTES_KEPT = 10
#: Samples of the counters: the number kept at each interval, in milliseconds.
SAMPLES_KEPT = 720
SAMPLE_STEPS_MS = (10_000, 60_000, 300_000)
#: The fields of a sample: totals, then current numbers, and why the gate is closed.
SAMPLED = (
    *("accepted", "started", "requeued", "succeeded", "failed", "canceled"),
    *("waiting", "running", "webhooks", "oldest", "closed"),
)
#: How long a test event and its result are kept.
TEST_MS = 600_000
#: How long a host that responded in time is trusted to do so again.
RESPONSIVE_MS = 600_000
#: Deliveries that a claim skips at most, and jobs that it ends on its way, so that Redis is never
#: blocked for long.
CLAIM_SCAN_LIMIT = 32
CLAIM_ENDS = 20
#: How many jobs that ended outside of an attempt one sweep reports.
ENDED_REPORTED = 2_000

#: Bytes of specs, which have the prompts, that one search reads: it blocks Redis for some
#: milliseconds, whatever the prompts are.
SEARCH_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Permit:
    """A Celery message that permits one claim, and the list it goes to.

    `template` is the whole message with `slot` in place of its ids.
    """

    list_key: str
    template: str
    slot: str


class FunctionLibrary:
    """The library of one process: its text, and the names of its functions."""

    #: Finds our libraries on the server.
    PATTERN = f"{_LIBRARY}*"

    def __init__(self, settings: Settings, generate: Permit, deliver: Permit) -> None:
        """Build the text from the settings and both kinds of permit."""
        constants = f"local C = {_lua(_constants(settings, generate, deliver))}"
        #: the beginning of every operation
        self.prelude = f"{constants}\n{_modules()}"
        self._operations = {one.script: _operation(one) for one in operations.all_operations()}
        body = "\n".join((self.prelude, *map(_registration, self._operations.values())))
        digest = hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()[:16]
        self._suffix = f"_{digest}"
        self.library_name = f"{_LIBRARY}{digest}"
        self.text = f"#!lua name={self.library_name}\n{body.replace(_SUFFIX, self._suffix)}"

    def function(self, name: str) -> str:
        """Return the server's name of an operation; raise KeyError for an unknown one."""
        return f"{self._operations[name].name}{self._suffix}"

    def writes(self, name: str) -> bool:
        """Return whether an operation may write."""
        return "no-writes" not in self._operations[name].flags

    def standalone(self, name: str) -> str:
        """Return one operation as a script, for a server without the library.

        A full Redis accepts no library, but still runs what makes room.
        """
        operation = self._operations[name]
        flags = f" flags={','.join(operation.flags)}" if operation.flags else ""
        return f"#!lua{flags}\n{self.prelude}\n{operation.text}"


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    flags: tuple[str, ...]
    text: str


#: The placeholder for the digest of the text.
_SUFFIX = "_@"
#: The first statement of a file.
_REQUIRES = re.compile(r"^local ([\w, ]+) =\s+\.\.\. -- requires$", re.MULTILINE)
#: What comes from Python.
_KEYS, _ARGS = "keys", "args"


def _files(folder: str) -> dict[str, str]:
    found = (files("shared") / "lua" / folder).iterdir()
    texts = {entry.name: entry for entry in found if entry.name.endswith(".lua")}
    return {
        name.removesuffix(".lua"): texts[name].read_text(encoding="utf-8") for name in sorted(texts)
    }


def required(text: str) -> tuple[str, ...]:
    """Return the modules that a file names in its first statement."""
    found = _REQUIRES.search(text)
    return tuple(found[1].split(", ")) if found else ()


@cache
def _modules() -> str:
    return ordered_modules(_files("lib"))


def ordered_modules(texts: Mapping[str, str]) -> str:
    """Return modules, each after those it requires; raise ValueError for a wrong one."""
    needs = {name: required(text) for name, text in texts.items()}
    for name, needed in needs.items():
        if unknown := set(needed) - {*texts, _KEYS}:
            raise ValueError(f"lib/{name}.lua requires {', '.join(sorted(unknown))}, not found.")
    try:
        order = [*TopologicalSorter(needs).static_order()]
    except CycleError as error:
        raise ValueError(f"Lua modules require each other: {' -> '.join(error.args[1])}.") from None
    rest = (_module(name, texts[name]) for name in order if name != _KEYS)
    return "\n".join((_keys_module(), *rest))


def _module(name: str, text: str) -> str:
    needed = ", ".join(f"m_{one}" for one in required(text))
    return f"local m_{name} = (function(...)\n{text}\nend)({needed})"


def _keys_module() -> str:
    """Write `shared.store.keys` as a Lua module: strings, and functions of the parts."""
    lines = [f"local m_{_KEYS} = {{}}"]
    for name, key in keys.all_keys():
        parts = [f"part{number}" for number, _ in enumerate(key.parts)]
        text = "'" + key(*(f"' .. {part} .. '" for part in parts)) + "'"
        text = text.removesuffix(" .. ''")
        lines.append(
            f"function m_{_KEYS}.{name}({', '.join(parts)}) return {text} end"
            if parts
            else f"m_{_KEYS}.{name} = {text}"
        )
    return "\n".join(lines)


def _operation(operation: type[operations.Operation]) -> _Function:
    """Read the file of an operation, and insert its arguments."""
    name = operation.script
    first, _, text = _read_operation(name).partition("\n")
    values = {one: f"ARGV[{at}]" for at, one in enumerate(operation.names, 1)}
    if operation.has_list:
        values[operation.names[-1]] = f"m_util.slice(ARGV, {len(values)})"
    arguments = ", ".join(f"{one} = {value}" for one, value in values.items())
    needed = required(text)
    given = ", ".join(f"{{ {arguments} }}" if one == _ARGS else f"m_{one}" for one in needed)
    text = _REQUIRES.sub(lambda _: f"local {', '.join(needed)} = {given}", text, count=1)
    flags = first.partition(" flags=")[2]
    return _Function(name, tuple(flags.split(",")) if flags else (), text)


def _read_operation(name: str) -> str:
    return (files("shared") / "lua" / "operations" / f"{name}.lua").read_text(encoding="utf-8")


def _registration(function: _Function) -> str:
    flags = ", ".join(f"'{flag}'" for flag in function.flags)
    head = f"function_name = '{function.name}{_SUFFIX}', flags = {{ {flags} }}"
    body = f"function(_, ARGV)\n{function.text}\nend"
    return f"redis.register_function{{ {head}, callback = {body} }}"


def _words(states: frozenset[State]) -> str:
    return " ".join(sorted(state.value for state in states))


#: Constants that do not depend on settings.
_FIXED: Mapping[str, object] = {
    "operators": OPERATORS,
    "event_ends": {begin.value: end.value for begin, end in ENDS.items()},
    "model_active": ACTIVE,
    "model_not_listed": NOT_LISTED,
    "permits_at_start": PERMITS_AT_START,
    "endpoint_failures": ENDPOINT_FAILURES,
    "endpoint_probe_ms": ENDPOINT_PROBE_MS,
    "endpoint_ms": ENDPOINT_MS,
    "tenant_event_ms": TENANT_EVENT_MS,
    "secret_ms": SECRET_MS,
    "secrets_kept": SECRETS_KEPT,
    "attempts_kept": ATTEMPTS_KEPT,
    "notes_kept": NOTES_KEPT,
    "samples_kept": SAMPLES_KEPT,
    "sample_steps": SAMPLE_STEPS_MS,
    "sampled": SAMPLED,
    "test_ms": TEST_MS,
    "claim_scan_limit": CLAIM_SCAN_LIMIT,
    "claim_ends": CLAIM_ENDS,
    "ended_reported": ENDED_REPORTED,
    "responsive_ms": RESPONSIVE_MS,
    "max_worker_losses": MAX_WORKER_LOSSES,
    "answer_period_ms": ANSWER_PERIOD_MS,
    "answer_periods": ANSWER_PERIODS,
    "object_deletion_delay_ms": OBJECT_DELETION_DELAY_MS,
    "object_refused_ms": OBJECT_REFUSED_MS,
    "history_deletion_delay_ms": HISTORY_DELETION_DELAY_MS,
    "archive_retry_ms": ARCHIVE_RETRY_MS,
    "archive_refused_ms": ARCHIVE_REFUSED_MS,
    "erasure_kept_ms": ERASURE_KEPT_MS,
    "key_cache_ms": KEY_CACHE_MS,
    "deleted_tenant_ms": DELETED_TENANT_MS,
    "parked_kept_ms": PARKED_KEPT_MS,
    "stage_ms": STAGE_MS,
    "batch_work_delay_ms": BATCH_WORK_DELAY_MS,
    "budget_thresholds": THRESHOLDS,
    "thresholds_reported": THRESHOLDS_REPORTED,
    "audit_entries": AUDIT_ENTRIES,
    "search_bytes": SEARCH_BYTES,
    "words_max": WORDS_MAX,
    "word_characters": WORD_CHARACTERS,
    "feed_ms": FEED_MS,
    "idempotency_ms": IDEMPOTENCY_MS,
    "usage_ms": USAGE_DAYS * 86_400_000,
    "run_counts_days": RUN_COUNTS_DAYS,
    "run_counts_ms": RUN_COUNTS_DAYS * 86_400_000,
    "run_combinations": RUN_COMBINATIONS,
    "run_tags_bytes": RUN_TAGS_BYTES,
    "credit_parts": CREDIT_PARTS,
    "probe_ms": PROBE_MS,
    "hold_most_ms": HOLD_MOST_MS,
    "key_kept_ms": KEY_KEPT_MS,
    "environment_key_ms": ENVIRONMENT_KEY_MS,
    "gone_probe_ms": GONE_PROBE_MS,
    "image_hold_ms": IMAGE_HOLD_MS,
    "regenerations_most": REGENERATIONS_MOST,
    "circuit_failures": CIRCUIT_FAILURES,
    "retry_budget": RETRY_BUDGET,
    "retry_share": RETRY_SHARE,
    "defaults": DEFAULTS,
    "sources": {name: _words(one.sources) for name, one in TRANSITIONS.items()},
    "final": _words(FINAL),
    "priority_offset_ms": {name.value: offset for name, offset in PRIORITY_OFFSET_MS.items()},
}


def _constants(settings: Settings, generate: Permit, deliver: Permit) -> Mapping[str, object]:
    return {
        **_FIXED,
        "generate_list": generate.list_key,
        "generate_permit": generate.template,
        "deliver_list": deliver.list_key,
        "deliver_permit": deliver.template,
        "permit_slot": generate.slot,
        # the first 23 of the 36 characters of a UUID; a counter in Redis makes the rest
        "permit_prefix": str(uuid.UUID(int=0, version=4))[:23],
        "max_per_host": settings.webhook_max_per_host,
        "endpoint_patience_ms": round(settings.webhook_disable_after_seconds * 1000),
        "max_queue": settings.max_queue,
        "key_notice_ms": round(settings.key_notice_seconds * 1000),
        "queue_delayed_ms": round(settings.queue_delayed_seconds * 1000),
        "notify_after_ms": round(settings.notify_after_seconds * 1000),
        "models": tuple(settings.models),
        "archive_after_ms": settings.seconds_until_archived * 1000,
        "retention_ms": settings.record_seconds * 1000,
        "image_retention_ms": settings.image_retention_seconds * 1000,
        "credits_most": max(settings.prices.values(), default=0),
        "audit_log": int(settings.audit_log),
        "fallback_after_ms": round(settings.fallback_after_seconds * 1000),
        "key_rate": _rate(settings.provider_rate_per_minute),
        "model_rates": {
            model.id: _rate(model.requests_per_minute)
            for model in settings.models.values()
            if model.requests_per_minute
        },
    }


def _rate(per_minute: float) -> Mapping[str, float]:
    """Return a rate for the gate (GCRA); 0 for none.

    A burst and the rate after it together stay within the rate in any minute.
    """
    burst = int(per_minute / 10)
    return {"burst": burst, "interval_ms": 60_000 / (per_minute - burst) if per_minute else 0}


def _lua(value: object) -> str:
    """Write a value as Lua: numbers, text and tables."""
    if isinstance(value, Mapping):
        fields = (f"[ {_lua(name)} ] = {_lua(item)}" for name, item in value.items())
        return "{ " + ", ".join(fields) + " }"
    if isinstance(value, tuple):
        return "{ " + ", ".join(map(_lua, value)) + " }"
    if isinstance(value, str):
        level = "=" * 4  # deep enough: JSON never contains ]====]
        return f"[{level}[{value}]{level}]"
    return repr(value)
