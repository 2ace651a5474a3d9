"""Signatures of webhooks (Standard Webhooks 1.0) and of image URLs."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from standardwebhooks import Webhook

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


@dataclass(slots=True)
class ImageUrlSigner:
    """Sign image URLs, and check their signatures.

    `keys` are the current secret and earlier ones that still open URLs; `seconds` is how long a URL
    is valid at least, 0 for as long as the image is kept. `replaced_at` is when the current secret
    began to sign (ms).
    """

    seconds: int = 0
    keys: tuple[bytes, ...] = ()
    replaced_at: int = 0

    def can_expire(self, since: int) -> bool:
        """Return whether a URL signed at `since` (ms) or later can end before its image does."""
        return bool(self.seconds) or since < self.replaced_at

    def query(self, job_id: str, *, now_seconds: float) -> str:
        """Return the query of a job's image URL.

        The expiry is rounded up by up to `seconds`, so that the URL stays the same for a while and
        can be cached.
        """
        if not self.seconds:
            return f"signature={_image_signature(self.keys[0], job_id, '')}"
        ends = str((int(now_seconds) // self.seconds + 2) * self.seconds)
        return f"expires={ends}&signature={_image_signature(self.keys[0], job_id, ends)}"

    def holds(self, job_id: str, *, expires: str, signature: str, now_seconds: float) -> bool:
        """Return whether a URL has a valid, unexpired signature for this image.

        `expires` is '' for a URL that does not expire.
        """
        if expires and (not expires.isascii() or not expires.isdigit()):
            return False
        if expires and int(expires) < now_seconds:
            return False
        sent = signature.encode()
        return any(
            hmac.compare_digest(_image_signature(key, job_id, expires).encode(), sent)
            for key in self.keys
        )


def _image_signature(key: bytes, job_id: str, ends: str) -> str:
    text = f"image {job_id} {ends}" if ends else f"image {job_id}"
    digest = hmac.digest(key, text.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def now_utc() -> datetime:
    """Return the time of this host's clock."""
    return datetime.now(UTC)
