"""Signatures of webhooks (Standard Webhooks 1.0) and of image URLs."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

DAY_SECONDS = 86_400


#: Random bytes of a secret; Standard Webhooks requires 24 to 64.
WEBHOOK_SECRET_BYTES = 32


def new_webhook_secret() -> str:
    """Create a random secret: `whsec_…`."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(WEBHOOK_SECRET_BYTES)).decode()


def webhook_headers(
    signing: Sequence[str], *, message_id: str, at: datetime, body: str
) -> dict[str, str]:
    """Sign a webhook with each secret (`whsec_…`); `at` is the time of this attempt (aware, UTC).

    A receiver accepts any of the signatures, so a secret can be replaced without a gap.
    """
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in signing]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def image_query(key: bytes, job_id: str, *, now_seconds: float) -> str:
    """Sign an image URL, valid for one to two days from now.

    The expiry is rounded to the day (UTC), so that the URL stays the same and can be cached.
    """
    ends = (int(now_seconds) // DAY_SECONDS + 2) * DAY_SECONDS
    return f"expires={ends}&signature={_image_signature(key, job_id, ends)}"


def image_query_holds(
    key: bytes, job_id: str, *, expires: str, signature: str, now_seconds: float
) -> bool:
    """Return whether a URL has our valid, unexpired signature for this image."""
    if not expires.isascii() or not expires.isdigit() or int(expires) < now_seconds:
        return False
    right = _image_signature(key, job_id, int(expires))
    return hmac.compare_digest(right.encode(), signature.encode())


def _image_signature(key: bytes, job_id: str, ends: int) -> str:
    digest = hmac.digest(key, f"image {job_id} {ends}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def now_utc() -> datetime:
    """Return the time of this host's clock."""
    return datetime.now(UTC)
