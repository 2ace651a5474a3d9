"""The tenant file of `darkroom tenants export` and `apply`: tenants with limits, keys and secrets.

The file is YAML (so JSON is accepted too). It holds hashes of API keys, never the keys. Webhook
secrets are in it only if a passphrase seals them: Fernet (AES-128-CBC with HMAC-SHA256), under a
key that scrypt derives from the passphrase and the file's salt.
"""

import base64
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Literal, TextIO

import yaml
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import AfterValidator, StringConstraints, field_validator

from api.jobs.schemas import Moment, Strict
from api.json_body import checked
from api.ops.schemas import KeyBody, LimitsBody, OpsKeyBody, TenantName
from api.webhooks.url_validation import check_url
from shared.ids import ALPHABET
from shared.net.ssrf import AddressGuard
from shared.settings import Settings

_SEALED = "sealed:"
#: Bytes of a secret of Standard Webhooks.
_SECRET_BYTES = range(24, 65)
#: One of the settings that OWASP's password storage cheat sheet recommends; it takes 32 MiB.
_SCRYPT = {"length": 32, "n": 2**15, "r": 8, "p": 3}

_KeyId = Annotated[str, StringConstraints(pattern=f"^[{ALPHABET}]{{12}}$")]
_Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Salt = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


def _check_secret(value: str) -> str:
    """Validate a secret as Standard Webhooks defines it, or a sealed one."""
    if is_sealed(value):
        return value
    try:
        size = len(base64.b64decode(value.removeprefix("whsec_"), validate=True))
    except ValueError:
        size = 0
    if not value.startswith("whsec_") or size not in _SECRET_BYTES:
        raise ValueError("must be `whsec_` and the base64 of 24 to 64 bytes, or be sealed")
    return value


_Secret = Annotated[str, AfterValidator(_check_secret)]


class InvalidTenantFile(Exception):
    """The file cannot be applied: one line per fault."""


class KeyEntry(KeyBody):
    """An API key: its id and the hash of its secret, and the first of the keys that it replaced."""

    id: _KeyId
    hash: _Hash
    payer: _KeyId | None = None


class OpsKeyEntry(OpsKeyBody):
    """An operator key: its id and the hash of its secret."""

    id: _KeyId
    hash: _Hash


class _AnyAddress(AddressGuard):
    """A guard that lets every address pass."""

    def trusts(self, host: str, port: int) -> bool:  # noqa: ARG002  as declared
        return True


class EndpointEntry(Strict):
    """A webhook endpoint with a secret of its own."""

    url: str
    secret: _Secret

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        """Validate the form alone: a delivery checks the address. An endpoint has no query."""
        return check_url(value, guard=_AnyAddress()).partition("?")[0]


class TenantEntry(Strict):
    """A tenant. Limits that are not named do not apply."""

    name: TenantName
    limits: LimitsBody = LimitsBody()
    keys: tuple[KeyEntry, ...] = ()
    webhook_secret: _Secret | None = None
    webhook_endpoints: tuple[EndpointEntry, ...] = ()


class TenantFile(Strict):
    """The whole file."""

    version: Literal[1]
    exported_at: Moment | None = None
    salt: _Salt | None = None
    tenants: tuple[TenantEntry, ...]
    ops_keys: tuple[OpsKeyEntry, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """All webhook secrets, sealed or not."""
        own = [one.secret for tenant in self.tenants for one in tenant.webhook_endpoints]
        return (*own, *(tenant.webhook_secret for tenant in self.tenants if tenant.webhook_secret))


def is_sealed(secret: str) -> bool:
    """Return whether a secret of the file is encrypted."""
    return secret.startswith(_SEALED)


class Seal:
    """Seals and opens secrets with a passphrase."""

    def __init__(self, passphrase: bytes, salt: str) -> None:
        """Derive the key; `salt` is 16 bytes in hexadecimal."""
        derived = Scrypt(salt=bytes.fromhex(salt), **_SCRYPT).derive(passphrase)
        self.salt = salt
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, secret: str) -> str:
        """Encrypt a secret."""
        return _SEALED + self._fernet.encrypt(secret.encode()).decode()

    def open(self, secret: str) -> str:
        """Return a secret of the file; raise InvalidTenantFile if the passphrase is another."""
        if not is_sealed(secret):
            return secret
        try:
            return self._fernet.decrypt(secret.removeprefix(_SEALED)).decode()
        except InvalidToken:
            raise InvalidTenantFile(
                "The passphrase does not open the secrets of this file."
            ) from None


def new_seal(passphrase: bytes) -> Seal:
    """Return a seal for a new file."""
    return Seal(passphrase, secrets.token_hex(16))


def read_passphrase(path: Path) -> bytes:
    """Read a passphrase from a file, without the line end; raise InvalidTenantFile."""
    try:
        found = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise InvalidTenantFile(f"{path} cannot be read: {error.strerror}.") from None
    if not found:
        raise InvalidTenantFile(f"{path} is empty: write a passphrase into it.")
    return found


def replace_file(path: Path, text: str) -> None:
    """Write a file, readable by its owner only, whole or not at all; raise OSError.

    A pipe, a device and this process' own output, such as /dev/stdout, are written to and not
    replaced.
    """
    if path.exists() and (output := _own_output(path)):
        output.write(text)
        output.flush()
        return
    if path.exists() and not path.is_file():
        path.write_text(text, "utf-8")
        return
    target = path.resolve()
    # a new file of an unforeseeable name: in a shared folder, nobody else can have made it
    with NamedTemporaryFile(
        "w", dir=target.parent, prefix=f".{target.name}.", encoding="utf-8", delete=False
    ) as draft:
        try:
            draft.write(text)
            draft.flush()
            os.fsync(draft.fileno())
            Path(draft.name).replace(target)
        except BaseException:
            Path(draft.name).unlink()
            raise


def _own_output(path: Path) -> TextIO | None:
    """Return the output of this process to which a path leads, which may be a file."""
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError):  # it has no descriptor
            if os.path.samestat(path.stat(), os.fstat(output.fileno())):
                return output
    return None


def write_file(facts: Mapping[str, Any]) -> str:
    """Return the file's text."""
    head = "# Tenants of Darkroom. `darkroom tenants apply FILE` restores them.\n"
    return head + yaml.dump(dict(facts), Dumper=_Dumper, sort_keys=False, width=120)


def read_file(path: Path, settings: Settings) -> TenantFile:
    """Read and validate a file; raise InvalidTenantFile with every fault."""
    try:
        value = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506  a SafeLoader
        text = json.dumps(value, default=_written)
    except OSError as error:
        raise InvalidTenantFile(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidTenantFile(f"{path} is not encoded in UTF-8.") from None
    except yaml.YAMLError as error:
        raise InvalidTenantFile(f"{path} is not valid YAML: {_where(error)}.") from None
    except (ValueError, TypeError, RecursionError):  # their text may show a secret
        raise InvalidTenantFile(
            f"{path} has a value or a name that cannot be read: names must be text, dates must "
            "exist, and nothing may contain itself."
        ) from None
    found = checked(TenantFile, text.encode(), context=settings)
    if isinstance(found, list):
        raise InvalidTenantFile(
            "\n".join(f"{path}: {fault.pointer or 'the file'} {fault.message}." for fault in found)
        )
    if faults := [f"{path}: {fault}." for fault in _repeated(found)]:
        raise InvalidTenantFile("\n".join(faults))
    return found


class _Dumper(yaml.SafeDumper):
    """Write a tuple as a list."""


_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


class _Loader(yaml.SafeLoader):
    """Loads YAML and refuses a mapping that has a key twice, which YAML forbids."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  as declared
        seen: set[object] = set()
        for key_node, _ in node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name} appears twice", key_node.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def _where(error: yaml.YAMLError) -> str:
    """Return the line, the column and the fault."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error)


def _written(value: object) -> str:
    """Return a value that YAML reads as a time, as text."""
    if isinstance(value, datetime):
        text = value.isoformat()
        return text if value.tzinfo else f"{text}Z"
    return value.isoformat() if isinstance(value, date) else str(value)


def _repeated(file: TenantFile) -> Iterator[str]:
    """Yield what is there more than once."""
    keys = [key.id for tenant in file.tenants for key in tenant.keys]
    keys += [key.id for key in file.ops_keys]
    urls = [
        f"{one.url} of {tenant.name}" for tenant in file.tenants for one in tenant.webhook_endpoints
    ]
    names_of = {"tenant": [tenant.name for tenant in file.tenants], "key": keys, "endpoint": urls}
    for what, names in names_of.items():
        yield from (
            f"the {what} {name} appears {count} times"
            for name, count in Counter(names).items()
            if count > 1
        )
