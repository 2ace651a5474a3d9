"""From the raw body of a request to a job that can be accepted, or to every fault it has."""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from api.jobs import hook
from api.jobs.body import JobBody
from api.jobs.faults import faults_of
from api.json_body import BOM, checked
from api.problems import Fault, invalid
from shared import ids
from shared.jobs import OnUnknown, Spec
from shared.models import CHOSEN_SEED_MAX, DEFAULT_MODEL, MODELS, SEED_MAX
from shared.net.addresses import AddressGuard
from shared.settings import Settings
from shared.store.asking import NewJob
from shared.store.tenants import Holder

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Asking:
    """What decides, beside the body, whether a job may be asked for."""

    holder: Holder
    settings: Settings
    idempotency_key: str | None = None
    #: the trace that the request is part of
    trace: str | None = None

    @property
    def guard(self) -> AddressGuard:
        """What judges where a webhook may go."""
        settings = self.settings
        return AddressGuard(settings.webhook_allow_hosts, settings.webhook_port_ranges)


def new_job(raw: bytes, asking: Asking) -> NewJob:
    """Check a body and fill in what it leaves open; raises a Problem that names every fault."""
    raw = raw.removeprefix(BOM)
    faults = key_faults(asking.idempotency_key)
    found = check_job(raw, asking)
    if isinstance(found, list):
        raise invalid([*faults, *found])
    if faults:
        raise invalid(faults)
    body, complete = found
    return job_of(body, complete, asking, fingerprint(raw) if asking.idempotency_key else "")


def check_job(raw: bytes, asking: Asking) -> tuple[JobBody, dict[str, Any]] | list[Fault]:
    """Check a body; gives it and its input, or every fault it has."""
    body = checked(JobBody, raw, context=asking.guard)
    if isinstance(body, list):
        return [*body, *_check_unread(raw, asking.holder)]
    unpinned = _check_reuse(body.input, reuse=body.reuse)
    found = check_input(body.model, body.input, asking.holder)
    if isinstance(found, list):
        return [*unpinned, *found]
    if unpinned:
        return unpinned
    return body, found


def check_input(name: str, given: dict[str, Any], holder: Holder) -> dict[str, Any] | list[Fault]:
    """Check the input of a model; gives it with the defaults filled in, or every fault it has."""
    faults = safety_faults(given, holder)
    model = MODELS[name].input
    try:
        complete = model.model_validate(given).model_dump()
    except ValidationError as error:
        return [*faults_of(error, model, "input"), *faults]
    return faults or complete


def safety_faults(given: Mapping[str, Any], holder: Holder) -> list[Fault]:
    """Check that a tenant may switch the safety checker off where an input does."""
    if given.get("disable_safety_checker") is not True or holder.may_disable_safety:
        return []
    message = (
        "must be false: your tenant may not switch the safety checker off, unless an operator "
        "allows it (`may_disable_safety` of the tenant)"
    )
    return [Fault("/input/disable_safety_checker", message)]


def _check_reuse(given: dict[str, Any], *, reuse: object) -> list[Fault]:
    """Check that what is to be looked for is named whole: a seed that is chosen finds nothing."""
    if reuse is not True or given.get("seed") is not None:
        return []
    return [Fault("/input/seed", "is required with `reuse`: no other names a stored picture")]


def _check_unread(raw: bytes, holder: Holder) -> list[Fault]:
    """Check the input of a body whose envelope is wrong already, as far as it can be read."""
    try:
        body = from_json(raw)
    except ValueError:
        return []
    if not isinstance(body, dict) or not isinstance(body.get("input"), dict):
        return []
    name = body.get("model", DEFAULT_MODEL)
    if not isinstance(name, str) or name not in MODELS:
        return []
    unpinned = _check_reuse(body["input"], reuse=body.get("reuse"))
    found = check_input(name, body["input"], holder)
    return [*unpinned, *(found if isinstance(found, list) else ())]


def key_faults(key: str | None) -> list[Fault]:
    """Check an idempotency key."""
    if key is None or _KEY.fullmatch(key):
        return []
    return [Fault("/header/Idempotency-Key", "must have 1 to 255 visible ASCII characters")]


def seeds_from(first: int | None, count: int) -> Sequence[int]:
    """Return so many different seeds: from `first` on, or by chance; raises ValueError."""
    if first is None:
        return secrets.SystemRandom().sample(range(CHOSEN_SEED_MAX + 1), count)
    if first + count - 1 > SEED_MAX:
        raise ValueError(f"leads to seeds above {SEED_MAX}: lower it, or the seed")
    return range(first, first + count)


def job_of(body: JobBody, complete: dict[str, Any], asking: Asking, mark: str = "") -> NewJob:
    """Make a job of a body and its input that were checked; `mark` is its fingerprint.

    A seed that is not given is chosen here.
    """
    settings = asking.settings
    if complete["seed"] is None:
        complete = {**complete, "seed": secrets.randbelow(CHOSEN_SEED_MAX + 1)}
    return NewJob(
        id=ids.job_id(),
        tenant=asking.holder.tenant,
        spec=Spec(
            model=body.model,
            input=complete,
            webhook=webhook_kept(body.webhook),
            on_unknown=body.on_unknown or OnUnknown(settings.on_unknown),
            metadata=body.metadata,
            tags=body.tags,
            reuse=body.reuse,
        ),
        priority=body.priority,
        deadline_seconds=body.deadline_seconds or settings.deadline_seconds,
        max_attempts=settings.max_attempts,
        idempotency_key=asking.idempotency_key,
        fingerprint=mark,
        trace=asking.trace,
        webhook_host=hook.receiving_host(body.webhook.url) if body.webhook else "",
        credits=settings.credits_per_image.get(body.model, 0.0),
        max_position=body.fail_fast.max_position if body.fail_fast else None,
        max_wait_seconds=body.fail_fast.max_wait_seconds if body.fail_fast else None,
        dry_run=body.dry_run,
    )


def webhook_kept(webhook: BaseModel | None) -> dict[str, Any] | None:
    """Give what is kept of a webhook."""
    return hook.kept(webhook.model_dump(mode="json")) if webhook else None


def fingerprint(raw: bytes) -> str:
    """Give the same for the same JSON, however it is spaced and ordered; the body must be valid.

    Taken of what was sent, not of what it means, so that a later version with more defaults still
    knows a body again.
    """
    # read as the check reads it: orjson refuses a NaN even where a later member replaces it
    canonical = orjson.dumps(from_json(raw), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()
