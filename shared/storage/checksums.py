"""The checksums of an object, and what responses of the storage state about them."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

_MD5 = re.compile(r'(?:W/)?"?([0-9a-f]{32})"?', re.IGNORECASE)
_ENCRYPTION = "x-amz-server-side-encryption"
_CUSTOMER_KEY = "x-amz-server-side-encryption-customer-algorithm"
_CHECKSUM = "x-amz-checksum-sha256"


@dataclass(frozen=True, slots=True)
class Checksums:
    """The checksums of an object's bytes, hexadecimal."""

    md5: str
    sha256: str

    @classmethod
    def of(cls, data: bytes, *, sha256: str | None = None) -> Self:
        """Compute the checksums of `data`; `sha256` is given if it is known already."""
        return cls(
            hashlib.md5(data, usedforsecurity=False).hexdigest(),
            sha256 or hashlib.sha256(data).hexdigest(),
        )

    @property
    def request_headers(self) -> dict[str, str]:
        """The headers of a PUT by which the storage refuses other bytes."""
        return {
            "Content-MD5": base64.b64encode(bytes.fromhex(self.md5)).decode(),
            "x-amz-content-sha256": self.sha256,
        }

    def match(self, headers: Mapping[str, str]) -> bool | None:
        """Return whether the response to a PUT or HEAD states these checksums.

        False if one differs, None if the response states none.
        """
        claims = []
        if md5 := md5_of(headers):
            claims.append(md5 == self.md5)
        if stated := _sha256_of(headers):
            claims.append(stated == bytes.fromhex(self.sha256))
        return all(claims) if claims else None


def md5_of(headers: Mapping[str, str]) -> str | None:
    """Return the MD5 that the ETag states, in lower case; None if it is not an MD5.

    The ETag is no MD5, although it looks like one, for multipart objects and where the storage
    encrypts with keys of a service or of the customer.
    """
    if headers.get(_ENCRYPTION, "AES256") != "AES256" or _CUSTOMER_KEY in headers:
        return None
    stated = _MD5.fullmatch(headers.get("etag", "").strip())
    return stated[1].lower() if stated else None


def _sha256_of(headers: Mapping[str, str]) -> bytes | None:
    """Return the SHA-256 of the whole object; that of a multipart object ends in `-N`."""
    stated = headers.get(_CHECKSUM, "")
    return base64.b64decode(stated) if stated and "-" not in stated else None
