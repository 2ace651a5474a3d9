"""The provider's records: the request, when it is done, and the fault of its downloads."""

import math
import random
import re
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from sandbox.provider.call_log import RequestedImage, now
from sandbox.provider.faults import (
    DownloadStep,
    Echo,
    FailureRecord,
    MissingUrl,
    RepeatRecord,
    RepeatUrl,
    StepBody,
    Stuck,
)
from sandbox.provider.image_rendering import RenderedImage, size_of
from sandbox.provider.validation import GenerateRequest
from shared.model_catalog import CHOSEN_SEED_MAX

#: Beyond it the oldest are dropped; their images then respond 404.
MAX_RECORDS = 200_000
SLUG_CHARACTERS = 40


@dataclass(slots=True)
class Record:
    """A generate call that created a record. `ready_at` is on the monotonic clock, in seconds."""

    id: str
    order: GenerateRequest
    seed: float
    step: StepBody
    ready_at: float
    #: the record of the previous call, which a step can repeat
    earlier: "Record | None" = None
    created_at: str = field(default_factory=now)
    #: the URLs issued for its image, and the downloads of it that met its fault
    issued: int = 0
    faulted: int = 0

    @property
    def request(self) -> RequestedImage:
        """Its entry in the call log."""
        return self.order.request._replace(seed=self.seed)

    @property
    def shown_id(self) -> str:
        """The id that replies show: its own, unless its step shows another."""
        if isinstance(self.step, Echo) and self.step.record_id is not None:
            return self.step.record_id
        return self.earlier.id if self.earlier and isinstance(self.step, RepeatRecord) else self.id

    @property
    def addressed(self) -> "Record":
        """The record whose image the replies link to."""
        return self.earlier if self.earlier and isinstance(self.step, RepeatUrl) else self

    @property
    def status(self) -> str:
        """PROCESSING until it is ready, then SUCCESS or the word for a failure."""
        return "PROCESSING" if time.monotonic() < self.ready_at else self.final_status

    @property
    def age_seconds(self) -> float:
        """Seconds since its image was generated."""
        return time.monotonic() - self.ready_at

    @property
    def final_status(self) -> str:
        """Its final status."""
        return self.step.status if isinstance(self.step, FailureRecord) else "SUCCESS"

    @property
    def image(self) -> RenderedImage:
        """The requested image."""
        model = self.order.definition
        given = model.parameters.defaults | dict(self.order.prompt_object)
        expected = model.expected(given)
        return RenderedImage(
            prompt=given["prompt"],
            seed=self.seed,
            size=size_of(expected),
            format=expected.format or "png",
            quality=round(given.get("output_quality", given.get("output_compression", 80))),
        )

    @property
    def path(self) -> str:
        """The storage key of its image, which ends with the record's id."""
        stamp = re.sub(r"\D", "_", self.created_at.removesuffix("Z"))
        slug = re.sub(r"[^a-z0-9]+", "_", str(self.order.prompt_object["prompt"]).lower())
        slug = slug[:SLUG_CHARACTERS].strip("_") or "image"
        name = f"{stamp}_{slug}_{uuid.UUID(self.id).hex}.{self.image.format}"
        return f"development/images/{name}"

    @property
    def withholds_url(self) -> bool:
        """Whether the next look-up shows no `temporaryUrl`."""
        if not isinstance(self.step, MissingUrl):
            return False
        return self.step.times is None or self.issued < self.step.times

    def download_fault(self) -> DownloadStep | None:
        """Return the fault of one more download, and count it."""
        step = self.step
        if not isinstance(step, DownloadStep) or self.faulted >= (step.times or math.inf):
            return None
        self.faulted += 1
        return step

    def shown(self, status: str, url: str | None) -> dict[str, Any]:
        """Return it in the shape of the provider's document."""
        echo = self.step if isinstance(self.step, Echo) else Echo(fault="echo")
        paths = [self.addressed.path] * (echo.results if status == "SUCCESS" else 0)
        detail: dict[str, Any] = {"promptObject": echo.prompt_object(self.order.prompt_object)}
        detail["resultObject"] = paths
        if isinstance(self.step, FailureRecord) and status == self.step.status:
            detail["errorMessage"] = self.step.message
        shown = {
            "uuid": self.shown_id,
            "model": echo.model or self.order.model,
            "type": self.order.definition.feature,
            "status": status,
            "createdAt": self.created_at,
            "aiRecordDetail": detail,
        }
        return shown if url is None else shown | {"temporaryUrl": url}


class Records:
    """Keep the latest records in memory."""

    def __init__(self, max_kept: int = MAX_RECORDS) -> None:
        """Keep the latest `max_kept` records."""
        self._kept = max_kept
        self._by_id: OrderedDict[str, Record] = OrderedDict()

    def make(self, order: GenerateRequest, step: StepBody, latency_seconds: float) -> Record:
        """Create the record of a request; choose a seed if none was sent."""
        seed = order.seed
        if seed is None:
            seed = random.randint(0, CHOSEN_SEED_MAX)  # noqa: S311  an image, not a secret
        ready_at, earlier = _ready_at(step, latency_seconds), self._repeated_by(step)
        record = Record(str(uuid.uuid4()), order, seed, step, ready_at, earlier)
        self._by_id[record.id] = record
        if len(self._by_id) > self._kept:
            self._by_id.popitem(last=False)
        return record

    def _repeated_by(self, step: StepBody) -> Record | None:
        """Return the record that a step repeats: the latest, or the one that it repeats itself."""
        if not isinstance(step, RepeatRecord | RepeatUrl) or not self._by_id:
            return None
        latest = next(reversed(self._by_id.values()))
        return latest.earlier or latest if isinstance(latest.step, type(step)) else latest

    def find(self, record_id: str) -> Record | None:
        """Find a record by its id."""
        return self._by_id.get(record_id)

    def at_path(self, path: str) -> Record | None:
        """Find the record whose image has this storage key."""
        ending = re.search(r"_([0-9a-f]{32})\.\w+$", path)
        record = self.find(str(uuid.UUID(ending[1]))) if ending else None
        return record if record is not None and record.path == path else None


def _ready_at(step: StepBody, latency_seconds: float) -> float:
    if isinstance(step, Stuck):
        return math.inf if step.seconds is None else time.monotonic() + step.seconds
    return time.monotonic() + latency_seconds
