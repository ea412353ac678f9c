"""The log: text for people or JSON for machines, on standard error, without the secrets.

Every line that is about a song, or about an interaction, carries its id: what happened to one of
them is found by that number alone. They are the same number where an interaction asks for a song.
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
"""Of an address with an interaction's token, which answers in the bot's name for 15 minutes."""

_ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

_subject: ContextVar[int | None] = ContextVar("subject", default=None)


@contextlib.contextmanager
def about(subject_id: int) -> Iterator[None]:
    """What is logged in the block, and by tasks that begin in it, is about this."""
    before = _subject.set(subject_id)
    try:
        yield
    finally:
        _subject.reset(before)


def about_from_here(subject_id: int) -> None:
    """What the current task logs from now on is about this: the task is its alone."""
    _subject.set(subject_id)


def subject() -> int | None:
    """The song or the interaction that is being seen to."""
    return _subject.get()


class RedactingFormatter(logging.Formatter):
    """Leaves the operator's secrets out of a finished line, wherever they came from."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        self._secrets = tuple(filter(None, secrets))

    def format(self, record: logging.LogRecord) -> str:
        """The line, a trace included."""
        line = self._inner.format(record)
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        return _WEBHOOK.sub(rf"\g<1>{HIDDEN}", line)


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (about_id := subject()) is not None:
            entry["about"] = str(about_id)  # as text: many readers round such long numbers
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        line = json.dumps(entry, ensure_ascii=False)
        return line if line.isprintable() else "".join(map(_shown_in_json, line))


class Text(logging.Formatter):
    """One line for people, and below it a trace, set in.

    What a member typed can neither break a line into two, nor look like a line of its own, nor tell
    a terminal anything.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s:%(about)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The message without line breaks."""
        about_id = subject()
        record.about = "" if about_id is None else f" [{about_id}]"
        return _shown(" ".join(super().formatMessage(record).splitlines()))

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 - logging's name
        """The trace, line by line."""
        return _set_in(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Where it was logged, line by line."""
        return _set_in(super().formatStack(stack_info))


def _set_in(trace: str) -> str:
    return "\n".join(f"  {_shown(line)}" for line in trace.splitlines())


def _shown(line: str) -> str:
    """Without what a terminal would take for a command, or shows in another order."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _shown_in_json(c: str) -> str:
    return c if c.isprintable() else json.dumps(c)[1:-1]


def set_up(level: str, style: Literal["text", "json"], secrets: Iterable[str]) -> None:
    """Log to standard error. `secrets` never appear."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(Json() if style == "json" else Text(), secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Their DEBUG holds whole payloads and every statement's values, members' tokens among them.
    for library in ("discord", "aiosqlite"):
        logging.getLogger(library).setLevel(max(logging.INFO, logging.getLevelName(level)))
