"""Which service is spoken with: its address and a key, from the environment or a running stack."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from darkroom.errors import NotConfigured

#: What `darkroom up` writes beside its data: its address and its keys.
STACK = Path(".darkroom/stack.json")
_HELP = (
    "Set DARKROOM_URL and DARKROOM_API_KEY, or DARKROOM_STACK to the stack.json that "
    f"`darkroom up` wrote; {STACK} is read where it is found."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service answers, and the key that opens it."""

    url: str
    key: str = field(repr=False)


def find_place(url: str | None = None, key: str | None = None, *, kind: str = "api") -> Place:
    """Find the service: what is given goes first, then the environment, then a running stack.

    `kind` is the key that is wanted, `api` or `ops`. Raises NotConfigured.
    """
    url = url or _environment("DARKROOM_URL")
    key = key or _environment(f"DARKROOM_{kind.upper()}_KEY")
    if not (url and key):
        stack = _stack()
        url, key = url or stack.get("api"), key or stack.get(f"{kind}_key")
    if not url or not key:
        missing = "address" if not url else f"{kind} key"
        raise NotConfigured(f"No {missing} of a Darkroom is known. {_HELP}")
    if not url.startswith(("http://", "https://")):
        raise NotConfigured(f"The address {url!r} does not begin with http:// or https://.")
    return Place(url.rstrip("/"), key)


def stack_place(path: str | Path) -> Place:
    """Read the service of a stack.json; raises NotConfigured."""
    stack = _read(Path(path))
    return find_place(stack.get("api"), stack.get("api_key"))


def _stack() -> dict[str, str]:
    named = _environment("DARKROOM_STACK")
    if named:
        return _read(Path(named))
    return _read(STACK) if STACK.exists() else {}


def _read(path: Path) -> dict[str, str]:
    try:
        stack = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise NotConfigured(
            f"{path} cannot be read as a stack.json ({why}). A running `darkroom up` writes one."
        ) from None
    if not isinstance(stack, dict):
        raise NotConfigured(f"{path} is not a stack.json that `darkroom up` wrote.")
    return {name: value for name, value in stack.items() if isinstance(value, str)}


def _environment(name: str) -> str | None:
    return os.environ.get(name)  # noqa: TID251  the client's one reader: it knows no settings
