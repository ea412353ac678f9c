"""The one handler of errors."""

import errno
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest
from discord import app_commands

from cogs.client import errors
from cogs.client.errors import text_file
from db.errors import DatabaseBusyError, DiskFullError
from services.errors import InvalidRequest, NotPossible
from services.retry import Backoff
from tests.world import World, said


class Answers:
    """A hand-made interaction, and what it is answered with."""

    def __init__(self, *, done: bool = False, fails: Exception | None = None) -> None:
        self.id = 77
        self.message = None
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.response = SimpleNamespace(is_done=lambda: done, send_message=self._send)
        self.followup = SimpleNamespace(send=self._send)
        self._fails = fails

    async def _send(self, text: str, **options: Any) -> None:
        if self._fails is not None:
            raise self._fails
        self.said.append((text, options))


def http_error(status: int, code: int) -> discord.HTTPException:
    response: Any = SimpleNamespace(status=status, reason="no")
    return discord.HTTPException(response, {"code": code, "message": "no"})


async def answer(error: BaseException, interaction: Any = None) -> str:
    """Return the sentence that an error becomes."""
    interaction = interaction or Answers()
    await errors.answer(interaction, error)
    ((text, options),) = interaction.said
    assert options == {"ephemeral": True, "files": []}
    return str(text)


@pytest.mark.parametrize("done", [False, True])
async def test_a_refusal_is_its_sentence(done: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert await answer(NotPossible("It is over."), Answers(done=done)) == "It is over."
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("error", "sentence", "logged"),
    [
        (app_commands.MissingPermissions(["manage_guild"]), "Only those who may manage", False),
        (app_commands.NoPrivateMessage(), "can't be used here", False),
        (TimeoutError(), "Discord did not answer me in time", True),
        (DiskFullError(Path("songs.db")), "disk is full, so nothing was done", True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk is full, so nothing was done", True),
        (DatabaseBusyError("x"), "in use by another program, so nothing was done", True),
    ],
)
async def test_a_foreseen_error_has_a_sentence_and_no_trace(
    error: Exception, sentence: str, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert sentence in await answer(error)
    assert len(caplog.records) == logged
    for record in caplog.records:
        assert (record.levelno, record.exc_info) == (logging.WARNING, None)


async def test_an_unexpected_error_has_a_number_that_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sentence = await answer(ZeroDivisionError("secret detail"))
    assert "secret" not in sentence
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert sentence.split("`")[1] == "77"
    assert record.getMessage() == "error 77 in interaction 77"


async def test_an_error_about_a_song_has_the_songs_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    interaction: Any = Answers()

    async def fail() -> None:
        raise ZeroDivisionError

    await errors.guarded(interaction, fail(), song_id=5)
    ((text, _),) = interaction.said
    assert text.split("`")[1] == "5"
    assert "error 5 in interaction 77" in caplog.text


@pytest.mark.parametrize("code", [10_062, 40_060])
async def test_an_expired_interaction_is_only_logged(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    interaction: Any = Answers()
    await errors.answer(interaction, http_error(400, code))
    assert interaction.said == []
    assert "interaction 77 can't be answered" in caplog.text


@pytest.mark.parametrize(
    ("fails", "tries"),
    [(http_error(404, 10_015), 1), (aiohttp.ClientError("cut"), errors.MOST_TRIES)],
)
async def test_a_refused_answer_is_logged(
    fails: Exception,
    tries: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(errors, "BACKOFF", Backoff(first=0.0, longest=0.0))
    interaction: Any = Answers(fails=fails)
    await errors.answer(interaction, InvalidRequest("No."))
    assert caplog.text.count("interaction 77 can't be answered") == tries


async def test_an_error_in_a_command_is_answered(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.application.database.write() as connection:
        await connection.execute("ALTER TABLE ledger RENAME TO gone")
    result = await world.alice.slash(world.channel, "credits")
    sentence = said(result).content
    assert "Sorry" in sentence
    assert said(result).ephemeral
    assert sentence.split("`")[1] in caplog.text
    (error,) = world.errors()
    world.foreseen = [error]
    async with world.application.database.write() as connection:
        await connection.execute("ALTER TABLE gone RENAME TO ledger")


def test_a_lone_surrogate_is_returned_as_a_question_mark() -> None:
    file = text_file("Words \ud800", "words.txt")
    assert (file.filename, file.fp.read()) == ("words.txt", b"Words ?")


# --- commands of an older form --------------------------------------------------------------------

AMOUNT = {"name": "amount", "type": 4, "value": 5}
REASON = {"name": "reason", "type": 3, "value": "thanks"}
GENRES = {"name": "genres", "type": 3, "value": "funk"}
INSTRUMENTAL = {"name": "instrumental", "type": 5, "value": True}
UNRESOLVED = {"name": "member", "type": 6, "value": "12345"}


@pytest.mark.parametrize(
    ("command", "options"),
    [
        pytest.param("song", [INSTRUMENTAL], id="required option is missing"),
        pytest.param(
            "song", [GENRES, {"name": "mood", "type": 3, "value": "sad"}], id="unknown option"
        ),
        pytest.param("song", [{**GENRES, "type": 4, "value": 7}, INSTRUMENTAL], id="other type"),
        pytest.param("quota", [], id="it became a group"),
        pytest.param("gift", [UNRESOLVED, AMOUNT], id="member is not resolved"),
        pytest.param(
            "quota",
            [
                {
                    "name": "reset",
                    "type": 1,
                    "options": [{"name": "what", "type": 3, "value": "all of it"}],
                }
            ],
            id="choice is no longer offered",
        ),
        pytest.param(
            "quota",
            [{"name": "grant", "type": 1, "options": [AMOUNT, REASON, UNRESOLVED]}],
            id="in a group",
        ),
    ],
)
async def test_a_command_of_an_older_form_is_refused(
    world: World, command: str, options: list[dict[str, Any]]
) -> None:
    result = await world.raw_slash(world.mona, command, *options)
    assert said(result).content == errors.OUTDATED
    assert await world.rows() == []


async def test_a_removed_command_is_refused(world: World) -> None:
    world.client.tree.remove_command("queue")
    result = await world.raw_slash(world.alice, "queue")
    assert said(result).content == errors.OUTDATED


async def test_options_may_be_missing_during_autocomplete(world: World) -> None:
    assert await world.alice.autocomplete(world.channel, "song", "seconds", "6")
