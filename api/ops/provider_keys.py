"""The provider keys: list, add, pause, resume and remove them while the service runs."""

from typing import Annotated, Literal

from fastapi import Depends
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext, Context, CurrentOperator
from api.json_body import JsonBody
from api.ops.schemas import ProviderKeyBody
from api.ops.tenants import answered
from api.problems import BODY, Problem, not_found, problems
from api.routing import tenant_router
from shared.provider_keys import KeySource, read_key
from shared.schemas import Time
from shared.sealing import Seal
from shared.serializers import rfc3339
from shared.store.bulk import pause_provider_key, resume_provider_key
from shared.store.job_queries import ServiceStats, service_stats
from shared.store.provider_keys import (
    KeyState,
    add_provider_key,
    remove_provider_key,
)

_KEYS = "/ops/v1/provider-keys"
_KEY = f"{_KEYS}/{{key_id}}"
#: Why no key can be stored, for the API and the program.
NO_SEAL_KEY = (
    "No seal key is set. Set DARKROOM_SEAL_KEYS to a random text of at least 32 characters, the "
    "same for the API and the workers, and restart them."
)
#: Why a key cannot be removed, for both.
OF_ENVIRONMENT = (
    "The key is in DARKROOM_ONEMIN_API_KEY of workers. Remove it there and restart them, or pause "
    "the key."
)

router = tenant_router("operators")


class ProviderKey(TypedDict):
    """A provider key."""

    id: str
    masked: Annotated[str | None, Field(description="The end of the key")]
    team: Annotated[str, Field(description="Keys of one team share its credits")]
    label: str
    source: Annotated[
        KeySource,
        Field(description="environment: of DARKROOM_ONEMIN_API_KEY; stored: added by operators"),
    ]
    state: Annotated[
        Literal["active", "paused", "rejected", "held", "unreadable"],
        Field(
            description="rejected: 1min.ai refuses it; unreadable: a worker has no seal key that "
            "opens it"
        ),
    ]
    held_by: Annotated[str | None, Field(description="Why the key is not used")]
    dead_since: Time | None
    paused_at: Time | None
    created_at: Annotated[Time | None, Field(description="When it was added")]
    last_seen_at: Annotated[Time | None, Field(description="When a worker last reported it")]


class ProviderKeyList(TypedDict):
    """The provider keys."""

    data: list[ProviderKey]


@router.get(_KEYS, response_model=ProviderKeyList, response_description="All of them")
async def get_provider_keys(parts: Context) -> Response:
    """List the provider keys, masked: those of the workers' environment and those added.

    A key of the environment is listed for a day after a worker last had it.
    """
    now = await parts.committer.run(service_stats())
    return answered(ProviderKeyList(data=keys_shown(now)))


@router.post(
    _KEYS,
    status_code=201,
    response_model=ProviderKey,
    response_description="The key",
    responses={
        200: {"model": ProviderKey, "description": "The key was stored before"},
        **problems("seal_key_missing", "redis_full", *BODY),
    },
)
async def post_provider_key(
    parts: Context,
    audit_context: CurrentOperator,
    body: Annotated[ProviderKeyBody, Depends(JsonBody(ProviderKeyBody))],
) -> Response:
    """Add a key of 1min.ai: workers use it within three seconds.

    It is stored sealed and never returned. A key that is stored already is sealed again and gets
    the team and the label that are sent. The key is not checked with 1min.ai.
    """
    seal = Seal.of(parts.settings.seal_key_texts)
    if seal is None:
        raise Problem("seal_key_missing", NO_SEAL_KEY)
    key = read_key(body.key)
    call = add_provider_key(audit_context, key, seal.seal(key.secret), body.changes())
    is_new = await parts.committer.run(call)
    return answered(await _read(parts, key.id), 201 if is_new else 200)


@router.post(
    f"{_KEY}/pause",
    operation_id="pause_provider_key",
    response_model=ProviderKey,
    response_description="The key",
    responses=problems("not_found"),
)
async def pause_key(parts: Context, audit_context: CurrentOperator, key_id: str) -> Response:
    """Pause a key at once: no job is claimed with it, running calls continue."""
    if not await parts.committer.run(pause_provider_key(audit_context, key_id)):
        raise not_found("provider key")
    return answered(await _read(parts, key_id))


@router.post(
    f"{_KEY}/resume",
    operation_id="resume_provider_key",
    response_model=ProviderKey,
    response_description="The key",
    responses=problems("not_found"),
)
async def resume_key(parts: Context, audit_context: CurrentOperator, key_id: str) -> Response:
    """Resume a key."""
    if not await parts.committer.run(resume_provider_key(audit_context, key_id)):
        raise not_found("provider key")
    return answered(await _read(parts, key_id))


@router.delete(
    _KEY,
    status_code=204,
    response_description="The key is removed",
    responses=problems("not_found", "key_in_environment"),
)
async def delete_provider_key(
    parts: Context, audit_context: CurrentOperator, key_id: str
) -> Response:
    """Remove a key that was added, at once: no job is claimed with it, running calls continue.

    Workers delete it from their memory within three seconds. An image of an earlier call is looked
    up with another key.
    """
    removed = await parts.committer.run(remove_provider_key(audit_context, key_id))
    if removed == "environment":
        raise Problem("key_in_environment", OF_ENVIRONMENT)
    if removed == "unknown":
        raise not_found("provider key")
    return Response(status_code=204)


async def _read(parts: AppContext, key_id: str) -> ProviderKey:
    shown = provider_key_shown(key_id, await parts.committer.run(service_stats()))
    if shown is None:
        raise not_found("provider key")
    return shown


def keys_shown(now: ServiceStats) -> list[ProviderKey]:
    """Write all provider keys."""
    return [_shown(key_id, key, now) for key_id, key in now.keys.items()]


def provider_key_shown(key_id: str, now: ServiceStats) -> ProviderKey | None:
    """Write one provider key; None if there is none."""
    return _shown(key_id, now.keys[key_id], now) if key_id in now.keys else None


def _shown(key_id: str, key: KeyState, now: ServiceStats) -> ProviderKey:
    held_by = _held_by(key_id, key, now)
    return {
        "id": key_id,
        "masked": key.masked or None,
        "team": key.team,
        "label": key.label,
        "source": key.source,
        "state": _state(key, held_by),
        "held_by": held_by,
        "dead_since": rfc3339(key.dead_since),
        "paused_at": rfc3339(key.paused_since),
        "created_at": rfc3339(key.created_at),
        "last_seen_at": rfc3339(key.seen_at),
    }


def _state(
    key: KeyState, held_by: str | None
) -> Literal["active", "paused", "rejected", "held", "unreadable"]:
    if key.is_unreadable:
        return "unreadable"
    if key.paused_since:
        return "paused"
    if key.dead_since:
        return "rejected"
    return "held" if held_by else "active"


def _held_by(key_id: str, key: KeyState, now: ServiceStats) -> str | None:
    if key.dead_since:
        return "provider_auth"
    if key.paused_since:
        return "paused"
    subjects = {("key", key_id), ("team", key.team)}
    reasons = (
        hold.reason
        for hold in now.holds
        if hold.is_active and (hold.kind, hold.subject) in subjects
    )
    return next(reasons, None)
