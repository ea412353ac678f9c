"""One handler: an error of ours becomes one plain sentence, any other an apology with a number."""

import logging
from collections.abc import Awaitable

import aiohttp
import discord
from discord import app_commands

from services import logs
from services.errors import Refusal

log = logging.getLogger(__name__)

UNKNOWN_INTERACTION, ALREADY_ACKNOWLEDGED = 10062, 40060
"""Discord, "JSON Error Codes": our answer came too late, or the interaction was delivered twice."""


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
        """Before each command, in the task that carries it out: it is logged under its id."""
        logs.about_from_here(interaction.id)
        return True

    async def on_error(
        self, interaction: discord.Interaction, error: app_commands.AppCommandError, /
    ) -> None:
        """An error in a command."""
        await answer(interaction, getattr(error, "original", error))


async def guarded(
    interaction: discord.Interaction, work: Awaitable[None], *, song_id: int | None = None
) -> None:
    """Do what a button or a form asks for, of `song_id`; discord.py would only log its errors."""
    with logs.about(song_id or interaction.id):
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the one handler answers and logs it
            await answer(interaction, error)


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
        return str(error)
    if isinstance(error, app_commands.MissingPermissions):
        return "Only those who may manage this server can use this command."
    if isinstance(error, app_commands.CheckFailure):
        return "This command can't be used here."
    number = logs.subject() or interaction.id
    log.error("error %d in interaction %d", number, interaction.id, exc_info=error)
    return (
        "Sorry, that went wrong here. Nothing more was done; please try again. If it happens "
        f"again, tell the bot's operator this number: `{number}`."
    )


async def say(
    interaction: discord.Interaction, text: str, *, file: discord.File | None = None
) -> None:
    """Answer so that only the person sees it, whether or not something was answered before."""
    files = [] if file is None else [file]
    try:
        if interaction.response.is_done():
            await interaction.followup.send(text, ephemeral=True, files=files)
        else:
            await interaction.response.send_message(text, ephemeral=True, files=files)
    except (discord.HTTPException, aiohttp.ClientError) as error:
        log.warning("interaction %d can't be answered: %s", interaction.id, error)
