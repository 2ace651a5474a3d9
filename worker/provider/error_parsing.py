"""Parse error replies of 1min.ai: leniently, because their shapes are not documented.

Nothing here judges; `worker.provider.responses` has the table of what refusals mean.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from shared.printable import printable

#: How many characters of the provider's own message are shown.
QUOTED_CHARACTERS = 300
#: How much of a body is searched for operators, and how much of it they see.
_EVIDENCE_BYTES = 65_536
_EVIDENCE_HEAD, _EVIDENCE_TAIL = 160, 120
#: The longest wait that the provider may ask for, in seconds.
RETRY_AFTER_SECONDS_MAX = 600.0

#: What JSON may escape of the characters that start the query of a URL.
_ESCAPED = {"\\/": "/", "\\u002f": "/", "\\u002F": "/", "\\u003f": "?", "\\u003F": "?"}
#: The provider's advice to retry, which is removed because `retryable` says that. "Try again with
#: another prompt" stays, because it names a change.
_ADVICE = re.compile(
    r"""[\s,;:-]{0,3}\b(?:(?:and|or|so|but)\s+)?
    (?:(?:please|kindly|you\ (?:can|may|could|should))\s+)*
    (?:(?:re)?try(?:ing)?(?:\ (?:it|this|that|(?:your|the)\ request))?\ (?:again|later)
    |(?:please|kindly)\ re-?try)\b
    (?!\ (?:with|using)\b)(?:[^.!?;]|\.(?=\d))*[.!?]*""",
    re.IGNORECASE | re.VERBOSE,
)
_URL_QUERY = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: `headers` by lower-case name, `body` cut at the limit of the reader.

    `is_whole` is False if the connection broke before the end of the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True

    @property
    def is_success(self) -> bool:
        """Whether the provider accepted the request."""
        return 200 <= self.status < 300  # noqa: PLR2004  the statuses of success


@dataclass(frozen=True, slots=True)
class Refusal:
    """A parsed error reply: `code` in capitals, `message` as shown, `words` for matching.

    `inner_status` is the HTTP status that a "busy" message contains in its details.
    """

    status: int
    code: str
    message: str
    words: str
    inner_status: int | None
    retry_after: float | None


def parse_error(reply: Reply) -> Refusal:
    """Parse an error reply as far as possible; HTML and noise leave only the status."""
    fields = parsed(reply.body)
    error = fields.get("error")
    fields = {**fields, **error} if isinstance(error, dict) else fields
    inner = _inner_response(fields.get("details"))
    outside = _sentences(fields.get("message"))
    message = _message_inside(inner) or _fields(fields.get("details")) or outside
    return Refusal(
        status=reply.status,
        code=_code(fields),
        message=message,
        words=f"{outside} {message}".lower(),
        inner_status=_integer(inner.get("status")),
        retry_after=requested_wait(reply.headers),
    )


def _code(fields: Mapping[str, Any]) -> str:
    for name in ("errorCode", "code", "name", "error"):
        if isinstance(fields.get(name), str):
            return str(fields[name]).upper()
    return ""


def _inner_response(details: object) -> Mapping[str, Any]:
    fields = loose(details)
    response = fields.get("response") if isinstance(fields, dict) else None
    return response if isinstance(response, dict) else {}


def _message_inside(inner: Mapping[str, Any]) -> str:
    data = loose(inner.get("data"))
    if isinstance(data, dict):
        return _sentences(data.get("message") or data.get("detail") or data.get("error"))
    return text(data)


def _sentences(message: object) -> str:
    """Return a message, which may be a list of sentences."""
    if isinstance(message, list):
        return "; ".join(filter(None, map(text, message)))
    return text(message)


def _fields(details: object) -> str:
    fields = loose(details)
    if not isinstance(fields, list):
        return ""
    faults = [fault for fault in fields if isinstance(fault, dict)]
    return "; ".join(f"{text(f.get('field'))}: {text(f.get('message'))}" for f in faults)


def loose(value: object) -> object:
    """Parse what may be JSON inside a string."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def only(value: object) -> object:
    """Return the only value of a list; anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def parsed(body: bytes) -> dict[str, Any]:
    """Parse a JSON object, or the only one of a list; anything else is an empty one.

    Characters that JSON forbids do not make a paid answer unreadable.
    """
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = _leniently(body)
    fields = only(fields)
    return fields if isinstance(fields, dict) else {}


def _leniently(body: bytes) -> object:
    """Parse JSON that violates RFC 8259.

    With a byte order mark, in UTF-16, with raw control characters, lone surrogates, invalid UTF-8,
    integers of thousands of digits, or trailing data.
    """
    try:
        written = body.decode(json.detect_encoding(body), "replace").replace("\0", "")
        return _DECODER.raw_decode(written.lstrip("\ufeff \t\r\n"))[0]
    except (ValueError, RecursionError):
        return None


#: Python refuses to parse longer integers; none used here has more than 20 digits.
_DIGITS_MAX = 4000
_DECODER = json.JSONDecoder(
    strict=False, parse_int=lambda digits: int(digits) if len(digits) < _DIGITS_MAX else 0
)


def requested_wait(
    headers: Mapping[str, str], *, most: float = RETRY_AFTER_SECONDS_MAX
) -> float | None:
    """Return the seconds that a response asks to wait, by the clock of its sender; at most `most`.

    `headers` are by lower-case name. Their `Date` has the sender's time: ours may be hours off.
    """
    now = _moment(headers.get("date", "")) or datetime.now(UTC)
    return retry_after(headers.get("retry-after"), now=now, most=most)


def retry_after(
    written: str | None, *, now: datetime, most: float = RETRY_AFTER_SECONDS_MAX
) -> float | None:
    """Parse a Retry-After header, seconds or a date, as seconds from `now`; at most `most`.

    Of several headers, which arrive as a list, the first counts.
    """
    if written is None:
        return None
    seconds = number(written.split(", ")[0].strip())
    if seconds is None and (moment := _moment(written)):
        seconds = moment.timestamp() - now.timestamp()
    return None if seconds is None else min(max(seconds, 0.0), most)


def _moment(written: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(written)
    except (ValueError, OverflowError):  # the latter for a year with many digits
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def number(written: str) -> float | None:
    """Parse a number that may have thousands separators; None if it is malformed."""
    digits = written.replace(",", "").rstrip(".")
    return float(digits) if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", digits) else None


def _integer(value: object) -> int | None:
    """Return an integer, also one that is written as a text."""
    read = loose(value)
    return read if isinstance(read, int) and not isinstance(read, bool) else None


def text(value: object) -> str:
    """Return the printable characters of a text, and nothing of anything else."""
    return printable(value) if isinstance(value, str) else ""


def excerpt(reply: Reply, *, secret: str) -> str:
    """Cut a reply to what operators see of it: its status, and both ends of its body.

    A failed record repeats the whole prompt before it says what went wrong.
    """
    # before anything is searched: a control character could hide what must be removed
    body = printable(reply.body[:_EVIDENCE_BYTES].decode(errors="replace"))
    for escaped, plain in _ESCAPED.items():
        body = body.replace(escaped, plain)
    line = _one_line(body.replace(secret, "***") if secret else body)
    if len(line) > QUOTED_CHARACTERS:
        line = f"{line[:_EVIDENCE_HEAD]} … {line[-_EVIDENCE_TAIL:]}"
    return f"status {reply.status}: {line}"


def quote(theirs: str) -> str:
    """Cut the provider's message to what may be shown.

    One line, without the query of a URL and without advice to retry.
    """
    line = _without_advice(_one_line(theirs))
    return line if len(line) <= QUOTED_CHARACTERS else f"{line[: QUOTED_CHARACTERS - 1]}…"


def _without_advice(line: str) -> str:
    without_advice = _ADVICE.sub(lambda found: "" if not found.start() else ".", line).strip()
    return re.sub(r"([.!?])\.+", r"\1", without_advice)


def _one_line(theirs: str) -> str:
    return " ".join(_URL_QUERY.sub(r"\1?…", printable(theirs)).split())
