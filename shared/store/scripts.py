"""The Lua scripts: one file an operation in `shared/lua`, with preludes and constants in front.

A script's text is its first line (`#!lua …`), the constants of this process as a Lua table `C`, the
preludes, and the operation. Processes with the same settings and version have the same texts, so
the server keeps each once.
"""

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

from shared.jobs import PRIORITY_OFFSET_MS
from shared.settings import Settings
from shared.store.records import LEFT_OUT

#: What stands before every operation.
PRELUDE = ("prelude", "prelude_room", "prelude_batches")
#: Permits in the list while no worker has told its threads: enough to start with, few to waste.
PERMITS_AT_START = 16
#: Consecutive failed calls, over all workers, after which the circuit opens.
CIRCUIT_FAILURES = 5
#: Failed calls that are had without opening the circuit, and what one good call earns of them: in
#: the long run at most a fifth of all calls fail before the circuit opens.
RETRY_BUDGET = 20
RETRY_SHARE = 0.25
#: While one probe is out, the rest wait this long for what it finds.
PROBE_MS = 5_000
#: The events feed and idempotency keys are kept this long.
FEED_MS = 7 * 86_400_000
IDEMPOTENCY_MS = 86_400_000
#: What was spent on a day is kept this long.
USAGE_DAYS = 90
#: What operators did is kept, but for the oldest beyond so many writes.
AUDIT_ENTRIES = 100_000
#: What may have been stored in vain is deleted after this long: no late upload comes after it.
TRASH_MS = 600_000
#: A stage to which nothing was added for so long was left behind.
STAGE_MS = 120_000
#: Whoever committed, canceled or gave up a batch does what follows from that; when nothing was done
#: for so long, the sweep does it.
TEND_MS = 3_000
#: A job whose workers were lost this often is failed, not tried for ever.
MAX_CRASHES = 3
#: Failed attempts in a row after which an endpoint is asked one at a time, and how rarely at most:
#: whatever is well again gets its webhooks within minutes.
ENDPOINT_FAILURES = 5
ENDPOINT_PROBE_MS = 600_000
#: An endpoint that is off, or was never used, is remembered this long after its last delivery.
ENDPOINT_MS = 30 * 86_400_000
#: A secret that was replaced signs along for this long; so many of them at most.
SECRET_MS = 86_400_000
SECRETS_KEPT = 4
#: Attempts that a delivery keeps: more than any schedule has, and redeliveries.
ATTEMPTS_KEPT = 20
#: Notes of attempts that went wrong, kept on a job: so small that its record stays in one piece.
NOTES_KEPT = 10
#: What is kept of the last hours: so many samples, one every so many milliseconds.
HISTORY_KEPT = 720
HISTORY_STEPS_MS = (10_000, 60_000, 300_000)
#: What a sample has: how many ever came, then how many are there, and why the gate is closed.
SAMPLED = (
    *("accepted", "started", "again", "succeeded", "failed", "canceled"),
    *("waiting", "running", "webhooks", "oldest", "closed"),
)
#: A test event and what came of it are kept this long.
TEST_MS = 600_000
#: Deliveries that one claim passes over at most, so that Redis is never held for long.
CLAIM_LOOKS = 32


_WITH = re.compile(r"^-- WITH  (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Permit:
    """A Celery message that permits one claim, and the list it goes to.

    `template` is the whole message with `slot` wherever an id of its own belongs.
    """

    list_key: str
    template: str
    slot: str


class Scripts:
    """The texts of all scripts for one process."""

    #: What an operation has in front beside the prelude, if it says so: every line there costs.
    _PARTS = ("owing", "receivers", "accepting", "looking")

    def __init__(self, settings: Settings, generate: Permit, deliver: Permit) -> None:
        """Put the constants together from the settings and the two kinds of permit."""
        self._constants = _lua(_constants(settings, generate, deliver))
        self._sources: dict[str, Script] = {}

    def __getitem__(self, name: str) -> "Script":
        """Give the script of this name; raises FileNotFoundError where there is none."""
        if name not in self._sources:
            self._sources[name] = Script(self._text(name))
        return self._sources[name]

    def _text(self, name: str) -> str:
        first, _, operation = _read(name).partition("\n")
        named = _WITH.search(operation)
        wanted = named[1].split(", ") if named else []
        preludes = [*PRELUDE, *(f"prelude_{part}" for part in self._PARTS if part in wanted)]
        texts = (first, f"local C = {self._constants}", *map(_read, preludes), operation)
        return "\n".join(texts)


@dataclass(frozen=True)
class Script:
    """One script's text."""

    text: str

    @cached_property
    def sha(self) -> str:
        """The name under which the server knows the text."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def _read(name: str) -> str:
    return (files("shared") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _constants(settings: Settings, generate: Permit, deliver: Permit) -> Mapping[str, object]:
    rate = settings.provider_rate_per_minute
    burst = int(rate / 10)
    return {
        "generate_list": generate.list_key,
        "generate_permit": generate.template,
        "deliver_list": deliver.list_key,
        "deliver_permit": deliver.template,
        "permit_slot": generate.slot,
        # the first 23 of the 36 characters of a UUID; a counter in Redis makes the rest
        "permit_prefix": str(uuid.UUID(int=0, version=4))[:23],
        "permits_at_start": PERMITS_AT_START,
        "host_slots": settings.webhook_host_slots,
        "endpoint_failures": ENDPOINT_FAILURES,
        "endpoint_probe_ms": ENDPOINT_PROBE_MS,
        "endpoint_patience_ms": round(settings.webhook_disable_seconds * 1000),
        "endpoint_ms": ENDPOINT_MS,
        "secret_ms": SECRET_MS,
        "secrets_kept": SECRETS_KEPT,
        "attempts_kept": ATTEMPTS_KEPT,
        "notes_kept": NOTES_KEPT,
        "history_kept": HISTORY_KEPT,
        "history_steps": HISTORY_STEPS_MS,
        "sampled": SAMPLED,
        "test_ms": TEST_MS,
        "claim_looks": CLAIM_LOOKS,
        "max_queue": settings.max_queue,
        "max_crashes": MAX_CRASHES,
        "retention_ms": settings.retention_seconds * 1000,
        "trash_ms": TRASH_MS,
        "stage_ms": STAGE_MS,
        "tend_ms": TEND_MS,
        "audit_entries": AUDIT_ENTRIES,
        "feed_ms": FEED_MS,
        "idempotency_ms": IDEMPOTENCY_MS,
        "usage_ms": USAGE_DAYS * 86_400_000,
        "credits_most": max(settings.credits_per_image.values(), default=0),
        "probe_ms": PROBE_MS,
        "circuit_failures": CIRCUIT_FAILURES,
        "retry_budget": RETRY_BUDGET,
        "retry_share": RETRY_SHARE,
        # a burst and the rate behind it together stay within the rate in any minute
        "rate_burst": burst,
        "rate_interval_ms": 60_000 / (rate - burst) if rate else 0,
        "left_out": LEFT_OUT,
        "priority_offset_ms": {name.value: offset for name, offset in PRIORITY_OFFSET_MS.items()},
    }


def _lua(value: object) -> str:
    """Write a value as Lua: numbers, text and tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_lua(item)}" for name, item in value.items()) + " }"
    if isinstance(value, tuple):
        return "{ " + ", ".join(map(_lua, value)) + " }"
    if isinstance(value, str):
        level = "=" * 4  # deep enough: JSON never holds ]====]
        return f"[{level}[{value}]{level}]"
    return repr(value)
