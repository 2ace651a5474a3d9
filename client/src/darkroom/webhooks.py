"""Verify received webhooks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from darkroom.errors import WebhookInvalid
from darkroom.models import ImageFacts, Job, Raw, from_json, job_of

#: What verification raises; the last two for payloads of other programs.
_NOT_DARKROOMS = (
    WebhookVerificationError,
    ValueError,
    LookupError,
    TypeError,
)


@dataclass(frozen=True)
class WebhookEvent:
    """A webhook event. `id` is the same for all attempts: store it to detect duplicates."""

    id: str
    type: str
    at: datetime | None
    data: Raw
    raw: Raw = field(repr=False)

    @property
    def job(self) -> Job[ImageFacts]:
        """The job of a `job.…` event with the full payload."""
        return job_of(self.data, lambda facts: facts)


def verify(body: bytes | str, headers: Mapping[str, str], secret: str) -> WebhookEvent:
    """Verify a webhook and parse it.

    `body` is exactly what was received, `headers` have case-insensitive names, `secret` is the
    tenant's or the endpoint's `whsec_…`. Raise WebhookInvalid for a malformed secret, a wrong
    signature, or one more than five minutes old or in the future.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    verifier = _verifier(secret)
    try:
        verifier.verify(body, lower)
        return _event(lower["webhook-id"], json.loads(body))
    except _NOT_DARKROOMS as error:
        raise WebhookInvalid(f"The webhook is not valid: {error}.") from None


def _verifier(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except (EmptyWebhookSecretError, ValueError) as error:
        raise WebhookInvalid(
            "The secret is not one of a webhook: pass all of it, `whsec_…`, as Darkroom showed it."
        ) from error


def _event(message_id: str, raw: dict[str, Any]) -> WebhookEvent:
    return from_json(WebhookEvent, raw, id=message_id, at=datetime.fromisoformat(raw["timestamp"]))
