"""Parse the body of an OpenAI client into jobs."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from api.compat.openai.models import unknown_model
from api.compat.openai.schemas import ImagesBody
from api.compat.size import DOUBLED
from api.jobs.parsing import (
    JobRequestContext,
    build_job,
    check_input,
    fingerprint,
    key_faults,
    seeds_from,
)
from api.jobs.schemas import JobBody
from api.jobs.validation_errors import field_errors
from api.json_body import BOM, unreadable
from api.problems import FieldError, invalid
from shared.model_catalog import DEFAULT_MODEL, MODELS
from shared.store.job_submission import JobGroup

#: Defaults of this API where they are OpenAI's.
_FORMAT = "png"
_QUALITY = 100
#: Darkroom's names of OpenAI's formats, where they differ.
_FORMATS = {"jpeg": "jpg"}
#: How long a retry of the same body joins the first attempt: as long as a client with default
#: settings (two retries, 600 s each) can retry.
GROUP_SECONDS = 1860


class ImagesRequest(NamedTuple):
    """A validated request and its jobs."""

    body: ImagesBody
    together: JobGroup


def parse_request(raw: bytes, context: JobRequestContext, *, is_retry: bool) -> ImagesRequest:
    """Validate a body and build its jobs; raise a Problem that names every fault."""
    raw = raw.removeprefix(BOM)
    members = _members(raw)
    own = {name: members.pop(name) for name in list(members) if name in ImagesBody.model_fields}
    faults = key_faults(context.idempotency_key)
    try:
        body = ImagesBody.model_validate(own)
    except ValidationError as error:
        faults += field_errors(error, ImagesBody)
        # check the model's parameters too, so that every fault is named at once
        body = ImagesBody()
    model = context.settings.openai_aliases.get(body.model or "", body.model or DEFAULT_MODEL)
    if model not in MODELS:
        faults.append(FieldError("/model", unknown_model(model, context.settings)))
        model = DEFAULT_MODEL
    parameters, more = _parameters(body, members)
    found = check_input(model, parameters, context.principal)
    if isinstance(found, list):
        more += [FieldError(one.pointer.removeprefix("/input"), one.message) for one in found]
    if faults or more or isinstance(found, list):
        raise invalid([*faults, *more])
    inputs = _inputs(found, body.count)
    return ImagesRequest(body, _together(raw, body, (model, inputs), context, is_retry=is_retry))


def _members(raw: bytes) -> dict[str, Any]:
    try:
        members = from_json(raw)
    except ValueError as error:
        raise invalid(unreadable(raw, str(error))) from None
    if not isinstance(members, dict):
        raise invalid([FieldError("", "must be an object")])
    return members


def _parameters(
    body: ImagesBody, members: Mapping[str, Any]
) -> tuple[dict[str, Any], list[FieldError]]:
    """Collect the model's parameters, sent by either name; also return those sent twice."""
    made = body.output_format or _FORMAT
    theirs: dict[str, Any] = {
        "output_format": _FORMATS.get(made, made),
        "output_quality": _QUALITY if body.output_compression is None else body.output_compression,
    }
    shape = body.shape
    if shape:
        theirs |= shape._asdict()
    doubled = shape.in_both(members) if shape else ()
    faults = [FieldError(f"/{name}", DOUBLED) for name in doubled]
    return {**theirs, **members}, faults


def _inputs(complete: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return one input per image, all with different seeds."""
    try:
        seeds = seeds_from(complete["seed"], count)
    except ValueError as error:
        raise invalid([FieldError("/n", str(error))]) from None
    return [{**complete, "seed": seed} for seed in seeds]


def _together(
    raw: bytes,
    body: ImagesBody,
    found: tuple[str, Sequence[dict[str, Any]]],
    context: JobRequestContext,
    *,
    is_retry: bool,
) -> JobGroup:
    model, inputs = found
    user = body.safety_identifier or body.user
    ours = JobBody(model=model, input=inputs[0], metadata={"user": user} if user else {})
    mark = fingerprint(raw)
    return JobGroup(
        jobs=tuple(
            build_job(ours, one, context, mark if context.idempotency_key else "") for one in inputs
        ),
        body=hashlib.sha256(f"openai {mark}".encode()).hexdigest(),
        is_retry=is_retry,
        group_seconds=GROUP_SECONDS,
    )
