"""Parse the body of a Replicate client into a job."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from api.compat.replicate.schemas import PredictionBody
from api.compat.size import DOUBLED, shape_of
from api.jobs.parsing import JobRequestContext, build_job, check_input, fingerprint, key_faults
from api.jobs.schemas import DEADLINE_SECONDS_MAX, JobBody
from api.jobs.validation_errors import field_errors
from api.json_body import BOM, checked
from api.problems import FieldError, invalid
from shared.model_catalog import DEFAULT_MODEL, MODELS
from shared.replicate_schema import FORM, version_id
from shared.store.job_submission import NewJob

#: Defaults of Replicate's FLUX.2 Klein page, where they differ from Darkroom's.
DEFAULTS: Mapping[str, Any] = {"output_format": "jpg", "output_quality": 95, "go_fast": False}
#: Replicate's names of Darkroom's parameters.
NAMES: Mapping[str, str] = {"output_megapixels": "megapixels"}
#: Parameters of other models, with the values that ask for nothing.
_NOTHING: Mapping[str, Any] = {
    "num_outputs": 1,
    "num_images": 1,
    "number_of_images": 1,
    "images": [],
    "input_images": [],
    "negative_prompt": "",
    "prompt_upsampling": False,
}
#: Why other values of these parameters are refused.
_REASONS: Mapping[str, str] = {
    **dict.fromkeys(
        ("image", "images", "input_image", "input_images", "mask"),
        "is not supported; only a prompt is accepted as input",
    ),
    **dict.fromkeys(
        ("num_outputs", "num_images", "number_of_images"),
        "must be 1: a prediction makes one image, so create one for each",
    ),
}
CANCEL_AFTER_SECONDS_MIN = 5
_DURATION = re.compile(
    r"(?=[0-9])(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s?)?", re.IGNORECASE
)


def new_prediction(
    raw: bytes, context: JobRequestContext, *, model: str | None, cancel_after: str | None
) -> NewJob:
    """Validate a body and build its job; raise a Problem that names every fault.

    `model` comes from the path; if it is None, the body's `version` names it. `cancel_after` is the
    header `Cancel-After`.
    """
    raw = raw.removeprefix(BOM)
    faults = key_faults(context.idempotency_key)
    body = checked(PredictionBody, raw)
    if isinstance(body, list):
        raise invalid([*faults, *body])
    chosen = model or _model(body.version)
    if chosen is None or (model and body.version is not None):
        faults.append(
            FieldError("/version", _VERSION if model is None else "is in the address already")
        )
    members, more = _parameters(body.input)
    found = check_input(chosen or DEFAULT_MODEL, members, context.principal)
    if isinstance(found, list):
        more += [FieldError(_theirs(one.pointer, body.input), one.message) for one in found]
        found = {}
    seconds, late = _deadline(cancel_after)
    ours, hooked = _envelope(body, chosen or DEFAULT_MODEL, seconds, context)
    if ours is None or faults or more or late or hooked:
        raise invalid([*faults, *more, *late, *hooked])
    job = build_job(ours, found, context, fingerprint(raw) if context.idempotency_key else "")
    if job.spec.webhook is None:
        return job
    return replace(job, spec=replace(job.spec, webhook={**job.spec.webhook, "form": FORM}))


_VERSION = "must name a model (owner/name), one of its versions, or both (owner/name:version)"


def _model(version: str | None) -> str | None:
    """Return the model that a version names, if it is offered."""
    name, _, wanted = (version or "").rpartition(":")
    for model in MODELS.values():
        current = version_id(model)
        if wanted in {current, model.id} and name in {"", model.id}:
            return model.id if wanted == current or not name else None
    return None


def _parameters(members: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the model's parameters by Darkroom's names, and those not supported.

    Null counts as absent.
    """
    named: dict[str, Any] = {}
    faults = []
    for name, value in members.items():
        ours = NAMES.get(name, name)
        if value is None or _is_default(name, value):
            continue
        if name in _REASONS:
            faults.append(FieldError(f"/input/{name}", _REASONS[name]))
        elif ours in named:
            faults.append(FieldError(f"/input/{name}", "is given twice, under two names"))
        else:
            named[ours] = value
    shape, wrong = _shape(named)
    return {**DEFAULTS, **named, **shape}, [*faults, *wrong]


def _is_default(name: str, value: object) -> bool:
    if name not in _NOTHING or value != _NOTHING[name]:
        return False
    return isinstance(value, bool) is isinstance(_NOTHING[name], bool)  # in Python, true equals 1


def _shape(named: dict[str, Any]) -> tuple[dict[str, str], list[FieldError]]:
    """Remove `size` from the parameters; return Darkroom's parameters for it."""
    size = named.pop("size", "auto")
    try:
        shape = shape_of(size)
    except ValueError as error:
        return {}, [FieldError("/input/size", str(error))]
    if shape is None:
        return {}, []
    return shape._asdict(), [FieldError(f"/input/{name}", DOUBLED) for name in shape.in_both(named)]


def _theirs(pointer: str, members: Iterable[str]) -> str:
    """Return Replicate's name of a parameter."""
    names = {
        f"/input/{ours}": f"/input/{theirs}" for theirs, ours in NAMES.items() if theirs in members
    }
    return names.get(pointer, pointer)


def _envelope(
    body: PredictionBody, model: str, seconds: int | None, context: JobRequestContext
) -> tuple[JobBody | None, list[FieldError]]:
    """Build the body of a Darkroom job."""
    webhook = {"url": body.webhook, "events": body.events} if body.webhook is not None else None
    written = {"model": model, "input": body.input, "webhook": webhook, "deadline_seconds": seconds}
    try:
        return JobBody.model_validate(written, context=context.guard), []
    except ValidationError as error:
        found = field_errors(error, JobBody)
        return None, [FieldError(one.pointer.removesuffix("/url"), one.message) for one in found]


def _deadline(written: str | None) -> tuple[int | None, list[FieldError]]:
    """Parse `Cancel-After`, such as 30, 30s, 5m or 1h30m45s."""
    if written is None:
        return None, []
    found = _DURATION.fullmatch(written.strip())
    if found:
        hours, minutes, rest = (int(part or 0) for part in found.groups())
        seconds = hours * 3600 + minutes * 60 + rest
        if CANCEL_AFTER_SECONDS_MIN <= seconds <= DEADLINE_SECONDS_MAX:
            return seconds, []
    message = f"must be a time such as 90, 90s or 1h30m, of {CANCEL_AFTER_SECONDS_MIN} s to 30 days"
    return None, [FieldError("/header/Cancel-After", message)]
