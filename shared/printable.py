"""Remove terminal control sequences from text written by others.

Everything that the provider, the image host, the storage or a webhook endpoint sends passes through
here before it is stored, shown or logged.
"""

import re

# ECMA-48: CSI … final byte; OSC, DCS, SOS, PM, APC … terminator; ESC with its final byte
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]{0,1000}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_BREAKS = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_BREAKS_BUT_LINES = re.compile("[\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
#: C0, DEL, C1, the controls of bidirectional text, and lone surrogates.
_CONTROLS = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NOT_ASCII_PRINTABLE = re.compile(r"[^!-~]")


def printable(text: str, *, lines: bool = False) -> str:
    """Return `text` without escape sequences, control characters and lone surrogates.

    Line breaks become one space; with `lines`, newlines and tabs stay.
    """
    if text.isprintable():
        return text
    breaks = _BREAKS_BUT_LINES if lines else _BREAKS
    return _CONTROLS.sub("", breaks.sub(" ", _SEQUENCES.sub("", text)))


def printable_ascii(text: str) -> str:
    """Return only the visible ASCII characters of an identifier."""
    return _NOT_ASCII_PRINTABLE.sub("", printable(text))
