"""Authentication: API keys, looked up in Redis and cached for a few seconds."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple

from api.auth_throttle import AuthThrottle
from api.problems import Problem, unauthenticated
from shared.api_keys import Key, Scope, parse_key
from shared.errors import StoreError
from shared.store.api_keys import touch_api_key
from shared.store.group_commit import GroupCommitClient
from shared.store.tenants import KeyState, Principal, authenticate

#: How long a lookup is cached, successful or not: a revoked key stops working after this time.
REMEMBER_SECONDS = 3.0
#: The maximum number of cached keys; strangers can invent any number of them.
REMEMBER_KEYS = 10_000
#: The use of a key is recorded at most this often.
NOTE_SECONDS = 60.0
#: The authentication scheme of `Authorization`, in lower case.
BEARER = frozenset({"bearer"})
#: Concurrent lookups for addresses with too many failures; further ones wait.
SUSPECT_LOOKUPS = 4
_NO_PRINCIPAL = hashlib.sha256(b"").hexdigest()


class _CachedKey(NamedTuple):
    until: float
    principal: "asyncio.Task[Principal | None]"


class Keyring:
    """Look up the principals of keys. Concurrent lookups of one key share one call to Redis."""

    def __init__(self, committer: GroupCommitClient, failures: AuthThrottle) -> None:
        """Start with an empty cache."""
        self._committer = committer
        self._failures = failures
        self._cached: OrderedDict[str, _CachedKey] = OrderedDict()
        #: the keys that were accepted here, latest last: full key, and when its use was recorded
        self._proven: OrderedDict[Key, float] = OrderedDict()
        self._notes: set[asyncio.Task[None]] = set()
        self._suspects = asyncio.Semaphore(SUSPECT_LOOKUPS)

    async def principal(
        self,
        authorization: str | None,
        scope: Scope,
        address: str,
        schemes: Collection[str] = BEARER,
    ) -> Principal:
        """Return the principal of a key that has this scope; raise a Problem otherwise.

        A valid key always passes. For an address with too many failures, the Problem says so, and
        lookups of keys that this process does not know run a few at a time.
        """
        if not authorization:
            raise unauthenticated("No API key was sent.")
        key = _key(authorization, schemes)
        principal = await self._found(key, address)
        if key is None or principal is None:
            self._failures.note(address)
            raise unauthenticated("The API key is not valid.")
        if principal.state is not KeyState.LIVING:
            self._proven.pop(key, None)
            self._failures.note(address)
            raise unauthenticated(f"The API key is {principal.state.value}.")
        self._note_use(key)
        require_scope(principal, scope, "the API key does")
        return principal

    async def _found(self, key: Key | None, address: str) -> Principal | None:
        """Return the principal of a key; raise a Problem for an address with too many failures."""
        excess = self._failures.excess(address) if key not in self._proven else None
        if excess is None:
            return await self._matching(key)
        async with self._suspects:
            principal = await self._matching(key)
        if principal is None or principal.state is not KeyState.LIVING:
            raise excess
        return principal

    async def _matching(self, key: Key | None) -> Principal | None:
        """Return the principal of the key if the secret matches; None otherwise."""
        if key is None:
            return None
        principal = await self._find(key.id)
        # compare unknown keys too, so that they take as long as wrong ones
        return (
            principal if key.matches(principal.key_hash if principal else _NO_PRINCIPAL) else None
        )

    async def _find(self, key_id: str) -> Principal | None:
        cached = self._cached.get(key_id)
        if cached is None or cached.until < time.monotonic():
            cached = self._read_key(key_id)
        if cached.principal.done():
            return cached.principal.result()
        # the task is shared: a client that leaves must not cancel it for the others
        return await asyncio.shield(cached.principal)

    def _read_key(self, key_id: str) -> _CachedKey:
        task = asyncio.create_task(self._committer.run(authenticate(key_id)))
        cached = _CachedKey(time.monotonic() + REMEMBER_SECONDS, task)
        self._cached[key_id] = cached
        self._cached.move_to_end(key_id)
        if len(self._cached) > REMEMBER_KEYS:
            self._cached.popitem(last=False)
        task.add_done_callback(lambda done: self._drop_failure(key_id, done))
        return cached

    def _drop_failure(self, key_id: str, task: "asyncio.Task[Principal | None]") -> None:
        """Remove a lookup without an answer from the cache, so that the next request repeats it."""
        if task.cancelled() or isinstance(task.exception(), StoreError):
            cached = self._cached.get(key_id)
            if cached is not None and cached.principal is task:
                del self._cached[key_id]

    def _note_use(self, key: Key) -> None:
        """Record the use of a key, once a minute, without waiting for it."""
        now = time.monotonic()
        if now < self._proven.get(key, -NOTE_SECONDS) + NOTE_SECONDS:
            return
        self._proven[key] = now
        self._proven.move_to_end(key)
        if len(self._proven) > REMEMBER_KEYS:
            self._proven.popitem(last=False)
        task = asyncio.create_task(self._try_note(key.id))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _try_note(self, key_id: str) -> None:
        try:
            await self._committer.run(touch_api_key(key_id))
        except StoreError:
            return  # the next use, a minute later, is recorded again


def require_scope(principal: Principal, scope: Scope, who: str = "you do") -> None:
    """Raise a Problem unless the principal has this scope; `who` is in its text."""
    if scope not in principal.scopes:
        detail = f"This request needs the scope {scope.value}, which {who} not have."
        raise Problem("forbidden", detail, more={"scope": scope.value})


def _key(authorization: str, schemes: Collection[str]) -> Key | None:
    scheme, _, text = authorization.partition(" ")
    return parse_key(text.strip()) if scheme.lower() in schemes else None
