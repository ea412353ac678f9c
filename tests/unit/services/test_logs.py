"""The log: one line for each entry, without secrets."""

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

SetUp = Callable[[str, Literal["text", "json"]], Callable[[], list[str]]]


@pytest.fixture
def set_up(capsys: pytest.CaptureFixture[str]) -> Iterator[SetUp]:
    """`logs.set_up`, undone after the test; it returns what reads the lines that were written."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in (None, "discord", "aiosqlite")}

    def ours() -> list[logging.Handler]:
        return [h for h in root.handlers if isinstance(h.formatter, logs.RedactingFormatter)]

    def doing(level: str, style: Literal["text", "json"]) -> Callable[[], list[str]]:
        # pytest's handlers come back by themselves; `force` would close them.
        root.handlers[:] = ours()
        logs.set_up(level, style, SECRETS)
        return read

    def read() -> list[str]:
        return capsys.readouterr().err.splitlines()

    yield doing
    for handler in ours():
        root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def fail(message: str) -> None:
    try:
        raise ValueError(message)
    except ValueError:
        log.exception("It failed for %s", "a reason")


def test_text_has_time_level_logger_and_message(set_up: SetUp) -> None:
    lines = set_up("INFO", "text")
    log.warning("Song %d is late", 42)
    log.debug("too detailed")
    (line,) = lines()
    assert line.endswith(" WARNING services.of.a.test: Song 42 is late")
    datetime.fromisoformat(line[:19])


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_text_of_a_message_can_not_forge_a_line(set_up: SetUp, mark: str) -> None:
    lines = set_up("INFO", "text")
    log.info("genres: %s", f"funk{mark}2026-01-01 00:00:00,000 CRITICAL forged: line")
    (line,) = lines()
    assert line.endswith("genres: funk 2026-01-01 00:00:00,000 CRITICAL forged: line")


def test_text_has_an_indented_traceback(set_up: SetUp) -> None:
    lines = set_up("INFO", "text")
    fail("why")
    first, second, *_, last = lines()
    assert first.endswith("It failed for a reason")
    assert second.startswith("  Traceback")
    assert last == "  ValueError: why"


def test_json_is_one_object_a_line(set_up: SetUp) -> None:
    lines = set_up("INFO", "json")
    with logs.context(2**60):
        log.warning("Caf\u00e9\n%s", "two lines")
    fail("why")
    first, second = map(json.loads, lines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "logger": "services.of.a.test",
        "message": "Caf\u00e9\ntwo lines",
        "about": str(2**60),
    }
    assert "about" not in second
    assert second["message"] == "It failed for a reason"
    assert second["exception"].startswith("Traceback")
    assert second["exception"].endswith("ValueError: why")


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_wherever_it_comes_from(
    set_up: SetUp, style: Literal["text", "json"], secret: str
) -> None:
    lines = set_up("INFO", style)
    log.warning("a message with %s and %r", secret, {"header": secret})
    fail(f"a trace with {secret}")
    logging.getLogger("discord.http").warning("another library's %s", secret)
    text = "\n".join(lines())
    assert not any(secret in text for secret in SECRETS)
    assert text.count(logs.HIDDEN) == 4


def test_an_empty_secret_hides_nothing(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("INFO", "text")
    logs.set_up("INFO", "text", [""])
    log.info("plain")
    assert capsys.readouterr().err.endswith(": plain\n")  # once, although it was set up twice


@pytest.mark.parametrize(
    ("level", "name", "logged"),
    [
        ("DEBUG", "services", ["DEBUG", "INFO", "ERROR"]),
        # Their details contain tokens of interactions.
        *(("DEBUG", name, ["INFO", "ERROR"]) for name in ("discord.http", "discord", "aiosqlite")),
        *(("ERROR", name, ["ERROR"]) for name in ("discord", "aiosqlite", "services")),
    ],
)
def test_levels(set_up: SetUp, level: str, name: str, logged: list[str]) -> None:
    lines = set_up(level, "text")
    for each in (logging.DEBUG, logging.INFO, logging.ERROR):
        logging.getLogger(name).log(each, "x")
    assert [line.split()[2] for line in lines()] == logged


async def test_a_line_has_the_id_of_its_song_or_interaction(set_up: SetUp) -> None:
    lines: Any = set_up("INFO", "text")

    async def another() -> None:
        logs.set_context(8)
        log.info("theirs")

    with logs.context(7):
        log.info("mine")
        await asyncio.create_task(another())
        log.info("mine still")
    log.info("nobody's")
    texts = [line.partition("services.of.a.test:")[2] for line in lines()]
    assert texts == [" [7] mine", " [8] theirs", " [7] mine still", " nobody's"]
