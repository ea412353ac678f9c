"""What a person types stays text: in messages, files, tables, the log and SQL."""

import csv
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.security.population import population
from tests.world.sockets import BotProcess, World, own_process, status_of, world_outside

MARKUP = (
    *("**bold**", "__under__", "~~struck~~", "||hidden||", "`code`"),
    *("[here](https://evil.example/a)", "<https://evil.example/b>", "https://evil.example/c"),
    *("@everyone", "@here", "<@1>", "<@&1>", "<#1>", "</song:1>", "<t:1:R>", "<:a:1>"),
    "discord.gg/x",
)
STATEMENT = "'); DROP TABLE songs; --"
PATHS = "../../../etc/passwd\0 con.mp3 C:\\x |rm -rf /"
LINE = "\n2026-01-01 00:00:00,000 CRITICAL forged: line\r\u2028\x1b[2J\x1b]0;title\x07\u202e\x9b31m"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_outside(tmp_path) as world:
        yield world


async def test_typed_text_stays_text(world: World) -> None:
    """In the post, its card and its file's name; in the log at DEBUG; in SQL."""
    requests = [
        {"genres": " ".join(MARKUP[:6]), "lyrics": f"[chorus]\n{' '.join(MARKUP[6:])}"},
        {"genres": f"funk {STATEMENT}", "lyrics": f"[chorus]\n{PATHS}{LINE}\n{STATEMENT}"},
        {"genres": f"jazz{LINE}", "lyrics": "{0.__class__} %s %n ${x} \\n"},
    ]
    async with own_process(world, LOG_LEVEL="DEBUG") as process:
        songs = [await world.song(**options) for options in requests]
        for song in songs:
            assert status_of(await world.ended(song, within=60)) == "COMPLETED"
        assert await process.stop() == 0
    assert len(world.posts) == len(songs)
    for post in world.posts:
        assert post.pings.users == {world.alice.id}
        assert (post.pings.everyone, post.pings.roles) == (False, frozenset())
        (file,) = post.attachments
        assert re.fullmatch(r"[0-9]+(-[\w-]+)?\.mp3", file.filename), file.filename
    shown = [
        *(str(post.embeds) for post in world.posts),
        *(str(s.messages[0].embeds) for s in songs),
    ]
    # The typed link may be read; a client makes none of it.
    assert [(mark, text) for text in shown for mark in MARKUP if mark in text] == []
    lines = process.output.splitlines()
    assert [n for n in lines if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} |  ", n)] == []
    assert all(line.isprintable() for line in lines)
    assert "forged" not in process.output
    check = BotProcess(world.folder, world.settings)
    (world.folder / "log").unlink()
    await check.start("check")
    assert await check.ended(within=30) == 0, check.output
    assert "No problems found." in check.output


FORMULAS = (
    *("=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", '"=1'),
    *("\uff1d1", "a\n=1", 'a","=1', ";=1", "\u200b=1"),
)


async def test_reason_is_no_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager's, by the command itself, in the table that another opens."""
    async with population(tmp_path, monkeypatch) as here:
        for reason in FORMULAS:
            options = [("member", 6, str(here.people["bob"].id)), ("amount", 4, 1)]
            given = [{"name": n, "type": t, "value": v} for n, t, v in options]
            given.append({"name": "reason", "type": 3, "value": f"{reason} x"})
            await here.command("mona", "quota grant", given)
        here.bot.session.sent.clear()
        await here.command("mona", "quota export", [])
        assert here.bot.log.errors == []
        (table,) = [
            text for text in here.bot.session.sent if text.lstrip("\ufeff").startswith("time")
        ]
    rows = list(csv.reader(io.StringIO(table, newline="")))
    cells = [cell for row in rows[1:] for cell in row]
    assert sum(" x" in cell for cell in cells) == len(FORMULAS)
    numbers = re.compile(r"-?[0-9]+")
    begins = re.compile(r"[\s\u200b\ufeff'\"]*[=+\-@\uff1d]")
    assert [
        cell
        for cell in cells
        if begins.match(cell) and not cell.startswith("'") and not numbers.fullmatch(cell)
    ] == []
