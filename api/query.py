"""Query models, the types of their fields, and cursors."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import CoreSchema
from starlette.datastructures import QueryParams
from starlette.requests import Request

from api.headers import WAIT_SECONDS_MAX
from api.problems import FieldError, Problem, invalid, pointer
from shared.errors import ErrorCode
from shared.ids import is_job_id
from shared.jobs import Status
from shared.model_catalog import SEED_MAX
from shared.words import words

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Reader = Callable[[str], T]

#: An RFC 3339 time: date and time to the minute, seconds, and offset.
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2})"
    r"(?::([0-9]{2})(?:\.([0-9]+))?)?([Zz]|[+ -][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAP_SECOND = "60"
_MILLISECOND = timedelta(milliseconds=1)
TEXT_CHARACTERS = 200
#: What one search may ask for: words of the prompt, and pairs of metadata.
WANTED_WORDS_MAX = 20
WANTED_PAIRS_MAX = 10
METADATA_NAME_CHARACTERS = 64
METADATA_VALUE_CHARACTERS = 512
#: How the parameters begin that name a pair of metadata.
METADATA_PREFIX = "metadata."
LIMIT_DEFAULT = 50
LIMIT_MAX = 200


class _Repeated(str):
    """The value of a parameter that was sent more than once."""

    __slots__ = ()


class _StrictParams(QueryParams):
    """Query parameters that mark those sent twice."""

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401  as Starlette has it
        values = self.getlist(key)
        return _Repeated(values[-1]) if len(values) > 1 else super().get(key, default)


class StrictRequest(Request):
    """A request whose query is validated strictly."""

    @property
    def query_params(self) -> QueryParams:
        """Return the query, with repeated parameters marked."""
        return _StrictParams(self.scope["query_string"])


class QueryModel(BaseModel):
    """The query of a route: unknown and repeated parameters are refused, and every fault is named.

    Its fields use the types below, so that messages are the same everywhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _once(cls, value: object) -> object:
        if isinstance(value, _Repeated):
            raise ValueError("is given twice")  # noqa: TRY004  pydantic takes no other
        return value


def query_problem(error: RequestValidationError, known: Sequence[str]) -> Problem:
    """Return the problem of an invalid query; `known` are the parameters of its route."""
    faults = []
    for one in error.errors():
        is_unknown = one["type"] == "extra_forbidden"
        message = unknown_message(known) if is_unknown else _message(one)
        faults.append(FieldError(pointer(*_parameter(*one["loc"])), message))
    return invalid(faults)


def _parameter(place: str, *names: str) -> tuple[str, ...]:
    """Return where a fault is: a pair of metadata is a parameter of its own."""
    if len(names) > 1 and f"{names[0]}." == METADATA_PREFIX:
        return place, f"{METADATA_PREFIX}{names[1]}"
    return (place, *names)


def unknown_message(known: Sequence[str]) -> str:
    """Return the message for an unknown parameter; `known` are the valid ones."""
    return f"is unknown; known: {', '.join(known) or 'none'}"


def _message(error: Mapping[str, Any]) -> str:
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else str(error["msg"])


def integer(least: int, most: int) -> Reader[int]:
    """Parse an integer within a range."""

    def read(written: str) -> int:
        if not re.fullmatch(r"[0-9]{1,16}", written) or not least <= int(written) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(written)

    return read


def enum_member(members: type[E]) -> Reader[E]:
    """Parse a value of an enumeration."""

    def read(written: str) -> E:
        try:
            return members(written)
        except ValueError:
            names = ", ".join(member.value for member in members)
            raise ValueError(f"must be one of: {names}") from None

    return read


def query_words(written: str) -> str:
    """Check that a text has words to search for, and not too many; return it unchanged."""
    if not 0 < len(words(text(written))) <= WANTED_WORDS_MAX:
        raise ValueError(f"must have 1 to {WANTED_WORDS_MAX} words of letters or digits")
    return written


def metadata_name(written: str) -> str:
    """Parse the name of a pair of metadata."""
    if not 0 < len(written) <= METADATA_NAME_CHARACTERS:
        raise ValueError(f"must name 1 to {METADATA_NAME_CHARACTERS} characters after `metadata.`")
    return written


def metadata_value(written: str | Sequence[str]) -> str:
    """Parse the value of a pair of metadata: a list is one that was sent more than once."""
    if not isinstance(written, str):
        raise ValueError("is given twice")  # noqa: TRY004  pydantic takes no other
    if len(written) > METADATA_VALUE_CHARACTERS:
        raise ValueError(f"must have at most {METADATA_VALUE_CHARACTERS} characters")
    return written


def metadata_pairs(given: object) -> object:
    """Refuse a parameter `metadata` without a name, and too many pairs."""
    if not isinstance(given, Mapping):
        raise ValueError("must be written as `metadata.<name>=<value>`")  # noqa: TRY004
    if len(given) > WANTED_PAIRS_MAX:
        raise ValueError(f"must have at most {WANTED_PAIRS_MAX} pairs")
    return given


def with_metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the parameters `metadata.<name>` of a query in one member."""
    pairs = {name: value for name, value in given.items() if name.startswith(METADATA_PREFIX)}
    others = {name: value for name, value in given.items() if name not in pairs}
    own = {name.removeprefix(METADATA_PREFIX): value for name, value in pairs.items()}
    return {"metadata": own, **others} if own else others


def text(written: str) -> str:
    """Parse a text that is neither empty nor too long."""
    if not 0 < len(written) <= TEXT_CHARACTERS:
        raise ValueError(f"must have 1 to {TEXT_CHARACTERS} characters")
    if "\0" in written:
        raise ValueError("must not contain the character U+0000")  # PostgreSQL has no text with it
    return written


def milliseconds(written: str) -> int:
    """Parse an RFC 3339 time to milliseconds since 1970; finer digits are cut.

    A `+` decoded as a space is accepted, and a leap second counts as the second before it. A time
    whose year in UTC is not 1 to 9999 is refused, because no response could show it.
    """
    found = _MOMENT.fullmatch(written)
    try:
        if found:
            return _milliseconds(*found.groups())
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a time such as 2026-01-31T12:00:00Z")


def _milliseconds(minute: str, seconds: str | None, fraction: str | None, offset: str) -> int:
    is_leap = seconds == _LEAP_SECOND
    seconds = "59" if is_leap else seconds or "00"
    zone = offset.upper().replace(" ", "+")
    moment = datetime.fromisoformat(f"{minute.replace('t', 'T')}:{seconds}{zone}")
    if is_leap and moment.astimezone(UTC).strftime("%H:%M") != "23:59":
        raise ValueError
    utc = moment.astimezone(UTC)  # raises OverflowError outside of the years 1 to 9999
    return (utc - _EPOCH) // _MILLISECOND + int(f"{fraction or '':0<3.3}")


def encode_cursor(cursor: str) -> str:
    """Encode where a page ended as an opaque cursor."""
    return base64.urlsafe_b64encode(cursor.encode()).rstrip(b"=").decode()


def decode_cursor(written: str) -> str:
    """Decode a cursor; return empty text if it is malformed."""
    padded = written + "=" * (-len(written) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def flag(written: str) -> bool:
    """Parse 1 or 0."""
    if written not in {"0", "1"}:
        raise ValueError("must be 1 or 0")
    return written == "1"


def cursor_of(is_one: Callable[[str], object]) -> Reader[str]:
    """Parse a cursor of a list whose pages end in what `is_one` accepts."""

    def read(written: str) -> str:
        last = decode_cursor(written)
        if not is_one(last):
            raise ValueError("is not a valid cursor of this list")
        return last

    return read


def is_given(read: Reader[Any]) -> BeforeValidator:
    """Parse what was sent; a default stays as it is."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def is_readable(read: Reader[Any]) -> BeforeValidator:
    """Check that a value can be parsed, and leave it unchanged.

    FastAPI would take a tuple, the type of some cursors, for a parameter that may be repeated.
    """

    def check(written: str) -> str:
        read(written)
        return written

    return is_given(check)


class _Optional:
    """Describes an optional parameter: None means absent and cannot be sent."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        given = [one for one in described.pop("anyOf", ()) if one != {"type": "null"}]
        return {**described, **(given[0] if given else {})}


OPTIONAL = _Optional()
_STRING = WithJsonSchema({"type": "string"})
_MOMENT_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time"})

Text = Annotated[str | None, is_given(text), OPTIONAL]
#: Milliseconds since 1970.
Moment = Annotated[int | None, is_given(milliseconds), _MOMENT_SCHEMA]
Seed = Annotated[
    Annotated[int, Field(ge=0, le=SEED_MAX)] | None,
    is_given(integer(0, SEED_MAX)),
    OPTIONAL,
    Field(description="Only with this seed"),
]
Words = Annotated[
    str | None,
    is_given(query_words),
    OPTIONAL,
    Field(description="Only with all these words in the prompt, in any order and case"),
]
_PAIRS_SCHEMA = WithJsonSchema(
    {
        "type": "object",
        "patternProperties": {
            rf"^metadata\..{{1,{METADATA_NAME_CHARACTERS}}}$": {
                "type": "string",
                "maxLength": METADATA_VALUE_CHARACTERS,
            }
        },
        "additionalProperties": False,
        "maxProperties": WANTED_PAIRS_MAX,
    }
)
Pairs = Annotated[
    dict[
        Annotated[str, BeforeValidator(metadata_name)],
        Annotated[str, BeforeValidator(metadata_value)],
    ],
    BeforeValidator(metadata_pairs),
    _PAIRS_SCHEMA,
    Field(description="Only with these pairs, each written as `metadata.<name>=<value>`"),
]
Wait = Annotated[
    Annotated[int, Field(ge=1, le=WAIT_SECONDS_MAX)] | None,
    is_given(integer(1, WAIT_SECONDS_MAX)),
    OPTIONAL,
]
Flag = Annotated[bool, is_given(flag), WithJsonSchema({"type": "integer", "enum": [0, 1]})]
JobCursor = Annotated[
    str | None,
    is_given(cursor_of(is_job_id)),
    _STRING,
    Field(description="`next_cursor` of the page before"),
]
WantedStatus = Annotated[
    Status | None, is_given(enum_member(Status)), OPTIONAL, Field(description="Only these")
]
WantedError = Annotated[
    ErrorCode | None, is_given(enum_member(ErrorCode)), OPTIONAL, Field(description="Only these")
]
Limit = Annotated[
    int,
    Field(ge=1, le=LIMIT_MAX, description="Entries on the page"),
    is_given(integer(1, LIMIT_MAX)),
]
