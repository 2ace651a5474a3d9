"""All steps of a script: what one generate call, and its downloads, will get.

A step is `"ok"` or an object whose `fault` names it. `paid` is whether the call generated an image
that is billed; the steps of a download always have.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Bytes = Annotated[int, Field(ge=0, le=100_000_000_000)]
Side = Annotated[int, Field(ge=1, le=4096)]
HttpStatus = Annotated[int, Field(ge=200, le=599)]


class StepBody(BaseModel):
    """Members of every step. `latency_seconds` overrides the general one, for this call."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: Whether the call generated and billed an image, if the step has no `paid` of its own.
    makes: ClassVar[bool] = True

    latency_seconds: Seconds | None = None

    @property
    def name(self) -> str:
        """Its name, as in `fault`."""
        return str(getattr(self, "fault", ""))

    @property
    def is_paid(self) -> bool:
        """Whether the call generated an image that is billed."""
        return bool(getattr(self, "paid", self.makes))


class Ok(StepBody):
    """No fault."""

    fault: Literal["ok"] = "ok"


class Status(StepBody):
    """Refuse with an HTTP status; `code`, `message` and `details` replace the default ones."""

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
    """Report "busy" with the model host's reply: `status` and `message` inside `details`."""

    makes = False
    fault: Literal["misleading_busy"]
    status: Annotated[int, Field(ge=100, le=599)] = 400
    message: str = "The size does not match the allowed size."
    details: bool = True


class MadeBut522(StepBody):
    """Generate and bill the image, then lose the reply to the gateway's page."""

    fault: Literal["made_but_522"]
    status: Literal[504, 520, 522, 524] = 522


class Hang(StepBody):
    """Stay silent for `seconds`, then reply normally; unpaid: then reply with the 504 page."""

    fault: Literal["hang"]
    seconds: Seconds = 30
    paid: bool = True


class Drop(StepBody):
    """Close the connection without a reply; `reset` sends a TCP reset."""

    fault: Literal["drop"]
    paid: bool = True
    reset: bool = False


class Malformed(StepBody):
    """Reply 200 with JSON that is cut in the middle."""

    fault: Literal["malformed"]
    paid: bool = True


class Empty(StepBody):
    """Reply 200 without a body."""

    fault: Literal["empty"]
    paid: bool = True


class HugeReply(StepBody):
    """Reply 200 with JSON of this many bytes, streamed."""

    fault: Literal["huge_reply"]
    bytes: Bytes = 100_000_000
    paid: bool = True


class FailureRecord(StepBody):
    """Reply 200 with a failed record."""

    makes = False
    fault: Literal["failure_record"]
    status: str = "FAILURE"
    message: str = "The generation failed. Please try again."


class MissingUrl(StepBody):
    """Reply with a successful record without `temporaryUrl`: the first `times` times, or always."""

    fault: Literal["missing_url"]
    times: Annotated[int, Field(ge=1)] | None = None


class Stuck(StepBody):
    """Keep the record at PROCESSING for `seconds` (forever without), synchronous calls too."""

    fault: Literal["stuck"]
    seconds: Seconds | None = None


class Url(StepBody):
    """Return another `temporaryUrl`: this `url`, ours on another `host`, or ours at the `top`."""

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
    """Show the record id of the previous call, with the URL of the right image."""

    fault: Literal["repeat_record"]


class RepeatUrl(StepBody):
    """Return the URL of the previous call's image."""

    fault: Literal["repeat_url"]


class DownloadStep(StepBody):
    """A fault of the downloads of this record: the first `times` of them, or all."""

    times: Annotated[int, Field(ge=1)] | None = None


class UrlExpired(DownloadStep):
    """The first URL has expired (403); a new look-up of the record returns a valid one."""

    fault: Literal["url_expired"]


class DownloadStatus(DownloadStep):
    """The storage responds with a status and its XML."""

    fault: Literal["download_status"]
    status: Annotated[int, Field(ge=400, le=599)] = 404


class Truncated(DownloadStep):
    """Declare the whole length, send `bytes` (half by default), close."""

    fault: Literal["truncated"]
    bytes: Bytes | None = None


class WrongLength(DownloadStep):
    """Declare `declared` bytes (half by default), send all of them."""

    fault: Literal["wrong_length"]
    declared: Bytes | None = None


class Html(DownloadStep):
    """Respond 200 with an HTML page."""

    fault: Literal["html"]


class Huge(DownloadStep):
    """Send the image and then zeros up to `bytes`; `declare` announces the length."""

    fault: Literal["huge"]
    bytes: Bytes = 200_000_000
    declare: bool = True


class SlowDrip(DownloadStep):
    """Send `bytes` every `seconds`."""

    fault: Literal["slow_drip"]
    bytes: Annotated[int, Field(ge=1)] = 1
    seconds: Annotated[float, Field(gt=0, le=3600)] = 0.5


class WrongFormat(DownloadStep):
    """Send another format: `format`, or png (jpg if png was requested)."""

    fault: Literal["wrong_format"]
    format: Literal["webp", "jpg", "png"] | None = None


class Black(DownloadStep):
    """Send one flat colour of the right size and format."""

    fault: Literal["black"]


class WrongSize(DownloadStep):
    """Send an image of another size; half of each side without `width` or `height`."""

    fault: Literal["wrong_size"]
    width: Side | None = None
    height: Side | None = None


class GzipBomb(DownloadStep):
    """Send a few kilobytes, `Content-Encoding: gzip`, that expand to `bytes` of zeros."""

    fault: Literal["gzip_bomb"]
    bytes: Annotated[int, Field(ge=1, le=10_000_000_000)] = 500_000_000


class PixelBomb(DownloadStep):
    """Send a small, valid png of this many pixels."""

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
    """Write a step as it was sent: `"ok"`, or the object without missing members."""
    body = {"fault": step.name} | step.model_dump(exclude_unset=True)
    return "ok" if body == {"fault": "ok"} else body
