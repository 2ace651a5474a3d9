"""Events of the service for its operators, and what they say. No I/O here.

All but `audit.recorded` are about a condition: one event when it begins, another when it ends. Lua
decides when (`shared/lua/lib/episodes.lua`).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

#: The reason for a removed model if the provider refuses its calls; else it is the listed status.
REFUSED: Final = "refused"


class OperatorEvent(StrEnum):
    """The webhook events that only operators' endpoints get."""

    #: calls to the provider are held: all of them, or those of a model, a provider key or a team
    PROVIDER_HELD = "provider.held"
    PROVIDER_RESUMED = "provider.resumed"
    #: the provider rejects one of our keys
    PROVIDER_KEY_FAILED = "provider.key_failed"
    PROVIDER_KEY_RECOVERED = "provider.key_recovered"
    #: images cannot be stored
    STORAGE_UNAVAILABLE = "storage.unavailable"
    STORAGE_RECOVERED = "storage.recovered"
    #: the oldest job that could run has waited for too long
    QUEUE_DELAYED = "queue.delayed"
    QUEUE_RECOVERED = "queue.recovered"
    #: an endpoint was disabled, because it responded 410 or failed for too long
    ENDPOINT_DISABLED = "endpoint.disabled"
    ENDPOINT_ENABLED = "endpoint.enabled"
    #: a model of the catalog is not offered by the provider any more
    MODEL_REMOVED = "model.removed"
    MODEL_RESTORED = "model.restored"
    #: an operator changed something: each entry of the audit log
    AUDIT_RECORDED = "audit.recorded"


#: What an endpoint gets unless it says otherwise: the conditions.
DEFAULT_EVENTS: Final = tuple(
    event for event in OperatorEvent if event is not OperatorEvent.AUDIT_RECORDED
)

#: The event that ends each condition, by the one that begins it.
ENDS: Final[Mapping[OperatorEvent, OperatorEvent]] = {
    OperatorEvent.PROVIDER_HELD: OperatorEvent.PROVIDER_RESUMED,
    OperatorEvent.PROVIDER_KEY_FAILED: OperatorEvent.PROVIDER_KEY_RECOVERED,
    OperatorEvent.STORAGE_UNAVAILABLE: OperatorEvent.STORAGE_RECOVERED,
    OperatorEvent.QUEUE_DELAYED: OperatorEvent.QUEUE_RECOVERED,
    OperatorEvent.ENDPOINT_DISABLED: OperatorEvent.ENDPOINT_ENABLED,
    OperatorEvent.MODEL_REMOVED: OperatorEvent.MODEL_RESTORED,
}


class Explanation(NamedTuple):
    """What an event means, in sentences: what is wrong, what to do, and what its end means."""

    problem: str
    action: str
    end: str


Data = Mapping[str, Any]


def explain(event: str, data: Data) -> tuple[str, str]:
    """Return the `message` and the `action` of an event; an end needs no action (`""`)."""
    begin = next((first for first, last in ENDS.items() if last == event), None)
    if begin is None:
        text = _explanation(OperatorEvent(event), data)
        return text.problem, text.action
    return _explanation(begin, data).end, ""


def _explanation(event: OperatorEvent, data: Data) -> Explanation:
    if event is OperatorEvent.PROVIDER_HELD:
        return _HELD[data["reason"]](data)
    return _OTHERS[event](data)


def _circuit_open(data: Data) -> Explanation:
    what = f"the model {data['model']}" if data["model"] else f"the provider key {data['key']}"
    return Explanation(
        f"Calls of {what} fail at 1min.ai. Its jobs wait; single calls check whether it works.",
        "Read the errors in the log of the workers and check the status of 1min.ai. Calls resume "
        "after a call has succeeded.",
        f"A call of {what} has succeeded: its jobs run again.",
    )


def _rate_limited(data: Data) -> Explanation:
    return Explanation(
        f"1min.ai keeps limiting the rate of the provider key {data['key']}.",
        "Lower DARKROOM_PROVIDER_RATE_PER_MINUTE, or add a key to DARKROOM_ONEMIN_API_KEY.",
        f"1min.ai does not limit the rate of the provider key {data['key']} any more.",
    )


def _out_of_credits(data: Data) -> Explanation:
    team, needed, left = data["team"], data["credits_needed"], data["credits_left"]
    numbers = f": a call needs {needed:g} and {left:g} are left" if needed is not None else ""
    return Explanation(
        f"The 1min.ai team {team} is out of credits{numbers}.",
        "Buy credits at 1min.ai. Calls resume after a call has succeeded.",
        f"The 1min.ai team {team} has credits again.",
    )


def _all_keys_rejected(_: Data) -> Explanation:
    return Explanation(
        "1min.ai rejects every provider key: no image is generated.",
        "Set valid keys in DARKROOM_ONEMIN_API_KEY and restart the workers.",
        "1min.ai accepts a provider key again.",
    )


def _image_host_away(data: Data) -> Explanation:
    host = data["image_host"] or "1min.ai"
    return Explanation(
        f"Generated images cannot be downloaded from {host}: no new provider calls are made.",
        "Check the network of the workers, and DARKROOM_ONEMIN_IMAGE_HOSTS. Paid images wait and "
        "are downloaded again.",
        "An image was downloaded: provider calls are made again.",
    )


def _key_failed(data: Data) -> Explanation:
    return Explanation(
        f"1min.ai rejects the provider key {data['key']}. It is not used.",
        "Replace the key in DARKROOM_ONEMIN_API_KEY and restart the workers.",
        f"1min.ai accepts the provider key {data['key']} again, or it was removed.",
    )


def _storage_unavailable(_: Data) -> Explanation:
    return Explanation(
        "Images cannot be stored: no provider calls are made, and paid images wait.",
        "Check the storage and its credentials: `darkroom doctor` names what fails.",
        "An image was stored: provider calls are made again.",
    )


def _queue_delayed(data: Data) -> Explanation:
    blocked = data["blocked_by"]
    held = f" Calls are held: {blocked}." if blocked else ""
    return Explanation(
        f"The oldest job that could run has waited for {duration(data['oldest_age_seconds'])}.",
        "Check that workers run, and add workers or provider keys if they are busy." + held,
        "The oldest job waits for a normal time again.",
    )


def _endpoint_disabled(data: Data) -> Explanation:
    whose = f"of the tenant {data['tenant']}" if data["tenant"] else "of operators"
    endpoint = f"The webhook endpoint {data['url'] or data['endpoint_id']} {whose}"
    why = "it responded 410" if data["reason"] == "gone" else "it failed for too long"
    return Explanation(
        f"{endpoint} was disabled, because {why}. Its webhooks wait.",
        "Have the program at its URL repaired, then enable the endpoint.",
        f"{endpoint} was enabled or deleted.",
    )


def _audit_recorded(data: Data) -> Explanation:
    target = f" on {data['target']}" if data["target"] else ""
    return Explanation(f"{data['by']} performed {data['action']}{target}.", "", "")


def _model_removed(data: Data) -> Explanation:
    model, status = data["model"], data["reason"]
    found = (
        f"1min.ai refuses calls of the model {model}: it does not offer the model any more."
        if status == REFUSED
        else f"1min.ai lists the model {model} as {status}."
    )
    return Explanation(
        found,
        "Use another model, or remove this one from the catalog (DARKROOM_MODELS_FILE).",
        f"1min.ai offers the model {model} again.",
    )


_Explain = Callable[[Data], Explanation]
_HELD: Final[Mapping[str, _Explain]] = {
    "provider_down": _circuit_open,
    "provider_rate": _rate_limited,
    "provider_credits": _out_of_credits,
    "provider_auth": _all_keys_rejected,
    "image_host": _image_host_away,
}
_OTHERS: Final[Mapping[OperatorEvent, _Explain]] = {
    OperatorEvent.PROVIDER_KEY_FAILED: _key_failed,
    OperatorEvent.STORAGE_UNAVAILABLE: _storage_unavailable,
    OperatorEvent.QUEUE_DELAYED: _queue_delayed,
    OperatorEvent.ENDPOINT_DISABLED: _endpoint_disabled,
    OperatorEvent.MODEL_REMOVED: _model_removed,
    OperatorEvent.AUDIT_RECORDED: _audit_recorded,
}
_UNITS = (("day", 86_400), ("h", 3600), ("min", 60))


def duration(seconds: float) -> str:
    """Write a duration in its two largest units, such as `1 h 5 min`."""
    left, parts = round(seconds), []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}")
    if left or not parts:
        parts.append(f"{left} s")
    return " ".join(parts[:2])


def slack_text(event: str, data: Data, *, console: str) -> str:
    """Return the text of a Slack message; `console` is the URL of the console.

    `data` is as sent in the standard format. Slack requires `&`, `<` and `>` as entities.
    """
    parts = [data["message"]]
    if "began_at" not in data:
        pass
    elif data["ended_at"] is None:
        parts += [f"Since {data['began_at']}.", data["action"]]
    else:
        lasted = duration(data["duration_seconds"])
        parts += [f"It lasted {lasted}, from {data['began_at']} to {data['ended_at']}."]
    text = " ".join((f"*{event}*", *parts, f"Console: {console}"))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
