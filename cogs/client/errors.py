"""One handler of errors: a refusal becomes a sentence, a defect an apology with a number."""

import asyncio
import contextlib
import io
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, cast

import discord
from discord import AppCommandOptionType, app_commands

from cogs.client.answers import (
    ALREADY_ACKNOWLEDGED,
    LONGEST_PAUSE,
    TRANSIENT,
    outcome_unknown,
    wrap_parse_errors,
)
from cogs.client.permissions import check_is_member
from cogs.client.texts import refusal_text
from db.errors import NO_ROOM, DatabaseBusyError
from services import logs
from services.errors import NotPermitted, NotPossible, Refusal
from services.retry import Backoff, retry

log = logging.getLogger(__name__)

UNKNOWN_INTERACTION = 10062
"""Discord, "JSON Error Codes": the answer came too late."""
BACKOFF = Backoff(first=1.0, longest=30.0)
MOST_TRIES = 8
"""Tries to send somebody a reply: one minute at least, two at most."""
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
        """Refuse commands of an older form, and where the bot is no member; log with the id."""
        logs.set_context(interaction.id)
        try:
            check_is_member(interaction)
            if is_current(interaction):
                return True
            log.warning("interaction %d: an older form of a command", interaction.id)
            text = OUTDATED
        except NotPermitted as refused:
            text = refusal_text(refused)
        if interaction.type is discord.InteractionType.autocomplete:
            await interaction.response.autocomplete([])
        else:
            await say(interaction, text)
        return False

    async def on_error(
        self, interaction: discord.Interaction, error: app_commands.AppCommandError, /
    ) -> None:
        """Answer an error in a command."""
        await answer(interaction, getattr(error, "original", error))


# --- whether a command is one of this version -----------------------------------------------------

_NESTED = (AppCommandOptionType.subcommand.value, AppCommandOptionType.subcommand_group.value)
_RESOLVED = {
    AppCommandOptionType.user.value: "users",
    AppCommandOptionType.role.value: "roles",
    AppCommandOptionType.channel.value: "channels",
}
"""Where Discord sends what an id stands for ("Resolved Data Structure")."""


def is_current(interaction: discord.Interaction[Any]) -> bool:
    """Return whether the command exists, and has the options that came, with their types.

    Discord's clients use the commands of an older version for a while, and discord.py passes on
    whatever they send: a text where a number is expected now, an id where a member was. During
    autocomplete, required options may be missing, and ids are not resolved yet.
    """
    command = interaction.command
    if not isinstance(command, app_commands.Command):
        return False
    data = cast("Mapping[str, Any]", interaction.data or {})
    options: Sequence[Mapping[str, Any]] = data.get("options") or ()
    while options and options[0]["type"] in _NESTED:
        options = options[0].get("options") or ()
    given = {option["name"]: option for option in options}
    known = {parameter.display_name: parameter for parameter in command.parameters}
    if any(
        name not in known or option["type"] != known[name].type.value
        for name, option in given.items()
    ):
        return False
    if interaction.type is discord.InteractionType.autocomplete:
        return True
    resolved = data.get("resolved") or {}
    return all(
        _is_valid(given[name], parameter, resolved) if name in given else not parameter.required
        for name, parameter in known.items()
    )


def _is_valid(
    option: Mapping[str, Any],
    parameter: app_commands.Parameter,
    resolved: Mapping[str, Mapping[str, Any]],
) -> bool:
    """Return whether a value is one of the choices, if there are any, and an id is resolved."""
    choices = [choice.value for choice in parameter.choices]
    kind = _RESOLVED.get(option["type"])
    return (not choices or option["value"] in choices) and (
        kind is None or str(option["value"]) in (resolved.get(kind) or {})
    )


# --- answers to errors ----------------------------------------------------------------------------


async def guarded(
    interaction: discord.Interaction,
    work: Coroutine[Any, Any, None],
    *,
    song_id: int | None = None,
    public: bool = False,
) -> None:
    """Respond to a button or menu, of `song_id`; discord.py would only log errors.

    `public`: it belongs under a message that everybody sees.
    """
    with logs.context(song_id or interaction.id), contextlib.closing(work):
        try:
            if not public:
                check_private(interaction)
            if song_id is None:  # a song that exists is its member's, wherever the bot is
                check_is_member(interaction)
            await work
        except Exception as error:  # noqa: BLE001 - answered and logged
            await answer(interaction, error)


def check_private(interaction: discord.Interaction) -> None:
    """Check that only this person sees the message, which is changed in place.

    Raises:
        NotPossible: others see it.
    """
    if interaction.message is not None and not interaction.message.flags.ephemeral:
        raise NotPossible("This button doesn't work here. Use the command again.")


async def answer(
    interaction: discord.Interaction, error: BaseException, *, file: discord.File | None = None
) -> None:
    """Say what was wrong, with a `file`, and log what the person need not know."""
    if isinstance(error, discord.HTTPException) and error.code in (
        UNKNOWN_INTERACTION,
        ALREADY_ACKNOWLEDGED,
    ):
        log.warning("interaction %d can't be answered: %s", interaction.id, error)
        return
    await say(interaction, sentence(interaction, error), file=file)


def sentence(interaction: discord.Interaction, error: BaseException) -> str:
    """Return what to say about an error, and log one that is not the person's."""
    match error:
        case Refusal():
            return refusal_text(error)
        case app_commands.MissingPermissions():
            return "Only those who may manage this server can use this command."
        case app_commands.CheckFailure():
            return "This command can't be used here."
        case _ if outcome_unknown(error):
            text = (
                "Discord did not answer me in time, so this may not have been done. Please check, "
                "and try again if it was not."
            )
        case OSError() if error.errno in NO_ROOM:
            text = (
                "The bot's disk is full, so nothing was done. Its operator is notified; please try "
                "again later."
            )
        case DatabaseBusyError():
            text = (
                "The bot's database is in use by another program, so nothing was done. Please try "
                "again in a minute."
            )
        case _:
            number = logs.context_id() or interaction.id
            log.error("error %d in interaction %d", number, interaction.id, exc_info=error)
            return (
                "Sorry, something went wrong, and nothing more was done. Please try again. If it "
                f"happens again, send the bot's operator this number: `{number}`."
            )
    log.warning("interaction %d: %r", interaction.id, error)
    return text


def text_file(text: str, name: str) -> discord.File:
    """Return a person's text as a file; a lone surrogate becomes a question mark."""
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
                if not interaction.response.is_done():
                    try:
                        await interaction.response.send_message(text, ephemeral=True, files=files)
                    except discord.HTTPException as error:
                        if error.code != ALREADY_ACKNOWLEDGED:
                            raise
                    else:
                        return
                await interaction.followup.send(text, ephemeral=True, files=files)

    async def on_error(error: Exception, _: float) -> None:
        log.warning("interaction %d can't be answered: %s", interaction.id, error)
        if not outcome_unknown(error):
            raise error

    errors = (*TRANSIENT, discord.HTTPException)
    with contextlib.suppress(*errors):
        await retry(send, errors, on_error, backoff=BACKOFF, tries=MOST_TRIES)
