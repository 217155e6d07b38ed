"""The node's log: one line per event, named `noun.participle`, with keys from a list that no patient appears in."""

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

# What may be written. Anything else is dropped by name, so that a careless call cannot put a patient into a log.
ALLOWED_KEYS = frozenset(
    [
        *("event", "level", "timestamp", "logger", "where", "component", "version", "pid", "exit_code", "dropped_keys"),
        *("host", "port", "ae_title", "calling_ae", "peer", "association", "status", "reason", "error_class"),
        *("series_key", "revision", "state", "step", "rule", "recipe", "run", "workflow", "kind", "device"),
        *("attempt", "retry_in_s", "seconds", "bytes", "free_mb", "n_instances", "n_objects", "n_series"),
    ]
)

# Libraries whose messages carry nothing but our own keys. Others may quote what a peer sent.
_QUOTED_LIBRARIES = ("dbos", "alembic")


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send the node's events and its libraries' warnings to `stream`: readable on a terminal, JSON lines elsewhere."""
    stream = stream or sys.stderr
    is_terminal = stream.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            drop_unlisted_keys,
            structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, LibraryHandler):
            root.removeHandler(handler)
    root.addHandler(LibraryHandler(logging.WARNING))
    # pydicom warns with the value it dislikes, which may be a name.
    logging.captureWarnings(True)
    # pynetdicom logs as an error what the node returns to its caller as one.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


def drop_unlisted_keys(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Keep only the keys that may be logged, and name those that were dropped."""
    kept = {key: value for key, value in event.items() if key in ALLOWED_KEYS}
    dropped = sorted(key for key in event if key not in ALLOWED_KEYS)
    if dropped:
        kept["dropped_keys"] = dropped
    return kept


class LibraryHandler(logging.Handler):
    """Turns a library's record into an event that says where it came from; what it says is quoted only if trusted."""

    def emit(self, record: logging.LogRecord) -> None:
        where = f"{record.module}:{record.lineno}"
        details: dict[str, Any] = {"logger": record.name, "where": where}
        if record.name.split(".")[0] in _QUOTED_LIBRARIES:
            details["reason"] = record.getMessage()
        structlog.get_logger().log(record.levelno, "library.reported", **details)


def place_of(error: BaseException) -> str:
    """Return the module and line where an error arose, which is all of a traceback that may be logged."""
    trace = error.__traceback__
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__', 'unknown')}:{trace.tb_lineno}"
