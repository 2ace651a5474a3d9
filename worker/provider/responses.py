"""What the replies of 1min.ai mean: pure, one table for errors, lenient about shapes.

The provider documents only success; the rest comes from public clients and captured replies, and
may change. So replies are parsed leniently and judged carefully: the question behind every row is
whether an image may have been generated and billed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from shared.errors import (
    ContentRejected,
    EndpointMissing,
    JobError,
    ModelGone,
    ProviderAuth,
    ProviderBusy,
    ProviderCredits,
    ProviderDown,
    ProviderRejected,
    RecordFailed,
    UnknownOutcome,
)
from shared.jobs import ProviderResult
from shared.model_catalog.model import CREDITS_MAX
from shared.printable import printable_ascii
from shared.store.provider_models import ACTIVE, ListedModel
from worker.provider.echo import Request, differences
from worker.provider.error_parsing import (
    Refusal,
    Reply,
    loose,
    number,
    only,
    parse_error,
    parsed,
    quote,
    text,
)

#: Longer than any signed URL or record id seen.
URL_CHARACTERS_MAX = 8192
RECORD_ID_CHARACTERS_MAX = 200

#: Models of the list that are read: ten times as many as were seen.
MODELS_MAX = 400
_MODEL_ID = re.compile(r"[!-~]{1,100}")
DONE = frozenset({"SUCCESS", "SUCCEEDED", "COMPLETED", "DONE", "FINISHED", "OK", "READY"})
FAILED = frozenset({"FAILURE", "FAILED"})

_DEAD_KEY = re.compile(r"api[ -]?key\b.*\b(not active|inactive|deleted|revoked|expired|invalid)")
_SAFETY = re.compile(r"nsfw|content[ _-]policy|moderat|safety|sensitive")
#: Codes of a removed model, and of too many requests. 1min.ai documents UNSUPPORTED_MODEL and the
#: status 429 only; the others are usual names, which must not fail a job for good.
_MODEL_GONE = re.compile(r"UNSUPPORTED_MODEL|MODEL_(?:NOT_(?:FOUND|SUPPORTED|AVAILABLE)|DISABLED)")
_TOO_FAST = re.compile(r"RATE_?LIMIT|TOO_MANY_REQUESTS")
#: Words of a failed record that say nothing about the request. A prompt with such words, which the
#: record may quote, costs some more calls, which are not billed.
_PASSING = re.compile(
    r"\b(?:busy|overloaded|too many requests|rate limit|(?:temporarily|service) unavailable)\b"
)
#: Codes of refusals: nothing was generated, whatever status they come with.
_REFUSALS = re.compile(
    "INSUFFICIENT_CREDITS|MISSING_REQUIRED_FIELDS|EXTERNAL_API_RESPONSE_WITH_ERROR"
    f"|{_MODEL_GONE.pattern}|{_TOO_FAST.pattern}"
)
#: Statuses, besides redirects, of a server that processed no request: it has no such path (404,
#: 410) or method (405, 501), is another host (421) or a proxy of the network (407, 511), or takes
#: no such protocol or media type (415, 426, 505).
_NOT_PROCESSED = frozenset({404, 405, 407, 410, 415, 421, 426, 501, 505, 511})
_CREDITS = re.compile(r"requires\s+([\d.,]+)\s+credits.*?\bhas\s+([\d.,]+)\s+credits", re.DOTALL)
#: How messages without a code begin that say what INSUFFICIENT_CREDITS and 429 say; the words
#: elsewhere may be those of a quoted prompt.
_NO_CREDITS = re.compile(rf"[\w\s]{{0,80}}{_CREDITS.pattern}|(?:insufficient|not enough) credits")
_THROTTLED = re.compile(r"throttlerexception")
#: Statuses of a model's host that say nothing about the request: 1min.ai's own key or account there
#: (401, 402), and what passes (408, 425, 429).
_HOST_TROUBLE = frozenset({401, 402, 408, 425, 429})


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The provider accepted the request and is still working on this record."""

    record_id: str


class Row(NamedTuple):
    """A row of the table: how a refusal is recognised, and what it means."""

    applies: Callable[[Refusal], bool]
    means: Callable[[Refusal], JobError]


def read_answer(reply: Reply, request: Request | None = None) -> ProviderResult | Unfinished:
    """Parse the reply to a request for an image; raise the JobError for anything else.

    If the record differs from `request`, the answer has warnings.
    """
    if not reply.is_success:
        raise refused(reply)
    body: Mapping[str, Any] = parsed(reply.body)
    if not body:
        # the request was accepted: see the end of `_read_record`
        raise UnknownOutcome("1min.ai reported success, but its reply cannot be read.")
    body = _unwrapped(body)
    stated = number(str(body.get("statusCode"))) or 0
    if not body.get("aiRecord") and 400 <= stated < 600:  # noqa: PLR2004  the statuses of errors
        raise refused(replace(reply, status=int(stated)))
    if not body.get("aiRecord") and _REFUSALS.search(parse_error(reply).code):
        raise refused(reply)
    return _read_record(_object(body.get("aiRecord")) or {}, body, request)


def read_record(reply: Reply, request: Request | None = None) -> ProviderResult | Unfinished | None:
    """Parse the reply to a look-up; None if the provider knows no such record.

    Raise ProviderRejected or ContentRejected for a failed record, UnknownOutcome for a success
    without an image; ProviderAuth, ProviderBusy or ProviderDown if the look-up itself failed, which
    says nothing about the record.
    """
    if not reply.is_success:
        raise _lookup_error(refused(reply))
    body = _unwrapped(parsed(reply.body))
    if "aiRecord" in body and body["aiRecord"] is None:
        return None
    record = _object(body.get("aiRecord"))
    if record is None:
        raise ProviderDown("1min.ai answered a look-up with something that is no record.")
    return _read_record(record, body, request)


def read_models(reply: Reply) -> list[ListedModel]:
    """Parse the list of models; raise ProviderDown if it cannot be read.

    Entries without an id are left out. A status that is not given counts as active. Prices above
    CREDITS_MAX, which no model of the catalog may have, count as not given.
    """
    if not reply.is_success:
        raise ProviderDown(f"1min.ai responded {reply.status} to the request for its models.")
    listed = _unwrapped(parsed(reply.body)).get("models")
    if not isinstance(listed, list):
        raise ProviderDown("1min.ai responded with something that is no list of models.")
    found = (_listed(one) for one in listed[:MODELS_MAX] if isinstance(one, dict))
    return [one for one in found if one.id]


def _listed(entry: Mapping[str, Any]) -> ListedModel:
    model_id, credits_each = entry.get("modelId"), entry.get("creditEstimation")
    is_price = isinstance(credits_each, int | float) and 0 <= credits_each <= CREDITS_MAX
    return ListedModel(
        id=model_id if isinstance(model_id, str) and _MODEL_ID.fullmatch(model_id) else "",
        status=(text(entry.get("status")) or ACTIVE).lower(),
        credits=float(credits_each or 0) if is_price else None,
    )


def _unwrapped(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that holds the record, which may be nested in `data` or `result`."""
    inner = (body.get(name) for name in ("data", "result") if "aiRecord" not in body)
    return next((one for one in inner if isinstance(one, dict)), body)


def _object(value: object) -> Mapping[str, Any] | None:
    """Parse an object that may be JSON inside a string, or the only one of a list."""
    read = only(loose(value))
    return read if isinstance(read, dict) else None


def _lookup_error(error: JobError) -> JobError:
    if isinstance(error, ProviderAuth | ProviderBusy | ProviderDown):
        return error
    return ProviderDown(f"1min.ai did not return the record. {error}")


def _read_record(
    record: Mapping[str, Any], body: Mapping[str, Any], request: Request | None
) -> ProviderResult | Unfinished:
    status = text(record.get("status")).strip().upper()
    record_id = _record_id(record) or None
    url = _address(record.get("temporaryUrl")) or _address(body.get("temporaryUrl"))
    if status in FAILED:
        raise _failed(record)
    if url and (status in DONE or not status):
        warnings = differences(request, record) if request else ()
        return ProviderResult(record_id, url, warnings=warnings)
    if record_id and status and status not in DONE:
        return Unfinished(record_id)
    # The reply announces success, so an image may have been generated and billed, but it cannot be
    # found. Repeating the request could pay twice without counting it.
    error = UnknownOutcome("1min.ai reported success, but its reply names no image.")
    error.record_id = record_id or ""
    raise error


def _record_id(record: Mapping[str, Any]) -> str:
    return printable_ascii(text(record.get("uuid")))[:RECORD_ID_CHARACTERS_MAX]


def _address(value: object) -> str:
    """Return a URL, also the first of a list, or JSON inside a string; '' for anything else."""
    read = loose(value)
    url = text(read[0] if isinstance(read, list) and read else read).strip()
    is_address = url.lower().startswith(("https://", "http://")) and len(url) <= URL_CHARACTERS_MAX
    return url if is_address else ""


def _failed(record: Mapping[str, Any]) -> JobError:
    detail = _object(record.get("aiRecordDetail")) or {}
    message = text(
        detail.get("errorMessage") or record.get("errorMessage") or record.get("message")
    )
    kind: type[JobError] = ProviderRejected
    if _SAFETY.search(message.lower()):
        kind = ContentRejected
    elif _PASSING.search(message.lower()):
        kind = RecordFailed
    return kind(_sentence("1min.ai could not make this image", message))


# The table. The first matching row applies. -----------------------------------------------------


def _inside(refusal: Refusal) -> int:
    return refusal.inner_status or 0


def _is_busy(refusal: Refusal) -> bool:
    return refusal.code == "EXTERNAL_API_RESPONSE_WITH_ERROR"


def _is_inner_refusal(refusal: Refusal) -> bool:
    status = _inside(refusal)
    return _is_busy(refusal) and 400 <= status < 500 and status not in _HOST_TROUBLE  # noqa: PLR2004


def _is_out_of_credits(refusal: Refusal) -> bool:
    return (
        refusal.code == "INSUFFICIENT_CREDITS"
        or refusal.status in {402, 406}
        or (_is_uncoded(refusal) and bool(_NO_CREDITS.match(refusal.message.lower())))
    )


def _is_too_fast(refusal: Refusal) -> bool:
    return (
        refusal.status == 429  # noqa: PLR2004
        or (refusal.status < 500 and bool(_TOO_FAST.search(refusal.code)))  # noqa: PLR2004
        or (_is_uncoded(refusal) and bool(_THROTTLED.match(refusal.message.lower())))
    )


def _is_uncoded(refusal: Refusal) -> bool:
    return 400 <= refusal.status < 500 and not _REFUSALS.search(refusal.code)  # noqa: PLR2004


def _error_of(kind: type[JobError], sentence: str) -> Callable[[Refusal], JobError]:
    return lambda refusal: kind(
        _sentence(sentence, refusal.message), retry_after=refusal.retry_after
    )


def _credits(refusal: Refusal) -> JobError:
    found = _CREDITS.search(refusal.words)
    return ProviderCredits(
        _sentence("The 1min.ai team is out of credits", refusal.message),
        retry_after=refusal.retry_after,
        needed=number(found[1]) if found else None,
        has=number(found[2]) if found else None,
    )


ROWS: tuple[Row, ...] = (
    # what these say of the key is more than the status does, which may be 403
    Row(_is_out_of_credits, _credits),
    Row(
        lambda r: bool(_MODEL_GONE.search(r.code)),
        _error_of(ModelGone, "1min.ai does not offer this model"),
    ),
    Row(_is_too_fast, _error_of(ProviderBusy, "1min.ai limits the rate of requests")),
    Row(
        # the words of a model's host are about the key of 1min.ai, not about ours
        lambda r: (
            r.status in {401, 403}
            or (r.status < 500 and not _is_busy(r) and bool(_DEAD_KEY.search(r.words)))  # noqa: PLR2004
        ),
        _error_of(ProviderAuth, "1min.ai does not accept the API key"),
    ),
    Row(
        lambda r: _is_inner_refusal(r) and bool(_SAFETY.search(r.words)),
        _error_of(ContentRejected, "The safety rules of 1min.ai reject the request"),
    ),
    Row(
        lambda r: _is_inner_refusal(r) and not _DEAD_KEY.search(r.words),
        _error_of(ProviderRejected, "The model refuses the request"),
    ),
    Row(_is_busy, _error_of(ProviderDown, "The model is not available at 1min.ai now")),
    Row(
        lambda r: r.code == "MISSING_REQUIRED_FIELDS",
        _error_of(ProviderRejected, "1min.ai does not accept the input"),
    ),
    # 408: it never got the whole request. 425: it wants it again, later. 521, 523, 525, 526, 530:
    # its edge never reached it.
    Row(
        lambda r: r.status in {408, 425, 500, 502, 503, 521, 523, 525, 526, 530},
        _error_of(ProviderDown, "1min.ai failed"),
    ),
    Row(
        lambda r: r.status < 400 or r.status in _NOT_PROCESSED,  # noqa: PLR2004
        lambda r: EndpointMissing(
            f"1min.ai has no such endpoint (status {r.status}). Set DARKROOM_ONEMIN_BASE_URL to "
            "the address of its API, https://api.1min.ai."
        ),
    ),
    # 504, 520, 522, 524, and unknown ones: something in between stopped waiting for a response
    Row(
        lambda r: r.status >= 500,  # noqa: PLR2004
        lambda r: UnknownOutcome(
            f"A server in front of 1min.ai stopped waiting (status {r.status}): "
            "the image may have been made."
        ),
    ),
    Row(
        lambda r: bool(_SAFETY.search(r.words)),
        _error_of(ContentRejected, "The safety rules of 1min.ai reject the request"),
    ),
    Row(lambda _: True, _error_of(ProviderRejected, "1min.ai refuses the request")),
)


def refused(reply: Reply) -> JobError:
    """Return the error for a reply other than success."""
    refusal = parse_error(reply)
    error = next(row.means(refusal) for row in ROWS if row.applies(refusal))
    if isinstance(error, ProviderRejected) and not reply.is_whole:
        return ProviderDown("1min.ai refused the request, but its reason did not arrive whole.")
    return error


def _sentence(ours: str, theirs: str) -> str:
    quoted = quote(theirs)
    return f"{ours}: {quoted}" if quoted else f"{ours}."
