"""The log: one line an entry, and no secret in any of them."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal

import pytest

from services import logs

SECRETS = ("token-of-the-bot", "SG_0123456789abcdef")
log = logging.getLogger("services.of.a.test")


SetUp = Callable[..., None]


@pytest.fixture
def set_up() -> Iterator[SetUp]:
    """`logs.set_up`, undone after the test: the log is the whole process's."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in (None, "discord", "aiosqlite")}

    def doing(level: str, style: Literal["text", "json"], secrets: tuple[str, ...]) -> None:
        # pytest's own handlers come back by themselves; `force` would close them.
        root.handlers[:] = [
            h for h in root.handlers if isinstance(h.formatter, logs.RedactingFormatter)
        ]
        logs.set_up(level, style, secrets)

    yield doing
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, logs.RedactingFormatter):
            root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class Written:
    """What went to standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(capsys)


def fail(message: str) -> None:
    try:
        raise ValueError(message)
    except ValueError:
        log.exception("It failed for %s", "a reason")


def test_text_says_when_how_bad_where_and_what(set_up: SetUp, written: Written) -> None:
    set_up("INFO", "text", SECRETS)
    log.warning("Song %d is late", 42)
    log.debug("not asked for")
    line = written.text()
    assert line.endswith(" WARNING services.of.a.test: Song 42 is late\n")
    datetime.fromisoformat(line[:19])


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_a_message_of_many_lines_is_one_in_text(set_up: SetUp, written: Written, mark: str) -> None:
    set_up("INFO", "text", SECRETS)
    log.info("genres: %s", f"funk{mark}2026-01-01 00:00:00,000 CRITICAL forged: line")
    assert len(written.text().splitlines()) == 1
    assert written.text().endswith("genres: funk 2026-01-01 00:00:00,000 CRITICAL forged: line\n")


def test_a_trace_keeps_its_lines_in_text(set_up: SetUp, written: Written) -> None:
    set_up("INFO", "text", SECRETS)
    fail("why")
    lines = written.text().splitlines()
    assert lines[0].endswith("It failed for a reason")
    assert lines[1].startswith("  Traceback")
    assert lines[-1] == "  ValueError: why"


def test_json_is_one_object_a_line(set_up: SetUp, written: Written) -> None:
    set_up("INFO", "json", SECRETS)
    log.warning("Caf\u00e9\n%s", "two lines")
    fail("why")
    first, second = written.entries()
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "logger": "services.of.a.test",
        "message": "Caf\u00e9\ntwo lines",
    }
    assert second["message"] == "It failed for a reason"
    assert second["exception"].startswith("Traceback")
    assert second["exception"].endswith("ValueError: why")
    assert len(written.text().splitlines()) == 2


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_wherever_it_comes_from(
    set_up: SetUp, written: Written, style: Literal["text", "json"], secret: str
) -> None:
    set_up("INFO", style, SECRETS)
    log.warning("a message with %s and %r", secret, {"header": secret})
    fail(f"a trace with {secret}")
    logging.getLogger("discord.http").warning("another library's %s", secret)
    text = written.text()
    assert "SG_" not in text
    assert "token-of-the-bot" not in text
    assert text.count(logs.HIDDEN) == 4
    if style == "json":
        assert len(written.entries()) == 3


def test_nothing_is_hidden_where_there_is_no_secret(set_up: SetUp, written: Written) -> None:
    set_up("INFO", "text", [""])
    log.info("plain")
    assert written.text().endswith("plain\n")


@pytest.mark.parametrize("name", ["discord", "discord.http", "aiosqlite"])
def test_libraries_whose_details_hold_tokens_keep_them(
    set_up: SetUp, written: Written, name: str
) -> None:
    set_up("DEBUG", "text", SECRETS)
    log.debug("ours")
    logging.getLogger(name).debug("a payload with an interaction's token")
    logging.getLogger(name).info("theirs")
    assert "ours" in written.text()
    assert "theirs" in written.text()
    assert "payload" not in written.text()


@pytest.mark.parametrize("name", ["discord", "aiosqlite", "services"])
def test_a_level_holds_for_all(set_up: SetUp, written: Written, name: str) -> None:
    set_up("ERROR", "text", SECRETS)
    logging.getLogger(name).warning("quiet")
    logging.getLogger(name).error("loud")
    assert len(written.text().splitlines()) == 1


def test_setting_up_twice_writes_once(set_up: SetUp, written: Written) -> None:
    for _ in range(2):
        set_up("INFO", "text", SECRETS)
    log.info("once")
    assert written.text().count("once") == 1


async def test_a_line_says_what_it_is_about(set_up: SetUp, written: Written) -> None:
    set_up("INFO", "text", SECRETS)

    async def another() -> None:
        logs.set_context(8)
        log.info("theirs")

    with logs.context(7):
        log.info("mine")
        await asyncio.create_task(another())
        log.info("mine still")
    log.info("nobody's")
    said = [line.partition("services.of.a.test:")[2] for line in written.text().splitlines()]
    assert said == [" [7] mine", " [8] theirs", " [7] mine still", " nobody's"]


def test_json_says_what_it_is_about(set_up: SetUp, written: Written) -> None:
    set_up("INFO", "json", SECRETS)
    with logs.context(2**60):
        log.info("mine")
    log.info("nobody's")
    mine, nobodys = written.entries()
    assert mine["about"] == str(2**60)
    assert "about" not in nobodys
