"""Hashes that recognise a provider answer if it is given to a second job."""

import base64
import hashlib
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from shared.jobs import ProviderResult

#: How many bytes of a hash are kept: of a record or URL, where a collision would refuse a paid
#: image, and of its job.
_HASH_BYTES = 9
_OWNER_BYTES = 6
_IMAGE_NAMES = (".webp", ".jpg", ".jpeg", ".png")
_S3_WITH_BUCKET_IN_PATH = re.compile(r"s3[.-][\w.-]*amazonaws\.com\b", re.IGNORECASE)
#: From this length on, the last segment of a path names one object, even without an extension.
_NAME_CHARACTERS = 16


def identities(job_id: str, answer: ProviderResult) -> str:
    """Return the hashes that `answers.is_repeated` reads: of the job, the record id and the URL."""
    return " ".join((_hash(job_id, _OWNER_BYTES), *(_hash(one) for one in _named(answer))))


def _named(answer: ProviderResult) -> Iterator[str]:
    if answer.record_id:
        yield f"record {answer.record_id}"
    if answer.url:
        yield f"url {_object_of(answer.url)}"


def _object_of(url: str) -> str:
    """Return the object that a URL names: its path, because the query is only a signature.

    S3 serves one object under two hosts, with the bucket in the path or in the host. If the path
    does not look like that of one object, the query may name it, and is kept.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if _S3_WITH_BUCKET_IN_PATH.match(parts.netloc):
        path = f"/{path[1:].partition('/')[2]}"
    name = path.rpartition("/")[2]
    if name.lower().endswith(_IMAGE_NAMES) or len(name) >= _NAME_CHARACTERS:
        return path
    return f"{path}?{parts.query}"


def _hash(text: str, size: int = _HASH_BYTES) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:size]).decode()
