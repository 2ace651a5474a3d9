"""Seal secrets for Redis, so that its memory, files and backups do not show them.

A seal key is a long random text; the Fernet key (AES-128-CBC with HMAC-SHA256) is derived from it.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: The purpose of the derived key: another program that uses the same text derives another key.
_PURPOSE = b"darkroom: provider keys"
_KEY_BYTES = 32


class Unsealable(Exception):
    """A secret that none of the seal keys opens."""


class Seal:
    """Seal with the first of the seal keys; open what any of them sealed."""

    def __init__(self, seal_keys: Sequence[str]) -> None:
        """Take the seal keys, at least one."""
        each = [Fernet(_derive(key)) for key in seal_keys]
        self._first, self._fernet = each[0], MultiFernet(each)

    @classmethod
    def of(cls, seal_keys: Sequence[str]) -> "Seal | None":
        """Build it of these seal keys; None if there are none."""
        return cls(seal_keys) if seal_keys else None

    def seal(self, secret: str) -> str:
        """Return the secret sealed, as text."""
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return the secret; raise Unsealable."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Unsealable("none of the seal keys opens it") from None

    def is_current(self, sealed: str) -> bool:
        """Return whether the first of the seal keys opens it, so that the others are not needed."""
        try:
            self._first.decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True


def _derive(seal_key: str) -> bytes:
    derived = HKDF(SHA256(), length=_KEY_BYTES, salt=None, info=_PURPOSE).derive(seal_key.encode())
    return urlsafe_b64encode(derived)
