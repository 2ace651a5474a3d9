"""The URL and key of the service, from the environment or a running stack.

Errors about a URL or a key do not quote it: they may have been confused, or contain a password.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from darkroom.errors import NotConfigured

#: The file that `darkroom up` writes, with its URL and keys.
STACK = Path(".darkroom/stack.json")
_HELP = (
    "Set DARKROOM_URL and DARKROOM_API_KEY, or DARKROOM_STACK to the stack.json that "
    f"`darkroom up` wrote; {STACK} in the current folder is also read."
)
_BYTE_ORDER_MARK = "\ufeff"
#: The characters after `Bearer` in a header (RFC 6750, 2.1).
_KEY_LETTERS = r"[A-Za-z0-9._~+/=-]"
_LABEL = "[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The URL of the service, and a key."""

    url: str
    key: str = field(repr=False)


class _Setting(NamedTuple):
    """A value and where it was found, in words."""

    value: str
    source: str


def load_config(
    url: str | None = None, key: str | None = None, *, kind: str = "api"
) -> ServiceConfig:
    """Find the service: arguments first, then the environment, then a running stack.

    `kind` is the kind of key, `api` or `ops`. Raise NotConfigured.
    """
    key_name = f"DARKROOM_{kind.upper()}_KEY"
    address = _setting(url, "that was given") or _environment("DARKROOM_URL")
    secret = _setting(key, "that was given") or _environment(key_name)
    if not (address and secret):
        stack, source = _stack()
        address = address or _setting(stack.get("api"), source)
        secret = secret or _setting(stack.get(f"{kind}_key"), source)
    if not address or not secret:
        missing = "URL" if not address else f"{kind} key"
        raise NotConfigured(f"No {missing} is configured. {_HELP}")
    return ServiceConfig(_checked_url(address), _checked_key(secret))


def stack_config(path: str | Path) -> ServiceConfig:
    """Read the service from a stack.json; raise NotConfigured."""
    stack = _read(Path(path))
    return load_config(stack.get("api"), stack.get("api_key"))


def _setting(value: object, source: str) -> _Setting | None:
    """Trim a value; return None for an empty one."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise NotConfigured(f"The address or the key {source} is not text.")
    bare = value.strip().strip(_BYTE_ORDER_MARK).strip()
    return _Setting(bare, source) if bare else None


def _checked_key(key: _Setting) -> str:
    wrong = re.sub(_KEY_LETTERS, "", key.value)
    if wrong:
        raise NotConfigured(
            f"The key {key.source} has a character that no key has (U+{ord(wrong[0]):04X}): "
            "perhaps a quote, a space or a line break. Copy it again."
        )
    return key.value


def _checked_url(address: _Setting) -> str:
    """Return the URL as httpx writes it, without a trailing slash."""
    if not re.match("https?://", address.value, re.IGNORECASE):
        raise NotConfigured(
            f"The address {address.source} does not begin with http:// or https://."
        )
    try:
        url = httpx.URL(address.value)
    except httpx.InvalidURL:
        url = None
    if url is None or not _is_reachable(url):
        raise NotConfigured(
            f"The address {address.source} is not a URL such as https://darkroom.example.com or "
            f"http://127.0.0.1:8000: check its host and its port (1 to {_PORT_MAX})."
        )
    if url.userinfo or url.query or url.fragment:
        raise NotConfigured(
            f"The address {address.source} must have no user, password, query or fragment."
        )
    bare = str(url).rstrip("/")
    if re.search("/v1$", bare):
        raise NotConfigured(
            f"The address {address.source} ends in /v1: leave that out, the program adds it itself."
        )
    return bare


def _is_reachable(url: httpx.URL) -> bool:
    """Return whether the host resolves and the port accepts connections."""
    is_port = url.port is None or 0 < url.port <= _PORT_MAX
    return is_port and _HOST.fullmatch(url.raw_host.decode("ascii", "replace")) is not None


def _stack() -> tuple[Mapping[str, Any], str]:
    """Read the named stack.json, or the one in this folder; also return its path."""
    named = _environment("DARKROOM_STACK")
    if named:
        return _read(Path(named.value)), f"in {named.value}"
    return (_read(STACK), f"in {STACK}") if os.path.lexists(STACK) else ({}, "")


def _read(path: Path) -> dict[str, Any]:
    try:
        stack = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise NotConfigured(
            f"{path} cannot be read as a stack.json ({reason}). Start `darkroom up`: it writes it."
        ) from None
    if not isinstance(stack, dict):
        raise NotConfigured(f"{path} is not a stack.json that `darkroom up` wrote.")
    return stack


def _environment(name: str) -> _Setting | None:
    value = os.environ.get(name)  # noqa: TID251  the client has no settings
    return _setting(value, f"in {name}")
