"""The log: text for people or JSON for machines, on standard error, without the secrets.

Every line that is about a song, or about an interaction, carries its id: what happened to one of
them is found by that number alone. They are the same number where an interaction asks for a song.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

HIDDEN = "[hidden]"

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


class Redacting(logging.Formatter):
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
        return line


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
        return json.dumps(entry, ensure_ascii=False)


class Text(logging.Formatter):
    """One line for people; what a member typed can't break it into two."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s:%(about)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The message without line breaks; a trace, which comes after it, keeps its own."""
        about_id = subject()
        record.about = "" if about_id is None else f" [{about_id}]"
        return " ".join(super().formatMessage(record).splitlines())


def set_up(level: str, style: Literal["text", "json"], secrets: Iterable[str]) -> None:
    """Log to standard error. `secrets` never appear."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacting(Json() if style == "json" else Text(), secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Their DEBUG holds whole payloads and every statement's values, members' tokens among them.
    for library in ("discord", "aiosqlite"):
        logging.getLogger(library).setLevel(max(logging.INFO, logging.getLevelName(level)))
