"""Logs: one event a line, a fixed phrase and facts as fields; for people or as JSON.

Whatever is logged passes `without_secrets`: the query of an address (signatures), anything that
looks like one of our keys, and what a terminal would obey never reach a line.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

from shared.printable import printable
from shared.settings import Settings

_QUERY = re.compile(r"(https?://[^\s\"'<>?]+)\?[^\s\"'<>]+", re.IGNORECASE)
_SECRETS = re.compile(
    r"\b(dk_[0-9a-z]{4})[0-9a-z]*_[0-9a-z]+|(whsec_|signature=)[A-Za-z0-9+/=_-]+|(://)[^/\s]+@"
)
#: One of these is in every text that either of them finds something in.
_MARKS = ("://", "dk_", "whsec_", "signature=")
#: Fields that structlog fills with several lines.
_TRACES = frozenset({"exception", "stack"})
#: Libraries that say too much at the level of the rest; httpx logs each address with its query.
_QUIET = (
    "httpx",
    "httpcore",
    "urllib3",
    "kombu",
    "asyncio",
    "PIL",
    # a line for each permit tells nothing: the job's own lines do
    "celery.worker.strategy",
    "celery.app.trace",
    "celery.redirected",
)

#: What uvicorn says of each request, and of each step of one at `--log-level trace`.
_REQUESTS = ("uvicorn.access", "uvicorn.asgi")
#: They say the same each second: while Redis is full, with a trace (our own lines say it too), and
#: while the collector of traces is away.
_REPEATS = ("kombu.transport.redis", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


class WithoutQuery(logging.Filter):
    """Takes the query out of uvicorn's lines for each request: that of an image opens it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the line, and let it pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_query, record.args))
        return True


def _without_query(fact: object) -> object:
    """Cut the query off a path, or out of an ASGI scope."""
    if isinstance(fact, str):
        return fact.partition("?")[0]
    return {**fact, "query_string": b""} if isinstance(fact, Mapping) else fact


class Once(logging.Filter):
    """Lets each message of a logger pass once, without its trace."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the message is new, and take its trace away."""
        is_new = str(record.msg) not in self._seen
        self._seen.add(str(record.msg))
        record.exc_info = None
        return is_new


def without_secrets(
    _: object, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Take secrets and control characters out of every text of a line; only traces have lines."""
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
    """Take queries of addresses, keys and passwords out of a text."""
    if not any(mark in text for mark in _MARKS):
        return text  # nearly all are: the rest costs more than all else of a line
    return _SECRETS.sub(_cut, _QUERY.sub(r"\1?…", text))


def _cut(found: re.Match[str]) -> str:
    if found[3]:
        return "://…@"
    return f"{found[1] or found[2]}…"


def configure(settings: Settings) -> None:
    """Send our own lines and those of all libraries through one formatter to stderr."""
    human = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.UnicodeDecoder(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        # structlog's own looks through the stack for who calls: half of what a line costs
        logger_factory=logging.getLogger,
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_last(human=human))
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    _configure_libraries()


def _configure_libraries() -> None:
    """Send the lines of the libraries' own loggers through the root logger, without repeats."""
    for name in ("uvicorn", "uvicorn.error", *_REQUESTS):
        # it has given these a form of its own before it loads the app; without one they are off
        own = logging.getLogger(name)
        if own.handlers:
            own.handlers, own.propagate = [], True
    for name in _REQUESTS:
        logging.getLogger(name).filters = [WithoutQuery()]
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _REPEATS:
        logging.getLogger(name).filters = [Once()]


def _last(*, human: bool) -> list[Processor]:
    processors: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if human:
        renderer: Processor = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=0
        )
        return [*processors, structlog.processors.format_exc_info, without_secrets, renderer]
    return [
        *processors,
        structlog.processors.format_exc_info,
        without_secrets,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def log(name: str) -> structlog.stdlib.BoundLogger:
    """Give the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
