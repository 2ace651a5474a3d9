"""Every step that a script can hold: what one generate call, and its downloads, will meet.

A step is `"ok"` or an object whose `fault` names it. `paid` tells whether the call made an image
that the team is billed for; the steps of a download always have.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Bytes = Annotated[int, Field(ge=0, le=100_000_000_000)]
Side = Annotated[int, Field(ge=1, le=4096)]
HttpStatus = Annotated[int, Field(ge=200, le=599)]


class StepBody(BaseModel):
    """What every step may say. `latency_seconds` goes before the general one, for this call."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: Whether the call made, and billed, an image where the step has no `paid` of its own.
    makes: ClassVar[bool] = True

    latency_seconds: Seconds | None = None

    @property
    def name(self) -> str:
        """The word for it, as in `fault`."""
        return str(getattr(self, "fault", ""))

    @property
    def is_paid(self) -> bool:
        """Whether the call made an image that is billed."""
        return bool(getattr(self, "paid", self.makes))


class Ok(StepBody):
    """Nothing goes wrong."""

    fault: Literal["ok"] = "ok"


class Status(StepBody):
    """Refuse with an HTTP status; `code`, `message` and `details` replace the usual ones."""

    makes = False
    fault: Literal["status"]
    status: Annotated[int, Field(ge=400, le=599)]
    retry_after: Annotated[float, Field(ge=0)] | str | None = None
    code: str | None = None
    message: str | None = None
    details: JsonValue = None
    required: int = 105
    available: int = 35


class MisleadingBusy(StepBody):
    """Say "busy" over what the model's host said: `status` and `message` inside `details`."""

    makes = False
    fault: Literal["misleading_busy"]
    status: Annotated[int, Field(ge=100, le=599)] = 400
    message: str = "The size does not match the allowed size."
    details: bool = True


class MadeBut522(StepBody):
    """Make and bill the image, then lose the reply to the gateway's page."""

    fault: Literal["made_but_522"]
    status: Literal[504, 520, 522, 524] = 522


class Hang(StepBody):
    """Say nothing for `seconds`, then answer well; unpaid: then answer with the 504 page."""

    fault: Literal["hang"]
    seconds: Seconds = 30
    paid: bool = True


class Drop(StepBody):
    """Close the connection without a reply; `reset` sends a TCP reset."""

    fault: Literal["drop"]
    paid: bool = True
    reset: bool = False


class Malformed(StepBody):
    """Answer 200 with JSON that is cut in the middle."""

    fault: Literal["malformed"]
    paid: bool = True


class Empty(StepBody):
    """Answer 200 with no body."""

    fault: Literal["empty"]
    paid: bool = True


class HugeReply(StepBody):
    """Answer 200 with JSON of this many bytes, streamed."""

    fault: Literal["huge_reply"]
    bytes: Bytes = 100_000_000
    paid: bool = True


class FailureRecord(StepBody):
    """Answer 200 with a record that failed."""

    makes = False
    fault: Literal["failure_record"]
    status: str = "FAILURE"
    message: str = "The generation failed. Please try again."


class MissingUrl(StepBody):
    """Answer with a good record that lacks `temporaryUrl`: the first `times` of it, or always."""

    fault: Literal["missing_url"]
    times: Annotated[int, Field(ge=1)] | None = None


class Stuck(StepBody):
    """Leave the record at PROCESSING for `seconds` (for ever without), synchronous calls too."""

    fault: Literal["stuck"]
    seconds: Seconds | None = None


class Url(StepBody):
    """Give another `temporaryUrl`: this `url`, or ours on another `host`, or ours at the `top`."""

    fault: Literal["url"]
    url: str | None = None
    host: str | None = None
    place: Literal["record", "top"] = "record"

    @model_validator(mode="after")
    def _not_both(self) -> "Url":
        if self.url is not None and self.host is not None:
            raise ValueError("url and host exclude each other")
        return self


class Echo(StepBody):
    """Show another prompt, seed, model or record id than the call had, or several `results`."""

    fault: Literal["echo"]
    prompt: str | None = None
    seed: JsonValue = None
    model: str | None = None
    record_id: str | None = None
    results: Annotated[int, Field(ge=0, le=100)] = 1

    def prompt_object(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `promptObject` that the record shows."""
        others = {"prompt": self.prompt, "seed": self.seed}
        return {**sent, **{name: value for name, value in others.items() if value is not None}}


class RepeatRecord(StepBody):
    """Show the record id of the call before, beside an address of the right image."""

    fault: Literal["repeat_record"]


class RepeatUrl(StepBody):
    """Give an address of the image of the call before."""

    fault: Literal["repeat_url"]


class DownloadStep(StepBody):
    """A fault of the downloads of this record: the first `times` of them, or all."""

    times: Annotated[int, Field(ge=1)] | None = None


class UrlExpired(DownloadStep):
    """The first address given has expired (403); a fresh look-up of the record gives a good one."""

    fault: Literal["url_expired"]


class DownloadStatus(DownloadStep):
    """The storage answers with a status and its XML."""

    fault: Literal["download_status"]
    status: Annotated[int, Field(ge=400, le=599)] = 404


class Truncated(DownloadStep):
    """Promise the whole length, send `bytes` (half without), close."""

    fault: Literal["truncated"]
    bytes: Bytes | None = None


class WrongLength(DownloadStep):
    """Declare `declared` bytes (half without), send all of them."""

    fault: Literal["wrong_length"]
    declared: Bytes | None = None


class Html(DownloadStep):
    """Answer 200 with a page."""

    fault: Literal["html"]


class Huge(DownloadStep):
    """Send the image and then zeros up to `bytes`; `declare` tells the length before."""

    fault: Literal["huge"]
    bytes: Bytes = 200_000_000
    declare: bool = True


class SlowDrip(DownloadStep):
    """Send `bytes` each `seconds`."""

    fault: Literal["slow_drip"]
    bytes: Annotated[int, Field(ge=1)] = 1
    seconds: Annotated[float, Field(gt=0, le=3600)] = 0.5


class WrongFormat(DownloadStep):
    """Send another format: `format`, or png (jpg where png was asked for)."""

    fault: Literal["wrong_format"]
    format: Literal["webp", "jpg", "png"] | None = None


class Black(DownloadStep):
    """Send one flat colour of the right size and format."""

    fault: Literal["black"]


class WrongSize(DownloadStep):
    """Send an image of another size; half of each side where `width` or `height` is missing."""

    fault: Literal["wrong_size"]
    width: Side | None = None
    height: Side | None = None


class GzipBomb(DownloadStep):
    """Send a few kilobytes, `Content-Encoding: gzip`, that unpack to `bytes` of zeros."""

    fault: Literal["gzip_bomb"]
    bytes: Annotated[int, Field(ge=1, le=10_000_000_000)] = 500_000_000


class PixelBomb(DownloadStep):
    """Send a small, valid png of so many pixels."""

    fault: Literal["pixel_bomb"]
    width: Annotated[int, Field(ge=1, le=200_000)] = 60_000
    height: Annotated[int, Field(ge=1, le=200_000)] = 60_000


class Redirect(DownloadStep):
    """Redirect to `location`."""

    fault: Literal["redirect"]
    location: str
    status: Literal[301, 302, 303, 307, 308] = 302


def _spelt_out(value: object) -> object:
    return {"fault": "ok"} if value == "ok" else value


Step = Annotated[
    Ok
    | Status
    | MisleadingBusy
    | MadeBut522
    | Hang
    | Drop
    | Malformed
    | Empty
    | HugeReply
    | FailureRecord
    | MissingUrl
    | Stuck
    | Url
    | Echo
    | RepeatRecord
    | RepeatUrl
    | UrlExpired
    | DownloadStatus
    | Truncated
    | WrongLength
    | Html
    | Huge
    | SlowDrip
    | WrongFormat
    | Black
    | WrongSize
    | GzipBomb
    | PixelBomb
    | Redirect,
    Field(discriminator="fault"),
    BeforeValidator(_spelt_out),
]


def written(step: StepBody) -> str | dict[str, Any]:
    """Write a step as it was sent: `"ok"`, or the object without what was left out."""
    body = {"fault": step.name} | step.model_dump(exclude_unset=True)
    return "ok" if body == {"fault": "ok"} else body
