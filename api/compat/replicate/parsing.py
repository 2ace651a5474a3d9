"""Parse the body of a Replicate client into a job."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from pydantic import ValidationError

from api.compat.replicate.schemas import PredictionBody
from api.compat.size import DOUBLED, in_both, size_parameters
from api.jobs.parsing import JobRequestContext, build_job, check_input, fingerprint, key_faults
from api.jobs.schemas import DEADLINE_SECONDS_MAX, JobBody
from api.jobs.validation_errors import field_errors
from api.json_body import BOM, checked
from api.problems import FieldError, invalid
from shared.model_catalog import DEFAULT_MODEL, Catalog, Model
from shared.replicate_schema import FORM
from shared.store.job_submission import NewJob

#: Parameters of models at Replicate, with the values that ask for nothing of a model without them.
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
    raw: bytes, context: JobRequestContext, *, model: Model | None, cancel_after: str | None
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
    named = model or _model(context.models, body.version)
    chosen = named or context.models[DEFAULT_MODEL]
    if named is None or (model and body.version is not None):
        faults.append(
            FieldError(
                "/version",
                _VERSION if model is None else "must be absent: the path names the model",
            )
        )
    members, more = _parameters(chosen, body.input)
    found = check_input(chosen, members, context.principal)
    if isinstance(found, list):
        more += [FieldError(_theirs(chosen, one.pointer, body.input), one.message) for one in found]
        found = {}
    seconds, late = _deadline(cancel_after)
    ours, hooked = _envelope(body, chosen.id, seconds, context)
    if ours is None or faults or more or late or hooked:
        raise invalid([*faults, *more, *late, *hooked])
    job = build_job(ours, found, context, _mark(raw, model) if context.idempotency_key else "")
    if job.spec.webhook is None:
        return job
    return replace(job, spec=replace(job.spec, webhook={**job.spec.webhook, "form": FORM}))


_VERSION = "must name a model (owner/name), one of its versions, or both (owner/name:version)"


def _mark(raw: bytes, model: Model | None) -> str:
    """Return the fingerprint of a request: of its body, and of the model if the path names it."""
    return fingerprint(raw if model is None else b"[%s,%s]" % (orjson.dumps(model.id), raw))


def find_model(models: Catalog, name: str) -> Model | None:
    """Return the model of this name: its owner/name at Replicate, or its id."""
    return next((one for one in models.values() if name in one.replicate_names), None)


def _model(models: Catalog, version: str | None) -> Model | None:
    """Return the model that a version names, if it is offered."""
    name, _, wanted = (version or "").rpartition(":")
    if not name and (found := find_model(models, wanted)):
        return found
    fitting = (one for one in models.values() if not name or name in one.replicate_names)
    return next((one for one in fitting if wanted == one.version), None)


def _parameters(
    model: Model, members: Mapping[str, Any]
) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the model's parameters by Darkroom's names, and those not supported.

    Null counts as absent.
    """
    named: dict[str, Any] = {}
    faults = []
    for name, value in members.items():
        ours = model.replicate.names.get(name, name)
        is_own = ours in model.parameters.properties
        if value is None or (not is_own and _is_default(name, value)):
            continue
        if name in _REASONS and not is_own:
            faults.append(FieldError(f"/input/{name}", _REASONS[name]))
        elif ours in named:
            faults.append(FieldError(f"/input/{name}", "is given twice, under two names"))
        else:
            named[ours] = value
    sized, wrong = _sized(model, named)
    return {**model.replicate.defaults, **named, **sized}, [*faults, *wrong]


def _is_default(name: str, value: object) -> bool:
    if name not in _NOTHING or value != _NOTHING[name]:
        return False
    return isinstance(value, bool) is isinstance(_NOTHING[name], bool)  # in Python, true equals 1


def _sized(model: Model, named: dict[str, Any]) -> tuple[Mapping[str, str], list[FieldError]]:
    """Remove `size` from the parameters; return the model's own parameters for it."""
    rule = model.replicate.size
    if rule is None or "size" in model.parameters.properties or "size" not in named:
        return {}, []
    try:
        sized = size_parameters(model, rule, named.pop("size"))
    except ValueError as error:
        return {}, [FieldError("/input/size", str(error))]
    return sized, [FieldError(f"/input/{name}", DOUBLED) for name in in_both(sized, named)]


def _theirs(model: Model, pointer: str, members: Iterable[str]) -> str:
    """Return Replicate's name of a parameter."""
    names = {
        f"/input/{ours}": f"/input/{theirs}"
        for theirs, ours in model.replicate.names.items()
        if theirs in members
    }
    return names.get(pointer, pointer)


def _envelope(
    body: PredictionBody, model: str, seconds: int | None, context: JobRequestContext
) -> tuple[JobBody | None, list[FieldError]]:
    """Build the body of a Darkroom job."""
    webhook = {"url": body.webhook, "events": body.events} if body.webhook is not None else None
    written = {"model": model, "input": body.input, "webhook": webhook, "deadline_seconds": seconds}
    try:
        return JobBody.model_validate(written, context=context.settings), []
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
