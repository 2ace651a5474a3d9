"""Parse the raw body of a request into a job, or into all of its faults."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import from_json

from api.jobs.schemas import FallbackModels, JobBody
from api.jobs.validation_errors import pointer_of
from api.json_body import BOM, checked
from api.problems import FieldError, invalid
from api.webhooks import url_validation
from shared import ids
from shared.jobs import JobSpec, OnUnknown
from shared.model_catalog import CHOSEN_SEED_MAX, DEFAULT_MODEL, Catalog, InputFault, Model
from shared.settings import Settings
from shared.store.job_submission import Fallback, NewJob
from shared.store.tenants import Principal

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class JobRequestContext:
    """What decides, besides the body, whether a job may be created."""

    principal: Principal
    settings: Settings
    idempotency_key: str | None = None
    #: the trace of the request
    trace: str | None = None

    @property
    def models(self) -> Catalog:
        """The models that can be generated, by id."""
        return self.settings.models


def parse_job(raw: bytes, context: JobRequestContext) -> NewJob:
    """Validate a body and fill in its defaults; raise a Problem that names every fault."""
    raw = raw.removeprefix(BOM)
    faults = key_faults(context.idempotency_key)
    found = validate_job(raw, context)
    if isinstance(found, list):
        raise invalid([*faults, *found])
    if faults:
        raise invalid(faults)
    body, complete = found
    return build_job(body, complete, context, fingerprint(raw) if context.idempotency_key else "")


def validate_job(
    raw: bytes, context: JobRequestContext
) -> tuple[JobBody, dict[str, Any]] | list[FieldError]:
    """Validate a body; return it and its input, or all faults."""
    body = checked(JobBody, raw, context=context.settings)
    if isinstance(body, list):
        return [*body, *_check_unread(raw, context)]
    model = context.models[body.model]
    faults = [
        *_check_reuse(model, body.input, reuse=body.reuse),
        *fallback_faults(body.fallback_models, model, body.input, context),
    ]
    found = check_input(model, body.input, context.principal)
    if isinstance(found, list):
        return [*found, *faults]
    return faults or (body, found)


def fallback_faults(
    wanted: FallbackModels, model: Model, parameters: dict[str, Any], context: JobRequestContext
) -> list[FieldError]:
    """Check the fallback models of a job: others than its model, allowed, and for the same input.

    What is wrong for the job's own model too is not named again.
    """
    names = _fallback_names(wanted, model)
    if not names:
        missing = FieldError("/fallback_models", f"must be a list: {model.id} has no default")
        return [missing] if wanted == "default" else []
    own = input_faults(model, parameters)
    faults = []
    for number, name in enumerate(names):
        place = pointer_of("fallback_models", *(() if wanted == "default" else (number,)))
        if name == model.id:
            faults.append(FieldError(place, "must be another model than `model`"))
            continue
        faults += model_faults(name, context.principal, place)
        faults += [
            FieldError(fault.pointer, f"{fault.message} (fallback model {name})")
            for fault in input_faults(context.models[name], parameters)
            if fault not in own
        ]
    return faults


def _fallback_names(wanted: FallbackModels, model: Model) -> tuple[str, ...]:
    return model.fallbacks if wanted == "default" else wanted


def input_faults(model: Model, parameters: Mapping[str, Any]) -> list[FieldError]:
    """Return what is wrong with an input by the schema of the model."""
    found = model.parameters.complete(parameters)
    return _field_errors(found) if isinstance(found, list) else []


def _field_errors(faults: Iterable[InputFault]) -> list[FieldError]:
    return [FieldError(pointer_of("input", *path), words) for path, words in faults]


def check_input(
    model: Model, parameters: dict[str, Any], principal: Principal
) -> dict[str, Any] | list[FieldError]:
    """Validate the input of a model; return it with its defaults, or all faults."""
    faults = [*model_faults(model.id, principal), *safety_faults(parameters, principal)]
    complete = model.parameters.complete(parameters)
    if isinstance(complete, list):
        return [*_field_errors(complete), *faults]
    return faults or complete


def model_faults(name: str, principal: Principal, place: str = "/model") -> list[FieldError]:
    """Check that the tenant and the key may use the model."""
    if principal.may_use(name):
        return []
    allowed = principal.models
    others = f"allowed models: {', '.join(sorted(allowed))}" if allowed else "no model is allowed"
    return [FieldError(place, f"is not allowed for your tenant or API key; {others}")]


def safety_faults(parameters: Mapping[str, Any], principal: Principal) -> list[FieldError]:
    """Check that the tenant may disable the safety checker, if the input does."""
    if parameters.get("disable_safety_checker") is not True or principal.may_disable_safety:
        return []
    message = (
        "must be false: your tenant may not switch the safety checker off, unless an operator "
        "allows it (`may_disable_safety` of the tenant)"
    )
    return [FieldError("/input/disable_safety_checker", message)]


def _check_reuse(model: Model, parameters: dict[str, Any], *, reuse: object) -> list[FieldError]:
    """Check that `reuse` has a seed: with a random seed it would find nothing."""
    if reuse is not True or model.seed_of(parameters) is not None:
        return []
    reason = "because only a seed identifies a stored image"
    if model.seed is None:
        return [FieldError("/reuse", f"must be false: {model.id} has no seed, {reason}")]
    return [FieldError(pointer_of("input", model.seed), f"is required with `reuse`, {reason}")]


def _check_unread(raw: bytes, context: JobRequestContext) -> list[FieldError]:
    """Validate the input of an invalid body, as far as it can be read."""
    try:
        body = from_json(raw)
    except ValueError:
        return []
    name = body.get("model", DEFAULT_MODEL) if isinstance(body, dict) else None
    if not isinstance(name, str):
        return []
    model = context.models.get(name)
    if model is None or not isinstance(body.get("input"), dict):
        return []
    found = check_input(model, body["input"], context.principal)
    return [
        *(found if isinstance(found, list) else ()),
        *_check_reuse(model, body["input"], reuse=body.get("reuse")),
        *fallback_faults(_readable(body, context), model, body["input"], context),
    ]


def _readable(body: Mapping[str, Any], context: JobRequestContext) -> FallbackModels:
    """Return the fallback models of an invalid body that are offered, once each."""
    wanted = body.get("fallback_models")
    if wanted == "default":
        return "default"
    names = wanted if isinstance(wanted, list) else ()
    return tuple(
        dict.fromkeys(one for one in names if isinstance(one, str) and one in context.models)
    )


def key_faults(key: str | None) -> list[FieldError]:
    """Validate an idempotency key."""
    if key is None or _KEY.fullmatch(key):
        return []
    return [FieldError("/header/Idempotency-Key", "must have 1 to 255 visible ASCII characters")]


def inputs_with_seeds(
    model: Model, complete: dict[str, Any], count: int
) -> Iterator[dict[str, Any]]:
    """Return inputs with different seeds: from the given one on, or random ones.

    Without a seed, all are the same. Raise ValueError if there are too few seeds.
    """
    if model.seed is None:
        return (complete for _ in range(count))
    seeds = _seeds(model, model.seed_of(complete), count)
    return (model.with_seed(complete, seed) for seed in seeds)


def _seeds(model: Model, first: int | None, count: int) -> Sequence[int]:
    choices = _choices(model)
    if first is None and count <= len(choices):
        return secrets.SystemRandom().sample(choices, count)
    seeds = range(first or choices.start, (first or choices.start) + count)
    if seeds[-1] > model.seeds[-1]:
        raise ValueError(
            f"leads to seeds above {model.seeds[-1]}: use a lower number, or a lower `{model.seed}`"
        )
    return seeds


def _choices(model: Model) -> range:
    """Return the seeds to choose from."""
    seeds = model.seeds
    return range(seeds.start, min(seeds.stop, seeds.start + CHOSEN_SEED_MAX + 1))


def build_job(
    body: JobBody, complete: dict[str, Any], context: JobRequestContext, mark: str = ""
) -> NewJob:
    """Build a job from a validated body and input; `mark` is its fingerprint.

    A missing seed is chosen here, if the model has one.
    """
    settings, model = context.settings, context.models[body.model]
    complete = _seeded(model, complete)
    fallbacks = tuple(_fallbacks(body, model.seed_of(complete), context))
    return NewJob(
        id=ids.job_id(),
        tenant=context.principal.tenant,
        spec=JobSpec(
            model=body.model,
            input=complete,
            webhook=stored_webhook(body.webhook),
            on_unknown=body.on_unknown or OnUnknown(settings.on_unknown),
            metadata=body.metadata,
            tags=body.tags,
            reuse=body.reuse,
            retention=body.retention.stored,
            fallback_models=tuple(one.model for one in fallbacks),
        ),
        priority=body.priority,
        deadline_seconds=body.deadline_seconds or settings.deadline_seconds,
        max_attempts=settings.max_attempts,
        idempotency_key=context.idempotency_key,
        fingerprint=mark,
        trace=context.trace,
        api_key=context.principal.key_id,
        webhook_host=url_validation.delivery_host(body.webhook.url) if body.webhook else "",
        credits=settings.prices.get(body.model, 0.0),
        max_position=body.fail_fast.max_position if body.fail_fast else None,
        max_wait_seconds=body.fail_fast.max_wait_seconds if body.fail_fast else None,
        dry_run=body.dry_run,
        fallbacks=fallbacks,
    )


def _seeded(model: Model, complete: dict[str, Any]) -> dict[str, Any]:
    if model.seed is None or model.seed_of(complete) is not None:
        return complete
    return model.with_seed(complete, secrets.choice(_choices(model)))


def _fallbacks(body: JobBody, seed: int | None, context: JobRequestContext) -> Iterator[Fallback]:
    """Return the fallbacks of a validated body, with the seed of the job where they accept it."""
    for name in _fallback_names(body.fallback_models, context.models[body.model]):
        model = context.models[name]
        complete = model.parameters.complete(body.input)
        if isinstance(complete, list):
            raise TypeError(f"the input was not validated for {name}")
        if seed is not None and seed in model.seeds:
            complete = model.with_seed(complete, seed)
        yield Fallback(name, _seeded(model, complete), context.settings.prices.get(name, 0.0))


def stored_webhook(webhook: BaseModel | None) -> dict[str, Any] | None:
    """Return the stored form of a webhook."""
    return url_validation.to_stored(webhook.model_dump(mode="json")) if webhook else None


def fingerprint(raw: bytes) -> str:
    """Return a hash that is equal for equal JSON, whatever its spacing and order.

    The body must be valid. The hash covers what was sent, without defaults, so that a later version
    with more defaults computes the same.
    """
    # parsed like the validation does: orjson refuses a NaN even if a later member replaces it
    canonical = orjson.dumps(from_json(raw), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()
