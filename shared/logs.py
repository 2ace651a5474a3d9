"""Structured logs: one event per line, a fixed phrase with fields, as text or as JSON.

`without_secrets` filters every line: queries of URLs (signatures), anything like our keys, and
terminal control sequences are removed.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from shared.printable import printable
from shared.settings import Settings

_QUERY = re.compile(r"(https?://[^\s\"'<>?]+)\?[^\s\"'<>]+", re.IGNORECASE)
_SECRETS = re.compile(
    r"\b(dk_[0-9a-z]{4})[0-9a-z]*_[0-9a-z]+|(whsec_|signature=)[A-Za-z0-9+/=_-]+|(://)[^/\s]+@"
)
#: Every text in which either pattern matches contains one of these.
_MARKS = ("://", "dk_", "whsec_", "signature=")
#: Fields to which structlog adds several lines.
_TRACES = frozenset({"exception", "stack"})
#: Libraries that log too much at the general level; httpx logs URLs with their queries.
_QUIET = (
    "alembic",
    "httpx",
    "httpcore",
    "urllib3",
    "kombu",
    "asyncio",
    "PIL",
    # a line per permit adds nothing to the lines of the job
    "celery.worker.strategy",
    "celery.app.trace",
    "celery.redirected",
)

#: uvicorn's messages for each request, and for each step of one at `--log-level trace`.
_REQUESTS = ("uvicorn.access", "uvicorn.asgi")
#: Loggers that repeat the same each second: while Redis is full, with a traceback (our own lines
#: report that too), and while the trace collector is unavailable.
_REPEATS = ("kombu.transport.redis", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


class WithoutQuery(logging.Filter):
    """Remove the query from uvicorn's request lines, because that of an image grants access."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Remove the query from the record; return True."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_query, record.args))
        return True


def _without_query(fact: object) -> object:
    """Remove the query from a path or an ASGI scope."""
    if isinstance(fact, str):
        return fact.partition("?")[0]
    return {**fact, "query_string": b""} if isinstance(fact, Mapping) else fact


class Once(logging.Filter):
    """Pass each message of a logger once, without its traceback."""

    def __init__(self) -> None:
        """Start with no messages seen."""
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the message is new, and remove its traceback."""
        is_new = str(record.msg) not in self._seen
        self._seen.add(str(record.msg))
        record.exc_info = None
        return is_new


def without_secrets(
    _: object, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Remove secrets and control characters from the texts of an event.

    Only tracebacks keep their line breaks.
    """
    for name, value in event.items():
        event[name] = _without(value, lines=name in _TRACES)
    return event


def _without(value: object, *, lines: bool = False) -> object:
    if isinstance(value, str):
        return cut_secrets(printable(value, lines=lines))
    if isinstance(value, Mapping):
        return {name: _without(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without(inner) for inner in value]
    return value


def cut_secrets(text: str) -> str:
    """Remove queries of URLs, keys and passwords from a text."""
    if not any(mark in text for mark in _MARKS):
        return text  # nearly all are: the rest costs more than everything else of a line
    return _SECRETS.sub(_cut, _QUERY.sub(r"\1?…", text))


def _cut(found: re.Match[str]) -> str:
    if found[3]:
        return "://…@"
    return f"{found[1] or found[2]}…"


class StderrLogger:
    """Write finished lines to stderr.

    The lines of Darkroom skip `logging`, which costs more than all else of a line; see
    `docs/decisions.md`.
    """

    def __init__(self, name: str = "") -> None:
        """Write for the module of this name."""
        self.name = name
        self._stream = sys.stderr

    def msg(self, line: str) -> None:
        """Write a line; a full disk or a closed pipe must not fail what logs."""
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")

    debug = info = warning = error = critical = msg


def configure(settings: Settings) -> None:
    """Write the lines of Darkroom and of all libraries in one form to stderr."""
    human = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    fields: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.UnicodeDecoder(),
    ]
    line: list[Processor] = [
        structlog.processors.format_exc_info,
        without_secrets,
        _renderer(human=human),
    ]
    level = settings.log_level.upper()
    structlog.configure(
        processors=[*fields, *line],
        logger_factory=StderrLogger,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *line]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=fields, processors=processors)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    _configure_libraries()


def _configure_libraries() -> None:
    """Send the libraries' own loggers through the root logger, without repeats."""
    for name in ("uvicorn", "uvicorn.error", *_REQUESTS):
        # uvicorn configures these before it loads the app; without that they are off
        own = logging.getLogger(name)
        if own.handlers:
            own.handlers, own.propagate = [], True
    for name in _REQUESTS:
        logging.getLogger(name).filters = [WithoutQuery()]
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _REPEATS:
        logging.getLogger(name).filters = [Once()]


def _renderer(*, human: bool) -> Processor:
    if human:
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def log(name: str) -> FilteringBoundLogger:
    """Return the logger of a module."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger
