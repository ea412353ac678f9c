"""Logging to standard error as text or JSON, without secrets.

Each line has the id of the song or interaction that it belongs to, so one search finds its history.
A song has the id of the interaction that created it.
"""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

HIDDEN = "[hidden]"
_WEBHOOK = re.compile(r"(/(?:webhooks|interactions)/[0-9]+/)[\w.~%-]+")
"""A path with an interaction's token, which anybody can answer with for 15 minutes."""

_ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

_context: ContextVar[int | None] = ContextVar("log_context", default=None)


@contextlib.contextmanager
def context(song_or_interaction_id: int) -> Iterator[None]:
    """Log lines of the block, and of tasks created in it, with this id."""
    before = _context.set(song_or_interaction_id)
    try:
        yield
    finally:
        _context.reset(before)


def set_context(song_or_interaction_id: int) -> None:
    """Log the current task's lines with this id from now on."""
    _context.set(song_or_interaction_id)


def context_id() -> int | None:
    """Return the id that log lines have now."""
    return _context.get()


class RedactingFormatter(logging.Formatter):
    """Replaces secrets and interaction tokens in the finished line, traceback included."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        self._secrets = tuple(filter(None, secrets))

    def format(self, record: logging.LogRecord) -> str:
        """Format with the inner formatter, then redact."""
        line = self._inner.format(record)
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        return _WEBHOOK.sub(rf"\g<1>{HIDDEN}", line)


class Json(logging.Formatter):
    """One line of ASCII with a JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record, with its traceback."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (id_ := context_id()) is not None:
            entry["about"] = str(id_)  # many JSON readers round integers of this size
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class Text(logging.Formatter):
    """One line for each record, followed by the indented traceback.

    Members' text can't break a line, forge one, or send commands to a terminal.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s:%(about)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the message without line breaks."""
        id_ = context_id()
        record.about = "" if id_ is None else f" [{id_}]"
        return _escape(" ".join(super().formatMessage(record).splitlines()))

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 - logging's name
        """Indent the traceback."""
        return _indent(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Indent the stack."""
        return _indent(super().formatStack(stack_info))


def _indent(trace: str) -> str:
    return "\n".join(f"  {_escape(line)}" for line in trace.splitlines())


def _escape(line: str) -> str:
    """Escape control characters, and those that change the order of the text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def set_up(level: str, style: Literal["text", "json"], secrets: Iterable[str]) -> None:
    """Log to standard error without the `secrets`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(Json() if style == "json" else Text(), secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # At DEBUG they log complete payloads and statements, with the tokens of interactions.
    for library in ("discord", "aiosqlite"):
        logging.getLogger(library).setLevel(max(logging.INFO, logging.getLevelName(level)))
