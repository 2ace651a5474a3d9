"""From the body that an OpenAI client sends to the jobs that it asks for."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from api.dialects.openai.body import ImagesBody
from api.dialects.openai.models import unknown_model
from api.dialects.size import DOUBLED
from api.jobs.ask import Asking, check_input, fingerprint, job_of, key_faults, seeds_from
from api.jobs.body import JobBody
from api.jobs.faults import faults_of
from api.json_body import BOM, unreadable
from api.problems import Fault, invalid
from shared.models import DEFAULT_MODEL, MODELS
from shared.store.asking import Together

#: What this dialect makes where nothing is said: what OpenAI makes.
_FORMAT = "png"
_QUALITY = 100
#: Our words for their formats, where they differ.
_FORMATS = {"jpeg": "jpg"}
#: A retry of the same body joins an earlier try for as long as a client with its usual limits (two
#: retries, 600 s each) can come again.
KEEP_TRIES_SECONDS = 1860


class Asked(NamedTuple):
    """What was asked for, and the jobs that it takes."""

    body: ImagesBody
    together: Together


def asked_for(raw: bytes, asking: Asking, *, is_retry: bool) -> Asked:
    """Check a body and make its jobs; raises a Problem that names every fault."""
    raw = raw.removeprefix(BOM)
    given = _members(raw)
    own = {name: given.pop(name) for name in list(given) if name in ImagesBody.model_fields}
    faults = key_faults(asking.idempotency_key)
    try:
        body = ImagesBody.model_validate(own)
    except ValidationError as error:
        faults += faults_of(error, ImagesBody)
        # what is the model's is checked all the same, so that every fault is named at once
        body = ImagesBody()
    model = asking.settings.openai_aliases.get(body.model or "", body.model or DEFAULT_MODEL)
    if model not in MODELS:
        faults.append(Fault("/model", unknown_model(model, asking.settings)))
        model = DEFAULT_MODEL
    parameters, more = _parameters(body, given)
    found = check_input(model, parameters, asking.holder)
    if isinstance(found, list):
        more += [Fault(one.pointer.removeprefix("/input"), one.message) for one in found]
    if faults or more or isinstance(found, list):
        raise invalid([*faults, *more])
    inputs = _inputs(found, body.count)
    return Asked(body, _together(raw, body, (model, inputs), asking, is_retry=is_retry))


def _members(raw: bytes) -> dict[str, Any]:
    try:
        given = from_json(raw)
    except ValueError as error:
        raise invalid(unreadable(raw, str(error))) from None
    if not isinstance(given, dict):
        raise invalid([Fault("", "must be an object")])
    return given


def _parameters(body: ImagesBody, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Give the model's parameters, sent by their names here or by OpenAI's; and what is doubled."""
    made = body.output_format or _FORMAT
    theirs: dict[str, Any] = {
        "output_format": _FORMATS.get(made, made),
        "output_quality": _QUALITY if body.output_compression is None else body.output_compression,
    }
    shape = body.shape
    if shape:
        theirs |= shape._asdict()
    doubled = shape.in_both(given) if shape else ()
    faults = [Fault(f"/{name}", DOUBLED) for name in doubled]
    return {**theirs, **given}, faults


def _inputs(complete: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return an input for each image, all with different seeds."""
    try:
        seeds = seeds_from(complete["seed"], count)
    except ValueError as error:
        raise invalid([Fault("/n", str(error))]) from None
    return [{**complete, "seed": seed} for seed in seeds]


def _together(
    raw: bytes,
    body: ImagesBody,
    found: tuple[str, Sequence[dict[str, Any]]],
    asking: Asking,
    *,
    is_retry: bool,
) -> Together:
    model, inputs = found
    user = body.safety_identifier or body.user
    ours = JobBody(model=model, input=inputs[0], metadata={"user": user} if user else {})
    mark = fingerprint(raw)
    return Together(
        jobs=tuple(
            job_of(ours, one, asking, mark if asking.idempotency_key else "") for one in inputs
        ),
        body=hashlib.sha256(f"openai {mark}".encode()).hexdigest(),
        is_retry=is_retry,
        keep_seconds=KEEP_TRIES_SECONDS,
    )
