"""Operators whom an authenticating proxy names in a header, such as oauth2-proxy.

Who may send the header is decided by the address of the connection itself, never by
`X-Forwarded-For`, and who may do what by the settings. A browser sends the proxy's cookie with
every request to its host, so requests that change something must come from a page of this service.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request

from api.problems import Problem
from api.server import PEER
from shared.api_keys import OPERATORS, Scope
from shared.settings import Settings
from shared.store.tenants import Principal

#: What the audit writes before the name of a person; key ids have no colon.
PERSON = "user:"
_NAME_CHARACTERS = 200
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_ELSEWHERE = "This request was sent by a page of another site. Open the console itself."


def person_of(by: str) -> str | None:
    """Return the name of the person that `Principal.key_id` stands for; None for a key."""
    return by.removeprefix(PERSON) if by.startswith(PERSON) else None


class People:
    """Read who sends a request, and what that person may do."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings; without a header, nobody is known."""
        self._header = settings.ops_auth_header
        self._groups_header = settings.ops_auth_groups_header
        self._proxies = settings.ops_auth_networks
        self._scopes = settings.ops_auth_rights
        self._own_host = urlsplit(settings.public_url).netloc

    def principal(self, request: Request) -> Principal | None:
        """Return the person that a trusted proxy names; None if it names nobody.

        Raise a Problem for a name that cannot be read, and for a request of another site.
        """
        if not self._header or not self._is_trusted(request):
            return None
        names = request.headers.getlist(self._header)
        if not any(names):
            return None
        if len(names) > 1 or not _is_readable(names[0]):
            raise Problem("forbidden", f"The proxy sends no single name in {self._header}.")
        self._refuse_other_sites(request)
        return Principal(
            key_id=f"{PERSON}{names[0]}",
            key_hash="",
            scopes=frozenset(self._rights(names[0], request)),
            tenant=OPERATORS,
            may_disable_safety=False,
        )

    def _is_trusted(self, request: Request) -> bool:
        peer = request.scope.get(PEER)
        if peer is None:
            return False
        address = ip_address(peer[0])
        return any(address in network for network in self._proxies)

    def _rights(self, name: str, request: Request) -> Iterator[Scope]:
        groups = request.headers.getlist(self._groups_header) if self._groups_header else []
        yield from self._scopes.get(f"{PERSON}{name}", ())
        for group in ",".join(groups).split(","):
            yield from self._scopes.get(f"group:{group.strip()}", ())

    def _refuse_other_sites(self, request: Request) -> None:
        if request.method in _SAFE_METHODS:
            return
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site is not None:
            is_own = site in {"same-origin", "none"}
        else:
            hosts = {self._own_host, request.headers.get("host")}
            is_own = origin is None or urlsplit(origin).netloc in hosts
        if not is_own:
            raise Problem("forbidden", _ELSEWHERE)


def _is_readable(name: str) -> bool:
    return name.isascii() and name.isprintable() and len(name) <= _NAME_CHARACTERS
