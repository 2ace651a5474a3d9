"""For receivers: whether a webhook is Darkroom's, and what it says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from darkroom.errors import WebhookInvalid
from darkroom.models import ImageFacts, Job, Raw, from_json, job_of

#: What the check raises, also for an empty secret; the last two for what is signed and yet another
#: program's.
_NOT_DARKROOMS = (
    WebhookVerificationError,
    EmptyWebhookSecretError,
    ValueError,
    LookupError,
    TypeError,
)


@dataclass(frozen=True)
class WebhookEvent:
    """What a webhook says. `id` is the same over all attempts: keep it to know what you had."""

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
    """Check a webhook and read it.

    `body` is exactly what was received, `headers` have their names in any case, `secret` is the
    tenant's or the endpoint's `whsec_…`. Raises WebhookInvalid for what is not signed by it, and
    for what was signed more than five minutes ago or ahead.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        Webhook(secret).verify(body, lower)
        return _event(lower["webhook-id"], json.loads(body))
    except _NOT_DARKROOMS as error:
        raise WebhookInvalid(f"This is no webhook of Darkroom's: {error}.") from None


def _event(message_id: str, raw: dict[str, Any]) -> WebhookEvent:
    return from_json(WebhookEvent, raw, id=message_id, at=datetime.fromisoformat(raw["timestamp"]))
