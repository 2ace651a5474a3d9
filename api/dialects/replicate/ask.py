"""From the body that a Replicate client sends to the job that it asks for."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from api.dialects.replicate.body import PredictionBody
from api.jobs.ask import Asking, check_input, fingerprint, job_of, key_faults
from api.jobs.body import DEADLINE_SECONDS_MAX, JobBody
from api.jobs.faults import faults_of
from api.problems import Fault, invalid
from shared.models import DEFAULT_MODEL, MODELS
from shared.prediction import FORM, version_id
from shared.store.asking import NewJob

#: What Replicate's page of FLUX.2 Klein gives as defaults, where they are other than ours.
DEFAULTS: Mapping[str, Any] = {"output_format": "jpg", "output_quality": 95, "go_fast": False}
#: Their names for our parameters.
NAMES: Mapping[str, str] = {"output_megapixels": "megapixels"}
CANCEL_AFTER_SECONDS_MIN = 5
_DURATION = re.compile(
    r"(?=[0-9])(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s?)?", re.IGNORECASE
)


def new_prediction(
    raw: bytes, asking: Asking, *, model: str | None, cancel_after: str | None
) -> NewJob:
    """Check a body and make its job; raises a Problem that names every fault.

    `model` is that of the address, None where the body's `version` has to name it; `cancel_after`
    is the header of that name.
    """
    faults = key_faults(asking.idempotency_key)
    try:
        body = PredictionBody.model_validate_json(raw)
    except ValidationError as error:
        raise invalid([*faults, *faults_of(error, PredictionBody)]) from None
    chosen = model or _model(body.version)
    if chosen is None or (model and body.version is not None):
        faults.append(Fault("/version", _VERSION if model is None else "is in the address already"))
    given, more = _parameters(body.input)
    found = check_input(chosen or DEFAULT_MODEL, given, asking.holder)
    if isinstance(found, list):
        more += [Fault(_theirs(one.pointer, body.input), one.message) for one in found]
        found = {}
    seconds, late = _deadline(cancel_after)
    ours, hooked = _envelope(body, chosen or DEFAULT_MODEL, seconds, asking)
    if ours is None or faults or more or late or hooked:
        raise invalid([*faults, *more, *late, *hooked])
    job = job_of(ours, found, asking, fingerprint(raw) if asking.idempotency_key else "")
    if job.spec.webhook is None:
        return job
    return replace(job, spec=replace(job.spec, webhook={**job.spec.webhook, "form": FORM}))


_VERSION = "must name a model (owner/name), one of its versions, or both (owner/name:version)"


def _model(version: str | None) -> str | None:
    """Give the model that a version names, if it is on offer."""
    name, _, wanted = (version or "").rpartition(":")
    for model in MODELS.values():
        current = version_id(model)
        if wanted in {current, model.id} and name in {"", model.id}:
            return model.id if wanted == current or not name else None
    return None


def _parameters(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Give the model's parameters under our names, and what cannot be had."""
    named: dict[str, Any] = {}
    faults = []
    for name, value in given.items():
        ours = NAMES.get(name, name)
        if name == "images" and not value:
            continue  # none are given
        if name == "images":
            faults.append(Fault("/input/images", "is not offered: a prompt is all that is taken"))
        elif ours in named:
            faults.append(Fault(f"/input/{name}", "is given twice, under two names"))
        else:
            named[ours] = value
    return {**DEFAULTS, **named}, faults


def _theirs(pointer: str, given: Iterable[str]) -> str:
    """Name a parameter as the client did."""
    names = {
        f"/input/{ours}": f"/input/{theirs}" for theirs, ours in NAMES.items() if theirs in given
    }
    return names.get(pointer, pointer)


def _envelope(
    body: PredictionBody, model: str, seconds: int | None, asking: Asking
) -> tuple[JobBody | None, list[Fault]]:
    """Write the body as Darkroom's own."""
    hook = {"url": body.webhook, "events": body.events} if body.webhook is not None else None
    written = {"model": model, "input": body.input, "webhook": hook, "deadline_seconds": seconds}
    try:
        return JobBody.model_validate(written, context=asking.guard), []
    except ValidationError as error:
        found = faults_of(error, JobBody)
        return None, [Fault(one.pointer.removesuffix("/url"), one.message) for one in found]


def _deadline(written: str | None) -> tuple[int | None, list[Fault]]:
    """Read `Cancel-After`, such as 30, 30s, 5m or 1h30m45s."""
    if written is None:
        return None, []
    found = _DURATION.fullmatch(written.strip())
    if found:
        hours, minutes, rest = (int(part or 0) for part in found.groups())
        seconds = hours * 3600 + minutes * 60 + rest
        if CANCEL_AFTER_SECONDS_MIN <= seconds <= DEADLINE_SECONDS_MAX:
            return seconds, []
    message = f"must be a time such as 90, 90s or 1h30m, of {CANCEL_AFTER_SECONDS_MIN} s to 30 days"
    return None, [Fault("/header/Cancel-After", message)]
