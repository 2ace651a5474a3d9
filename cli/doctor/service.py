"""Checks of the service's state: queues, holds of provider calls, endpoints, archiving, budgets."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.ops.provider_keys import ProviderKey
from api.ops.queues import gate_shown, queue_shown
from api.ops.tenants import budget_warnings
from cli.admin import PRICES_UNKNOWN
from cli.doctor.finding import Finding
from shared.celery_app import QueueName
from shared.store.client import Store
from shared.store.job_queries import ServiceStats, service_stats
from shared.store.tenants import Tenant, list_tenants

#: The threshold of the alert DarkroomQueueOld.
OLD_SECONDS = 600
#: The threshold of the alert DarkroomHistoryBehind.
BEHIND_SECONDS = 900
#: Tenants read at once.
_PAGE = 500

_GATE: Mapping[str, str] = {
    "paused": "Every provider key is paused: run `darkroom provider-keys resume KEY_ID`.",
    "storage": "Check the storage and its access keys; paid images are stored when it is back.",
    "image_host": "Check whether the workers reach the host, and DARKROOM_ONEMIN_IMAGE_HOSTS.",
    "provider_credits": "Add credits at 1min.ai; a test call is made every 30 seconds.",
    "provider_auth": "Add a valid key of 1min.ai with `darkroom provider-keys add`, or in "
    "DARKROOM_ONEMIN_API_KEY of the workers.",
    "provider_down": "Calls to 1min.ai fail. Jobs wait and continue by themselves: one test call "
    "at a "
    "time checks whether it is back. See the runbook DarkroomProviderCircuitOpen in "
    "deploy/runbooks.",
    "provider_rate": "The rate limit of 1min.ai is reached: calls resume by themselves.",
}
_SEALED = "Set DARKROOM_SEAL_KEYS of all workers to the value of the API, or add the key again."
_ADVICE = "The console at `/ops` shows why, and what to do."


def examine_service(store: Store, prices: Mapping[str, float | None]) -> Iterator[Finding]:
    """Check what holds jobs and webhooks; `prices` are those of the API by model."""
    now = store.run(service_stats())
    for name in QueueName:
        yield _queue(now, name)
    yield from _gate(now)
    yield _endpoints(now)
    yield from _archiving(now)
    yield from _budgets(store, prices)


def _queue(now: ServiceStats, name: QueueName) -> Finding:
    shown = queue_shown(now, name)
    check, age = f"queue {name.value}", shown["oldest_age_seconds"]
    if shown["paused"]:
        message, advice = (
            f"Paused since {shown['paused_at']}.",
            f"Run `darkroom queue resume {name}` to continue.",
        )
    elif shown["blocked_by"]:
        message, advice = (
            f"On hold: {shown['blocked_by']}.",
            _GATE.get(shown["blocked_by"], _ADVICE),
        )
    else:
        message, advice = f"Depth {shown['depth']}, the oldest has waited {age:.0f} s.", _ADVICE
    well = not (shown["paused"] or shown["blocked_by"]) and age <= OLD_SECONDS
    return Finding(check, well=well, message=message, advice=advice)


def _gate(now: ServiceStats) -> Iterator[Finding]:
    """Name everything that stops provider calls, even if no job waits for one."""
    shown = gate_shown(now)
    found = [
        (
            f"{_subject(hold)} on hold: {hold['reason']}{_more(hold)}.",
            _GATE.get(hold["reason"], _ADVICE),
        )
        for hold in shown["holds"]
    ]
    found += [fault for key in shown["keys"] for fault in _key_faults(key)]
    found += [
        (f"The provider no longer offers {model}.", "Clients must use another model.")
        for model in shown["removed_models"]
    ]
    found += [
        (
            f"The model {model} is paused.",
            "An operator paused it; the audit at `/ops` shows who and when.",
        )
        for model in shown["paused_models"]
    ]
    for message, advice in found:
        yield Finding("gate", well=False, message=message, advice=advice)
    if not found:
        yield Finding("gate", well=True, message="No hold of provider calls.")


def _key_faults(key: ProviderKey) -> Iterator[tuple[str, str]]:
    """Yield why a provider key is not used, and what to do."""
    name = key["masked"] or key["id"]
    if key["dead_since"]:
        yield f"The provider rejects key {name}.", _GATE["provider_auth"]
    if key["state"] == "unreadable":
        yield f"A worker cannot open key {name}.", _SEALED
    if key["paused_at"]:
        resume = f"`darkroom provider-keys resume {key['id']}` resumes it."
        yield f"The provider key {name} is paused.", resume


def _subject(hold: Mapping[str, Any]) -> str:
    if hold["scope"] == "all":
        return "All new calls are"
    return f"{hold['scope'].capitalize()} {hold['subject']} is"


def _more(hold: Mapping[str, Any]) -> str:
    """Return the details of a hold: credits, image host, failures in a row."""
    details = []
    if hold["credits_needed"] is not None:
        details.append(f"needs {hold['credits_needed']:g} credits, has {hold['credits_left']:g}")
    if hold["image_host"]:
        details.append(f"images at {hold['image_host']}")
    if hold["failures_in_a_row"]:
        details.append(f"{hold['failures_in_a_row']} calls failed in a row")
    return f" ({'; '.join(details)})" if details else ""


def _endpoints(now: ServiceStats) -> Finding:
    failing, disabled = (now.webhook_endpoints.get(kind, 0) for kind in ("failing", "disabled"))
    return Finding(
        "webhooks",
        well=not (failing or disabled),
        message=f"Failing endpoints: {failing}, disabled: {disabled}; "
        f"deliveries that wait for them: {now.webhook_parked}.",
        advice="See their deliveries in the console at `/ops`; enable repaired endpoints there.",
    )


def _archiving(now: ServiceStats) -> Iterator[Finding]:
    if now.history_lag > BEHIND_SECONDS:
        yield Finding(
            "history",
            well=False,
            message=(
                f"The database has failed, or final jobs have waited for it, for "
                f"{now.history_lag:.0f} s."
            ),
            advice="See the runbook DarkroomHistoryBehind in deploy/runbooks.",
        )
    if now.history_refused:
        yield Finding(
            "history",
            well=False,
            message=f"{now.history_refused} final jobs could not be stored in the history.",
            advice="See the runbook DarkroomHistoryRefusesJobs in deploy/runbooks.",
        )


def _budgets(store: Store, prices: Mapping[str, float | None]) -> Iterator[Finding]:
    limited = [one for one in _tenants(store) if one.budgets]
    if limited and not prices:
        message = f"{PRICES_UNKNOWN} The budgets of {len(limited)} tenants were not checked."
        yield Finding("budgets", well=True, message=message)
        return
    for tenant in limited:
        for limit, warning in budget_warnings(tenant, prices).items():
            option = limit.replace("_", "-")
            yield Finding(
                "budgets",
                well=False,
                message=f"Tenant {tenant.name}: {warning}",
                advice="Set DARKROOM_CREDITS_PER_IMAGE for the API, or remove the budget: "
                f"`darkroom tenants set {tenant.name} --{option} none`",
            )


def _tenants(store: Store) -> Iterator[Tenant]:
    after: str | None = None
    while page := store.run(list_tenants(after=after, limit=_PAGE)):
        yield from page
        after = page[-1].name
