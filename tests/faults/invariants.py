"""The invariants I1-I7, checked against the logs of the provider, storage and webhook receiver.

After every fault, run `python -m tests.faults.invariants DIR [FILE]` for the stack that runs in
DIR, or call `check_invariants(facts)` in a test. Webhooks are checked only if FILE names what
`python -m tests.support.webhook_receiver FILE` wrote for the jobs of the stack.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from shared.jobs import Job, State
from tests.faults.observations import Facts, is_of, read_facts
from tests.support.webhook_receiver import read_received

#: What would give a signed address away, the provider's or the storage's.
SIGNED = ("X-Signature=", "X-Amz-Signature=")
MOST_PAID = 2
#: A deadline is kept by the next sweep; what was claimed before it may end its attempt.
SWEEP_MS, ATTEMPT_MS = 5_000, 60_000


class Line(NamedTuple):
    """One invariant: its figures, and what is against it."""

    name: str
    figures: Mapping[str, object]
    faults: Sequence[str]

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        verdict = "; ".join(self.faults[:5]) if self.faults else "holds"
        return f"{self.name}: {verdict} ({figures})"


def check_invariants(facts: Facts) -> list[Line]:
    """Check all seven."""
    return [check(facts) for check in _CHECKS]


def all_faults(lines: Iterable[Line]) -> list[str]:
    return [f"{line.name}: {fault}" for line in lines for fault in line.faults]


def final(facts: Facts) -> Line:
    """I1: every job is final in time, once a run, and has not moved since."""
    ended = Counter(job.state.value for job in facts.jobs.values())
    faults = [f"{job.id} is {job.state}" for job in facts.jobs.values() if not job.state.is_final]
    for job in facts.jobs.values():
        ends = [change.state for change in job.history if change.state.is_final]
        if len(ends) != job.run or job.history[-1].state is not job.state:
            faults.append(f"{job.id} ended {len(ends)} times in {job.run} runs")
        if _lateness(job) > 0:
            faults.append(f"{job.id} ended {_lateness(job)} ms too late")
    return Line("I1 final once", ended, faults)


def _lateness(job: Job) -> int:
    """Return how many milliseconds after its time a job ended; 0 or less is in time."""
    was_claimed = job.claimed_at is not None and job.claimed_at <= job.deadline_at
    spare = SWEEP_MS + (ATTEMPT_MS if was_claimed else 0)
    return (job.finished_at or 0) - job.deadline_at - spare


def paid(facts: Facts) -> Line:
    """I2: nothing is paid for that is not accounted for; jobs of one prompt answer together."""
    faults, total, extra = [], 0, 0
    for prompt, jobs in _by_prompt(facts.jobs.values()).items():
        bought = sum(call["paid"] for call in facts.asked.get(prompt, ()))
        runs = sum(job.run for job in jobs)
        allowed = runs + sum(job.unknown_outcomes + job.regenerated for job in jobs)
        total, extra = total + bought, extra + max(bought - runs, 0)
        name = "+".join(job.id for job in jobs)
        if bought > min(allowed, runs * MOST_PAID):
            faults.append(f"{name} was paid {bought} times, {allowed} allowed")
        if bought < any(job.state is State.SUCCEEDED for job in jobs):
            faults.append(f"{name} succeeded and was never paid")
    unknown = sum(job.unknown_outcomes for job in facts.jobs.values())
    return Line("I2 paid", {"calls": total, "extra": extra, "unknown": unknown}, faults)


def _by_prompt(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(_prompt(job), []).append(job)
    return found


def stored(facts: Facts) -> Line:
    """I3: one object for each succeeded job, as recorded; any other is about to be deleted."""
    faults, owners = [], {}
    for job in facts.jobs.values():
        if job.state is not State.SUCCEEDED or job.image is None:
            continue
        owners[job.image.key] = job.id
        if facts.objects.get(job.image.key) != job.image.sha256:
            faults.append(f"{job.id} does not have the object in its record")
    orphans = [key for key in facts.objects.keys() - owners.keys() if is_of(key, facts.jobs)]
    faults += [f"{key} belongs to no job" for key in orphans if key not in facts.trash]
    return Line("I3 stored", {"objects": len(owners), "in the trash": len(orphans)}, faults)


def check_webhooks(facts: Facts) -> Line:
    """I4: one webhook for each final job that requested it, and none for a state never reached."""
    if facts.received is None:
        return Line("I4 webhooks", {"received": "not kept"}, ())
    ids: dict[tuple[str, str, int], set[str]] = {}
    for one in facts.received:
        data = one.json["data"]
        if data["id"] in facts.jobs:
            ids.setdefault((data["id"], one.json["type"], data["run"]), set()).add(one.id)
    faults = [f"{key} came under {len(under)} ids" for key, under in ids.items() if len(under) > 1]
    for job_id, kind, _ in ids:
        reached = {f"job.{change.state.status}" for change in facts.jobs[job_id].history}
        if kind not in reached | {"job.started"}:
            faults.append(f"{job_id} had a webhook {kind}, a state that it never reached")
    for job in facts.jobs.values():
        wanted = (job.id, f"job.{job.state.status}", job.run)
        if wanted[1] in (job.spec.webhook or {}).get("events", ()) and wanted not in ids:
            faults.append(f"{job.id} had no webhook for its end")
    return Line("I4 webhooks", {"received": len(facts.received), "told": len(ids)}, faults)


def freed(facts: Facts) -> Line:
    """I5: leases, in-flight counts, and what is set aside of a quota, are back to zero."""
    return Line(
        "I5 slots",
        facts.slots,
        [f"{name} is {value:g}" for name, value in facts.slots.items() if value],
    )


def secret(facts: Facts) -> Line:
    """I6: no key, secret, prompt or signature in any log."""
    words = [*SIGNED, *facts.secrets, *map(_prompt, facts.jobs.values())]
    faults, size = [], 0
    for path in facts.logs:
        text = path.read_text(encoding="utf-8", errors="replace")
        size += len(text)
        faults += [f"{path.name} has {word[:12]}…" for word in words if word in text]
    return Line("I6 logs", {"files": len(facts.logs), "characters": size}, faults)


def counted(facts: Facts) -> Line:
    """I7: gauges agree with the records; a killed process' counters are gone, so these may lack."""
    faults = []
    for status, count in facts.everything.items():
        shown = facts.metrics.get(f'darkroom_jobs{{status="{status}"}}', 0)
        if shown != count:
            faults.append(f"metrics show {shown:g} {status}, there are {count}")
    succeeded = _sum(facts, "darkroom_jobs_finished_total", 'status="succeeded"')
    if succeeded > facts.ever_succeeded:
        faults.append(f"metrics counted {succeeded:g} succeeded, more than ever did")
    asked = _sum(facts, "darkroom_provider_requests_total", "")
    if asked > sum(map(len, facts.asked.values())):
        faults.append(f"metrics counted {asked:g} calls, more than the provider had")
    return Line("I7 metrics", {"succeeded": succeeded, "calls": asked}, faults)


_CHECKS: Sequence[Callable[[Facts], Line]] = (
    final,
    paid,
    stored,
    check_webhooks,
    freed,
    secret,
    counted,
)


def _prompt(job: Job) -> str:
    return str(job.spec.input["prompt"])


def _sum(facts: Facts, name: str, label: str) -> float:
    found = (value for key, value in facts.metrics.items() if key.startswith(name) and label in key)
    return sum(found)


def main(directory: Path, kept: Path | None = None) -> int:
    """Print the invariants of a running stack; 1 where one does not hold."""
    state = json.loads((directory / "stack.json").read_text())
    received = read_received(kept) if kept else None
    lines = check_invariants(read_facts(state, directory, received=received))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if all_faults(lines) else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
