"""Validation of setting values: hosts, URLs, keys. Each check returns the normalised value.

Faults are ValueErrors whose text follows "is not usable:". The text never repeats a value that may
contain a password or a key.
"""

import ipaddress
import re
import ssl
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from shared.api_keys import OPS_SCOPES, Scope

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Editors and terminals may add a byte order mark to a value.
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
PORT_MAX = 65_535
#: What stands for the key of an object in the URL of a bucket.
OBJECT_KEY = "{key}"

#: A host name. Docker's names may contain underscores.
_NAME = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_NAME_CHARACTERS = 253
_PORT = re.compile(r"[0-9]{1,5}")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
SEAL_KEY_CHARACTERS = 32
#: The name of a header (RFC 9110, 5.6.2).
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Headers that belong to the connection, not to the request.
CONNECTION_HEADERS = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("host", "expect"),
    }
)
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
#: Whose rights a setting states.
_WHO = re.compile(r"(?:user|group):[\x21-\x7e]+")
_RIGHTS: Mapping[str, tuple[Scope, ...]] = {
    Scope.OPS_READ: (Scope.OPS_READ,),
    Scope.OPS_WRITE: OPS_SCOPES,
}
#: A path in a bucket, without the slashes around it.
_KEY_PATH = re.compile(r"(?=.{1,200}$)[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_IPV6 = "an IPv6 address is written in brackets, with a port as [::1]:6379"

REDIS_SCHEMES = ("redis", "rediss", "sentinel")
#: The TLS options in the URL of a Redis that both redis-py and kombu understand.
_TLS_OPTIONS = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "ssl_check_hostname",
    }
)
_SENTINEL_OPTIONS = frozenset({"master", "sentinel_password"})
_CERT_REQS = frozenset({"none", "optional", "required"})
_ENCODE = (
    "in user and password all but letters, digits and - . _ ~ must be %-encoded: "
    "`#` is %23, `/` is %2F, `?` is %3F, `@` is %40, `%` is %25, a space is %20"
)


class HostPort(NamedTuple):
    """A host as written, IPv6 without brackets, and its port if given."""

    host: str
    port: int | None


def trimmed(text: str) -> str:
    """Remove blanks, line ends and byte order marks from both ends."""
    return text.strip().strip(BOM).strip()


def plain(text: str) -> str:
    """Trim a value; raise ValueError for surrounding quotation marks, as with `--env-file`."""
    value = trimmed(text)
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        raise ValueError("it is in quotation marks, which would be part of it: remove them")
    return value


def host_port(text: str, *, bare_ipv6: bool = False) -> HostPort:
    """Parse `host`, `host:port` or `[IPv6]:port`; lower case, without a trailing dot.

    `bare_ipv6` allows an IPv6 address without brackets, which then has no port.
    """
    if text.count(":") > 1 and not bare_ipv6 and not text.startswith("["):
        raise ValueError(_IPV6)
    host, port = _split(text)
    if port is not None and not (_PORT.fullmatch(port) and 1 <= int(port) <= PORT_MAX):
        raise ValueError("the port must be a number from 1 to 65535")
    return HostPort(_host(host), None if port is None else int(port))


def _split(text: str) -> tuple[str, str | None]:
    """Split a host from its port; the port is None without a colon for one."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise ValueError(_IPV6)
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _host(text: str) -> str:
    if not text:
        raise ValueError("the host is missing")
    if ":" in text:
        return _ip_address(text, _IPV6)
    name = text.lower().removesuffix(".")
    if not name.isascii():
        raise ValueError("a host must be ASCII: write an international name in its xn-- form")
    if len(name) > _NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise ValueError("the host is not a name or an IP address")
    if name.rpartition(".")[2].isdigit():
        return _ip_address(name, "the host is not an IPv4 address")
    return name


def _ip_address(text: str, otherwise: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(otherwise) from None


def joined(host: str, port: int | None) -> str:
    """Write a host and its port as one text; IPv6 with brackets if there is a port."""
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_list(entries: Iterable[str]) -> tuple[str, ...]:
    """Validate a list of hosts: `host`, `.name` for all names below it, either with `:port`."""
    found, faults = [], []
    for entry in entries:
        try:
            found.append(_entry(entry))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("; ".join(dict.fromkeys(faults)))
    return tuple(found)


def _entry(entry: str) -> str:
    if _SCHEME.match(entry):
        raise ValueError(f"it needs hosts, not URLs: write {_host_of_url(entry)}")
    if "/" in entry:
        raise ValueError(
            f"it needs single hosts, not paths or ranges of addresses: {_quoted(entry)}"
        )
    below = entry.startswith((".", "*."))
    try:
        host, port = host_port(
            entry.lstrip("*").removeprefix(".") if below else entry, bare_ipv6=True
        )
    except ValueError as error:
        raise ValueError(f"{error}: {_quoted(entry)}") from None
    return f".{joined(host, port)}" if below else joined(host, port)


def _host_of_url(entry: str) -> str:
    """Return the host of a URL, with a port that is not the default of its scheme."""
    try:
        parts = urlsplit(entry)
        host, port = host_port(parts.netloc.rpartition("@")[2])
    except ValueError:
        return "the host alone"
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return joined(host, None if port == usual else port)


def _quoted(entry: str) -> str:
    """Quote a word of a list, unless it may be a password."""
    return "one of them" if "@" in entry else f"`{ascii(entry[:100])[1:-1]}`"


def only_host(text: str) -> str:
    """Validate a single host."""
    host, port = host_port(text, bare_ipv6=True)
    if port is not None:
        raise ValueError("it needs a host without a port")
    return host


def web_address(text: str, *, without: str = "") -> str:
    """Validate an http or https URL without user, query and fragment; no trailing slash.

    `without` is a path that the service adds itself; it is removed from a full URL.
    """
    parts = _web_parts(text)
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("it must end before the query: no `?` and no `#`")
    path = parts.path.rstrip("/").removesuffix(without).rstrip("/")
    return f"{parts.scheme}://{_netloc(*host_port(parts.netloc))}{path}"


def object_address(text: str) -> str:
    """Validate the URL of the objects of a bucket, which has OBJECT_KEY once, in its path."""
    before, *after = text.split(OBJECT_KEY)
    if len(after) != 1 or "/" not in before.partition("://")[2]:
        raise ValueError(f"it must have {OBJECT_KEY} once, after the host")
    web_address(before + after[0])
    return text


def _netloc(host: str, port: int | None) -> str:
    """Write host and port for a URL, where IPv6 always has brackets."""
    return f"[{host}]" if ":" in host and port is None else joined(host, port)


def _web_parts(text: str) -> SplitResult:
    if not _VISIBLE.fullmatch(text):
        raise ValueError("it must be visible ASCII without blanks")
    parts = _split_url(text)
    if parts.scheme not in {"http", "https"} or not _SCHEME.match(text):
        raise ValueError("must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("it must not have a user or a password")
    if "{" in text or "}" in text:
        raise ValueError("it must not have a placeholder in { }")
    return parts


def _split_url(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("the address in brackets is not an IPv6 address") from None


def tls_of(text: str) -> bool | None:
    """Return whether a URL asks for TLS; None if it does not say."""
    return {"https": True, "http": False}.get(
        text.partition("://")[0].lower() if "://" in text else ""
    )


def storage_address(text: str) -> str:
    """Return host:port of an S3 server, from that or from the URL that other clients take."""
    authority = text.partition("://")[2] if tls_of(text) is not None else text
    authority = authority.removesuffix("/")
    if "@" in authority:
        raise ValueError("it must not have a user or a password: use the settings of the S3 keys")
    if not authority.isascii() or any(mark in authority for mark in "/?#"):
        raise ValueError("it needs host:port alone; the bucket is set in DARKROOM_S3_BUCKET")
    return _netloc(*host_port(authority))


def proxy_address(text: str) -> str:
    """Validate the URL of a forward proxy: `http://host:port`, with user and password if needed."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() != "http":
        raise ValueError("must begin with http://")
    credentials, at, authority = rest.removesuffix("/").rpartition("@")
    if not _VISIBLE.fullmatch(rest) or any(mark in credentials for mark in "/?#@"):
        raise ValueError(_ENCODE)
    if any(mark in authority for mark in "/?#"):
        raise ValueError("it must end after the port")
    host, port = host_port(authority)
    if port is None:
        raise ValueError("the port is missing: write http://host:port")
    return f"http://{_encoded(credentials)}{at}{_netloc(host, port)}"


def key_prefix(text: str) -> str:
    """Validate a path in a bucket; return it with a slash at its end."""
    path = text.strip("/")
    if not _KEY_PATH.fullmatch(path) or any(part in {".", ".."} for part in path.split("/")):
        raise ValueError(
            "needs a path of letters, digits and - _ . such as images/darkroom, at most 200 "
            "characters"
        )
    return f"{path}/"


def authorities_file(path: str) -> str:
    """Validate a PEM file of certificates."""
    try:
        ssl.create_default_context().load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"the file {path} is not a PEM file of certificates") from None
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read ({error.strerror})") from None
    return path


def header_name(text: str) -> str:
    """Validate the name of a header, which may not be one of the connection or the body."""
    if not HEADER_NAME.fullmatch(text):
        raise ValueError("it needs the name of a header, such as API-KEY")
    if text.lower().startswith("content-") or text.lower() in CONNECTION_HEADERS:
        raise ValueError(
            f"{text} belongs to the connection or the body of a request; it needs the name of "
            "another header, such as API-KEY"
        )
    return text


def networks(entries: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks."""
    try:
        return tuple(ipaddress.ip_network(entry) for entry in entries)
    except ValueError as error:
        raise ValueError(
            f"needs addresses or networks such as 10.0.0.7, 10.1.0.0/16: {error}"
        ) from None


def rights(entries: Iterable[str]) -> dict[str, tuple[Scope, ...]]:
    """Read the scopes of people and groups: `group:NAME=ops:write`."""
    found: dict[str, tuple[Scope, ...]] = {}
    for entry in entries:
        who, _, scope = entry.rpartition("=")
        if not _WHO.fullmatch(who) or scope not in _RIGHTS:
            raise ValueError(
                "needs group:NAME=SCOPE or user:NAME=SCOPE, several separated by commas, where "
                "SCOPE is ops:read or ops:write"
            )
        found[who] = (*found.get(who, ()), *_RIGHTS[scope])
    return found


def header_values(pairs: Mapping[str, str]) -> None:
    """Validate headers that are sent unchanged."""
    for name, value in pairs.items():
        if not HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                "needs name=value, several separated by commas, of ASCII that a header can carry"
            )
        header_name(name)


def check_keys(keys: Iterable[str]) -> None:
    """Validate keys that are sent in a header."""
    if not all(_VISIBLE.fullmatch(key) for key in keys if key):
        raise ValueError(
            "it has a character that is not visible ASCII (a curly quote, a space, a line end), "
            "which no header can carry: copy it again"
        )


def check_seal_keys(keys: Iterable[str]) -> None:
    """Validate the keys that seal secrets: a short one could be guessed."""
    if any(len(key) < SEAL_KEY_CHARACTERS for key in keys):
        raise ValueError(
            f"each seal key needs at least {SEAL_KEY_CHARACTERS} characters, without a comma; make "
            "one with `openssl rand -hex 32`"
        )


def redis_address(text: str) -> str:
    """Validate the URL of a Redis; user and password are returned %-encoded.

    redis-py and kombu parse malformed URLs differently.
    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in REDIS_SCHEMES:
        raise ValueError("must begin with redis://, rediss:// or sentinel://")
    if rest and (not _VISIBLE.fullmatch(rest) or "#" in rest):
        raise ValueError(_ENCODE)
    authority, _, query = rest.partition("?")
    netloc, _, path = authority.partition("/")
    credentials, at, hosts = netloc.rpartition("@")
    if "@" in path or ("@" in query and not at):
        raise ValueError(_ENCODE)
    written = _redis_hosts(hosts, several=scheme == "sentinel")
    opens = f"{_encoded(credentials)}@" if at else ""
    options = _redis_options(scheme, query)
    return f"{scheme}://{opens}{written}{_database(path)}{options}"


def database_address(text: str) -> str:
    """Validate the URL of a database: `postgresql://…`, or `sqlite:///` and an absolute path.

    User and password of PostgreSQL are returned %-encoded.
    """
    scheme, separator, rest = text.partition("://")
    scheme = {"postgres": "postgresql"}.get(scheme.lower(), scheme.lower())
    if not separator or scheme not in {"postgresql", "sqlite"}:
        raise ValueError("must begin with postgresql:// or sqlite:///")
    if scheme == "postgresql":
        return f"{scheme}://{_postgresql_address(rest)}"
    if not rest.startswith("//") or rest.strip("/") == "":
        raise ValueError(
            "needs the absolute path of a file: sqlite:////var/lib/darkroom/history.db"
        )
    return f"sqlite://{rest}"


def _postgresql_address(rest: str) -> str:
    address, mark, query = rest.partition("?")
    credentials, at, location = address.rpartition("@")
    hosts, _, name = location.partition("/")
    if (
        not _VISIBLE.fullmatch(rest)
        or "#" in rest
        or "/" in credentials
        or ("@" in query and not at)
    ):
        raise ValueError(_ENCODE)
    if not hosts or not name:
        raise ValueError("needs a host and the name of a database: postgresql://host/name")
    written = [host_port(host) for host in hosts.split(",")]
    if len(written) > 1 and any(port is not None for _, port in written):
        raise ValueError("several hosts have one port: write postgresql://a,b/name?port=5432")
    if not {option for option, _ in parse_qsl(query, keep_blank_values=True)} <= _libpq_options():
        raise ValueError("the options behind `?` must be those of libpq, such as sslmode=require")
    opens = f"{_encoded(credentials)}@" if at else ""
    return f"{opens}{','.join(_netloc(*one) for one in written)}/{name}{mark}{query}"


def _libpq_options() -> frozenset[str]:
    from psycopg.pq import Conninfo  # noqa: PLC0415  only a PostgreSQL needs it

    return frozenset(one.keyword.decode() for one in Conninfo.get_defaults())


def _encoded(credentials: str) -> str:
    """Encode user and password, so that every library parses them alike."""
    user, colon, password = (
        quote(unquote(part), safe="") if part != ":" else part
        for part in credentials.partition(":")
    )
    return f"{user}{colon}{password}"


def _redis_hosts(hosts: str, *, several: bool) -> str:
    entries = hosts.split(",") if several else [hosts]
    return ",".join(_netloc(*host_port(entry)) for entry in entries)


def _database(path: str) -> str:
    number = path.strip("/")
    if number and not (number.isascii() and number.isdigit()):
        raise ValueError("the database after the host must be a number, such as /0")
    return f"/{number}" if number else ""


def _redis_options(scheme: str, query: str) -> str:
    allowed = {"sentinel": _SENTINEL_OPTIONS, "rediss": _TLS_OPTIONS}.get(scheme, frozenset())
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            raise ValueError(_unknown_option(scheme, allowed))
        if name == "ssl_cert_reqs" and value not in _CERT_REQS:
            raise ValueError("ssl_cert_reqs must be required, optional or none")
    return f"?{query}" if query else ""


def _unknown_option(scheme: str, allowed: frozenset[str]) -> str:
    if not allowed:
        return (
            f"{scheme}:// takes no options after `?`; the database is written /0, TLS is rediss://"
        )
    return f"the options after `?` that {scheme}:// takes are {', '.join(sorted(allowed))}"
