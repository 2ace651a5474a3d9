"""Verify the checksums in responses of the storage."""

import base64
import hashlib
import re
from collections.abc import Mapping

_MD5 = re.compile(r'(?:W/)?"?([0-9a-f]{32})"?', re.IGNORECASE)
_ENCRYPTION = "x-amz-server-side-encryption"
_CUSTOMER_KEY = "x-amz-server-side-encryption-customer-algorithm"
_CHECKSUM = "x-amz-checksum-sha256"


def proves(headers: Mapping[str, str], data: bytes, *, sha256: str) -> bool | None:
    """Return whether the response to a PUT or HEAD states the checksums of `data`.

    False if a checksum differs, None if the response states none. `sha256` is that of `data`
    (hexadecimal).
    """
    claims = []
    if md5 := md5_of(headers):
        claims.append(md5 == hashlib.md5(data, usedforsecurity=False).hexdigest())
    if stated := _sha256_of(headers):
        claims.append(stated == bytes.fromhex(sha256))
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
