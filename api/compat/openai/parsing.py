"""Parse the body of an OpenAI client into jobs."""

import hashlib
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from api.compat.openai.models import unknown_model
from api.compat.openai.schemas import ImagesBody
from api.compat.size import AUTO, DOUBLED, in_both, size_parameters
from api.jobs.parsing import (
    JobRequestContext,
    build_job,
    check_input,
    fingerprint,
    inputs_with_seeds,
    key_faults,
)
from api.jobs.schemas import JobBody
from api.jobs.validation_errors import field_errors
from api.json_body import BOM, unreadable
from api.problems import FieldError, invalid
from shared.model_catalog import DEFAULT_MODEL, Converted, Model
from shared.store.job_submission import JobGroup

#: The members that the model's definition converts, besides `size`.
_CONVERTED = ("quality", "output_format", "output_compression", "background")
_REFUSED = "is not supported by this model: omit it"
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
        # check everything else too, so that every fault is named at once
        wrong = {fault["loc"][0] for fault in error.errors()}
        body = ImagesBody.model_validate({name: own[name] for name in own if name not in wrong})
    name = context.settings.openai_aliases.get(body.model or "", body.model or DEFAULT_MODEL)
    model = context.models.get(name)
    if model is None:
        faults.append(
            FieldError("/model", unknown_model(name, context.settings, context.principal))
        )
        raise invalid(faults)
    theirs, more = _theirs(model, body, members)
    found = check_input(model, {**theirs, **members}, context.principal)
    if isinstance(found, list):
        more += _renamed(model, found, members, {fault.pointer for fault in more})
    if faults or more or isinstance(found, list):
        raise invalid([*faults, *more])
    inputs = _inputs(model, found, body.count)
    return ImagesRequest(body, _together(raw, body, (name, inputs), context, is_retry=is_retry))


def _members(raw: bytes) -> dict[str, Any]:
    try:
        members = from_json(raw)
    except ValueError as error:
        raise invalid(unreadable(raw, str(error))) from None
    if not isinstance(members, dict):
        raise invalid([FieldError("", "must be an object")])
    return members


def _theirs(
    model: Model, body: ImagesBody, members: Mapping[str, Any]
) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the model's parameters for OpenAI's members, and what it cannot do.

    `members` are the parameters that were sent by their own names.
    """
    found: dict[str, Any] = {}
    faults = []
    for member in _CONVERTED:
        try:
            found |= _converted(model, member, getattr(body, member))
        except ValueError as error:
            faults.append(FieldError(f"/{member}", str(error)))
    try:
        sized = _sized(model, body.size)
    except ValueError as error:
        return found, [*faults, FieldError("/size", str(error))]
    faults += [FieldError(f"/{name}", DOUBLED) for name in in_both(sized, members)]
    return {**found, **sized}, faults


def _converted(model: Model, member: str, value: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    """Return the parameter for a member, None if absent; raise ValueError."""
    rule = getattr(model.openai, member)
    if not isinstance(rule, Converted):
        if rule == "refuse" and value is not None:
            raise ValueError(_REFUSED)
        if value == "transparent":
            raise ValueError("must be one of: auto, opaque")
        return {}
    value = rule.default if value is None else value
    if value is None:
        return {}
    if rule.values is not None and value not in rule.values:
        raise ValueError(f"must be one of: {', '.join(rule.values)}")
    return {rule.parameter: rule.values[value] if rule.values else value}


def _sized(model: Model, size: str | None) -> Mapping[str, str]:
    """Return the parameters for a size, None if absent; raise ValueError."""
    rule = model.openai.size
    if size is None or rule == "ignore":
        return {}
    if rule == "refuse":
        if size == AUTO:
            return {}
        raise ValueError(f"must be {AUTO}: this model chooses the size")
    return size_parameters(model, rule, size)


def _renamed(
    model: Model, faults: Sequence[FieldError], members: Mapping[str, Any], known: Container[str]
) -> list[FieldError]:
    """Return the faults of parameters by their place in the body, without the `known` places.

    A parameter that was not sent by its own name has OpenAI's.
    """
    rules = [(member, rule) for member, rule in model.openai if isinstance(rule, Converted)]
    names = {
        f"/{rule.parameter}": f"/{member}"
        for member, rule in rules
        if rule.parameter not in members
    }
    places = [(fault.pointer.removeprefix("/input"), fault.message) for fault in faults]
    found = [FieldError(names.get(place, place), message) for place, message in places]
    return [fault for fault in found if fault.pointer not in known]


def _inputs(model: Model, complete: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return one input per image, all with different seeds."""
    try:
        return list(inputs_with_seeds(model, complete, count))
    except ValueError as error:
        raise invalid([FieldError("/n", str(error))]) from None


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
