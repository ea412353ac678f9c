"""One handler: an error of ours becomes one plain sentence, any other an apology with a number."""

import asyncio
import contextlib
import io
import logging
from collections.abc import Coroutine
from typing import Any

import discord
from discord import app_commands

from cogs.client.answers import (
    ALREADY_ACKNOWLEDGED,
    LONGEST_PAUSE,
    PASSING,
    outcome_unknown,
    wrap_parse_errors,
)
from cogs.client.command_form import is_current
from cogs.client.presence import check_is_member
from cogs.client.texts import refusal_text
from db.errors import NO_ROOM, DatabaseBusyError
from services import logs
from services.errors import NotPermitted, NotPossible, Refusal
from services.retry import Backoff, retry

log = logging.getLogger(__name__)

UNKNOWN_INTERACTION = 10062
"""Discord, "JSON Error Codes": our answer came too late."""
AGAIN = Backoff(first=1.0, longest=30.0)
MOST_TRIES = 8
"""Of telling a person something: for a minute at least, two at most."""
OUTDATED = (
    "Discord has sent this command in an older form, or with something that it does not know. "
    "Please restart Discord and use it again. Nothing was done."
)


class Tree(app_commands.CommandTree[discord.Client]):
    """The command tree, whose errors go through `answer`. For servers only."""

    def __init__(self, client: discord.Client) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=False, private_channel=False
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Before each command, in the task that carries it out: it is logged under its id.

        False, with a reply, if it did not come in the form in which it is registered.
        """
        logs.set_context(interaction.id)
        try:
            check_is_member(interaction)
        except NotPermitted as refused:
            await _refuse(interaction, refusal_text(refused))
            return False
        if is_current(interaction):
            return True
        log.warning("interaction %d: an older form of a command", interaction.id)
        await _refuse(interaction, OUTDATED)
        return False

    async def on_error(
        self, interaction: discord.Interaction, error: app_commands.AppCommandError, /
    ) -> None:
        """An error in a command."""
        await answer(interaction, getattr(error, "original", error))


async def _refuse(interaction: discord.Interaction, text: str) -> None:
    if interaction.type is discord.InteractionType.autocomplete:
        await interaction.response.autocomplete([])
    else:
        await say(interaction, text)


async def guarded(
    interaction: discord.Interaction, work: Coroutine[Any, Any, None], *, song_id: int | None = None
) -> None:
    """Do what a button or a menu asks for, of `song_id`; discord.py would only log its errors."""
    with logs.context(song_id or interaction.id), contextlib.closing(work):
        try:
            check_alone(interaction)
            if song_id is None:  # a song that exists is its member's, wherever the bot is
                check_is_member(interaction)
            await work
        except Exception as error:  # noqa: BLE001 - the one handler answers and logs it
            await answer(interaction, error)


def check_alone(interaction: discord.Interaction) -> None:
    """Whether only this person sees what is pressed: it is changed in place, and may tell a lot.

    All our buttons, menus and forms are in such messages.

    Raises:
        NotPossible: it is a message that others see.
    """
    if interaction.message is not None and not interaction.message.flags.ephemeral:
        raise NotPossible("That button is not in use here: please use the command again.")


async def answer(
    interaction: discord.Interaction, error: BaseException, *, file: discord.File | None = None
) -> None:
    """Tell the person what was wrong, with a `file`, and the log what they need not know."""
    if isinstance(error, discord.HTTPException) and error.code in (
        UNKNOWN_INTERACTION,
        ALREADY_ACKNOWLEDGED,
    ):
        log.warning("interaction %d can't be answered: %s", interaction.id, error)
        return
    await say(interaction, sentence(interaction, error), file=file)


def sentence(interaction: discord.Interaction, error: BaseException) -> str:
    """What to tell the person."""
    if isinstance(error, Refusal):
        return refusal_text(error)
    if isinstance(error, app_commands.MissingPermissions):
        return "Only those who may manage this server can use this command."
    if isinstance(error, app_commands.CheckFailure):
        return "This command can't be used here."
    if outcome_unknown(error):
        log.warning("interaction %d: Discord's answer was lost: %s", interaction.id, error)
        return (
            "Discord did not answer me in time, so this may not have been done. Please look, and "
            "try again if it was not."
        )
    number = logs.context_id() or interaction.id
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        log.warning("interaction %d: %s", interaction.id, error)
        return (
            "The bot's disk is full, so nothing was done. Its operator hears of it; please try "
            "again later."
        )
    if isinstance(error, DatabaseBusyError):
        log.warning("interaction %d: %s", interaction.id, error)
        return (
            "The bot's database is in use by another program, so nothing was done. Please try "
            "again in a minute."
        )
    log.error("error %d in interaction %d", number, interaction.id, exc_info=error)
    return (
        "Sorry, that went wrong here. Nothing more was done; please try again. If it happens "
        f"again, tell the bot's operator this number: `{number}`."
    )


def text_file(text: str, name: str) -> discord.File:
    """What a person typed, to be returned; half a character of it becomes a question mark."""
    return discord.File(io.BytesIO(text.encode("utf-8", "replace")), name)


async def say(
    interaction: discord.Interaction, text: str, *, file: discord.File | None = None
) -> None:
    """Answer so that only the person sees it, whether or not something was answered before."""
    content = None if file is None else file.fp.read()

    async def send() -> None:
        files = [] if file is None else [discord.File(io.BytesIO(content or b""), file.filename)]
        with wrap_parse_errors():
            async with asyncio.timeout(LONGEST_PAUSE):
                await _send(interaction, text, files)

    async def on_error(error: Exception, _: float) -> None:
        log.warning("interaction %d can't be answered: %s", interaction.id, error)
        if not outcome_unknown(error):
            raise error

    errors = (*PASSING, discord.HTTPException)
    with contextlib.suppress(*errors):
        await retry(send, errors, on_error, backoff=AGAIN, tries=MOST_TRIES)


async def _send(interaction: discord.Interaction, text: str, files: list[discord.File]) -> None:
    """As the first answer, or after it: also where the first one came, and we don't know of it."""
    if not interaction.response.is_done():
        try:
            await interaction.response.send_message(text, ephemeral=True, files=files)
        except discord.HTTPException as error:
            if error.code != ALREADY_ACKNOWLEDGED:
                raise
        else:
            return
    await interaction.followup.send(text, ephemeral=True, files=files)
