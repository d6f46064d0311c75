"""Logs: one line per event that a person acts on, on stderr, as key=value or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum

from cempstream.plain import shown

#: Attributes that every record has; any others come from the caller's ``extra=``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


#: Libraries that log at info what needs no action: every rejoin, every service that stops.
_TALKATIVE = (
    "aiokafka", "faust", "matplotlib", "mode",
    # Our own Faust services log under our names.
    "cempstream.streams.worker.faust_app", "cempstream.streams.worker.faust_transport",
)  # fmt: skip


#: Kafka clients; they log a missing broker some thirty times a second.
_CLIENTS = ("aiokafka", "rdkafka")
_SELDOM_S = 60.0


class _SaysItOnce(logging.Filter):
    """Lets through a Kafka client's line once a minute; different lines, and other loggers, pass."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is written; lines of one kind differ in addresses and times alone."""
        if record.name.partition(".")[0] not in _CLIENTS:
            return True
        kind = (record.name, str(record.msg))
        is_new = record.created - self._said_at_s.get(kind, -_SELDOM_S) >= _SELDOM_S
        if is_new:
            self._said_at_s[kind] = record.created
        return is_new


class LogFormat(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From which level on a line is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class KeyValueFormatter(logging.Formatter):
    """``time=… level=… logger=… message="…" key=value``; the fields of ``extra=`` come last.

    Non-printing characters are escaped: messages hold ids and texts of packets, and a terminal obeys
    control characters.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        return " ".join(f"{name}={_plain(value)}" for name, value in _fields(self, record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the same fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        return json.dumps(_fields(self, record), default=str, ensure_ascii=False)


def configure_logging(level: LogLevel, log_format: LogFormat) -> None:
    """Send all logs to stderr; called once, by the command line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else KeyValueFormatter())
    if level is not LogLevel.DEBUG:
        handler.addFilter(_SaysItOnce())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING if level is LogLevel.INFO else logging.NOTSET)


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    return fields


def _plain(value: object) -> str:
    """Quote a value that would not read as one word."""
    text = str(value)
    if text and text.isprintable() and not any(c.isspace() or c in '"=' for c in text):
        return text
    return shown(json.dumps(text, ensure_ascii=False))
