"""Parse JSON bodies; an unreadable value is reported with its path, like any other fault."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.context import Context
from api.jobs.validation_errors import field_errors, pointer_of
from api.problems import REF, FieldError, Problem, invalid
from shared.model_catalog import FAULTS_MAX
from shared.settings import Settings

M = TypeVar("M", bound=BaseModel)
Path_ = tuple[str | int, ...]

JSON = "application/json"
_JSON_ONLY = {JSON: JSON}
_PLAIN = "identity"
#: RFC 8259 section 8.1 allows a reader to ignore it.
BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NO_TEXT = "is not valid Unicode: it has half of a surrogate pair, or bytes that are not UTF-8"
_TOO_LARGE = "is too large"
#: Replaces integers with more digits than Python parses.
_HUGE = object()
#: How many values of an unreadable body are searched; no valid body has more.
_MEMBERS_SEARCHED = 1000
_VALUES_SEARCHED = 10_000


def require_json(request: Request) -> None:
    """Refuse a body whose media type is neither JSON nor absent."""
    require_media(request, _JSON_ONLY)


def require_media(request: Request, accepted: Mapping[str, str]) -> str:
    """Return the media type of the body; refuse unsupported and compressed ones.

    `accepted` maps accepted names to types.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in accepted:
        types = tuple(dict.fromkeys(accepted.values()))
        raise Problem(
            "unsupported_media_type",
            f"Send the body as {' or '.join(types)}.",
            headers={"Accept-Post": ", ".join(types)},
        )
    encodings = ",".join(request.headers.getlist("content-encoding")).split(",")
    # a list may have empty elements (RFC 9110, 5.6.1)
    if not {encoding.strip().lower() for encoding in encodings} <= {_PLAIN, ""}:
        raise Problem(
            "unsupported_media_type",
            "Send the body uncompressed.",
            headers={"Accept-Encoding": _PLAIN},
        )
    return accepted[media_type]


class Body:
    """A body that a dependency reads, with its description for the OpenAPI document."""

    def __init__(
        self,
        model: type[BaseModel],
        *,
        optional: bool = False,
        examples: Mapping[str, object] | None = None,
    ) -> None:
        """Describe a JSON body; `examples` by name."""
        self.models: tuple[type[BaseModel], ...] = (model,)
        self.optional = optional
        self._examples = {name: {"value": value} for name, value in (examples or {}).items()}

    def described(self) -> dict[str, Any]:
        """Return the request body for the OpenAPI document."""
        content: dict[str, Any] = {"schema": {"$ref": f"{REF}{self.models[0].__name__}"}}
        if self._examples:
            content["examples"] = self._examples
        return {"required": not self.optional, "content": {JSON: content}}


class JsonBody(Body, Generic[M]):
    """Read and validate a body; raise a Problem that names every fault.

    An empty `optional` body means all defaults.
    """

    def __init__(self, model: type[M], *, optional: bool = False) -> None:
        """Read a body of this model."""
        super().__init__(model, optional=optional)
        self._model = model

    async def __call__(self, request: Request, parts: Context) -> M:
        """Return the body."""
        raw = (await request.body()).removeprefix(BOM)
        if self.optional and not raw:
            return self._model()
        require_json(request)
        found = checked(self._model, raw, context=parts.settings)
        if isinstance(found, list):
            raise invalid(found)
        return found


class RawBody(Body):
    """Read a JSON body as bytes; the route validates it together with the headers."""

    async def __call__(self, request: Request) -> bytes:
        """Return the body as sent."""
        require_json(request)
        return await request.body()


def checked(
    model: type[M], raw: bytes, *under: str | int, context: Settings | None = None
) -> M | list[FieldError]:
    """Validate JSON against a model; return the value, or all faults.

    `under` is the path of the JSON in the request. `context` are the settings, against which
    models and webhook URLs are checked.
    """
    try:
        return model.model_validate_json(raw, context=context)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            return unreadable(raw, first["ctx"]["error"], *under)
        return field_errors(error, model, *under)


def encoding_fault(raw: bytes | bytearray, *under: str | int) -> FieldError | None:
    """Return the fault of a text that starts like UTF-16 or UTF-32."""
    if raw[:2] in _UTF16_MARKS or b"\0" in raw[:2]:
        return FieldError(pointer_of(*under), "must be encoded in UTF-8, and looks like UTF-16")
    return None


def unreadable(raw: bytes, reason: str, *under: str | int) -> list[FieldError]:
    """Return why JSON cannot be parsed: the values at fault, or else the parser's own `reason`.

    Parsers stop at long integers and at text that is not Unicode, and report only a column.
    """
    if fault := encoding_fault(raw, *under):
        return [fault]
    unreadable_body = [FieldError(pointer_of(*under), f"is not valid JSON: {reason}")]
    try:
        text = raw.decode(errors="surrogateescape")
        value = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return unreadable_body
    found = [
        FieldError(pointer_of(*under, *path), message)
        for path, message in islice(_unusable(value), FAULTS_MAX)
    ]
    return found or unreadable_body


def _integer(digits: str) -> object:
    try:
        return int(digits)
    except ValueError:
        return _HUGE


def _unusable(value: object) -> Iterator[tuple[Path_, str]]:
    """Find the unreadable values, in the order of the text."""
    left: list[tuple[Path_, object]] = [((), value)]
    for _ in range(_VALUES_SEARCHED):
        if not left:
            return
        path, value = left.pop()
        if value is _HUGE:
            yield path, _TOO_LARGE
        elif isinstance(value, str) and _SURROGATE.search(value):
            yield path, _NO_TEXT
        within = [((*path, step), one) for step, one in _members(value)]
        for inner, _one in within:
            if _SURROGATE.search(str(inner[-1])):
                yield inner, f"has a name that {_NO_TEXT}"
        left += reversed(within)


def _members(value: object) -> Iterator[tuple[str | int, object]]:
    members: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, Mapping):
        members = iter(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        members = enumerate(value)
    return islice(members, _MEMBERS_SEARCHED)
