"""W3C Trace Context. Pure."""

import re

#: version, trace, span, flags and what later versions add:
#: https://www.w3.org/TR/trace-context/#traceparent-header
_WRITTEN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def read_traceparent(written: str) -> str | None:
    """Parse a `traceparent` header to the form of version 00; None if it is malformed."""
    found = _WRITTEN.fullmatch(written.strip())
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return f"00-{trace}-{span}-{flags}"


def logged(traceparent: str | None) -> dict[str, str]:
    """Return the log fields of a trace."""
    return {"trace_id": traceparent[3:35]} if traceparent else {}
