"""Signed image URLs with an expiry."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "expired", "tampered"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Sign and check URLs. `lifetime` is in seconds; `secret` is the HMAC key."""

    secret: bytes
    lifetime: float

    def sign(self, base_url: str, path: str, issue: int) -> str:
        """Return the URL of an image at `base_url`; `issue` counts those issued of it."""
        expires = f"{time.time() + self.lifetime:.3f}"
        signature = self._signature(path, expires, str(issue))
        return (
            f"{base_url}/assets/{path}?X-Expires={expires}&X-Issue={issue}&X-Signature={signature}"
        )

    def judge(self, path: str, query: Mapping[str, str]) -> Verdict:
        """Return whether a URL may be served."""
        expires, issue = query.get("X-Expires", ""), query.get("X-Issue", "")
        wanted = self._signature(path, expires, issue)
        if not hmac.compare_digest(wanted.encode(), query.get("X-Signature", "").encode()):
            return "tampered"
        return "ok" if float(expires) >= time.time() else "expired"

    def _signature(self, path: str, expires: str, issue: str) -> str:
        signed = f"{path}\n{expires}\n{issue}".encode(errors="replace")
        return hmac.new(self.secret, signed, hashlib.sha256).hexdigest()
