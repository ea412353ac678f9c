"""What members may ask for, and where: /quota limits, channels, block, words, pause and allow."""

import re
from collections.abc import Sequence
from typing import Any, Self

import discord
from discord import app_commands, ui
from discord.app_commands import Range
from discord.ext import commands

from cogs.client.answers import acknowledged
from cogs.client.client import Client
from cogs.client.components import ID, Row
from cogs.client.errors import answer, guarded, text_file
from cogs.client.formatting import plain
from cogs.client.people import data_of, manager_of, services, typed_text
from cogs.client.permissions import lacking_to_post
from cogs.settings.options import (
    SO_ALREADY,
    check_no_bot,
    complete_moment,
    moment_of,
)
from cogs.settings.texts import limits_text, shown
from services.credits.amounts import MAX_REASON
from services.credits.moments import LONGEST_TYPED
from services.errors import InvalidRequest, NotPermitted
from services.providers.registry import PARAMETERS
from services.settings.blocked_words import MAX_TYPED, parse_words
from services.settings.server_settings import MAX_CHANNELS, MAX_COOLDOWN, MAX_UNFINISHED, Manager
from services.settings.settings import Rules

WORDS_FORM, WORDS_FIELD = "quota:words", "words"
WORDS_ALONE = 6_000
"""Discord's limit of a string option; ours is said in words of our own."""
LACKING_SHOWN = 8
"""Channels, each with what is missing in it, that fit into one message."""

SONG_CHANNELS = [
    discord.ChannelType.text,
    discord.ChannelType.news,
    discord.ChannelType.voice,
    discord.ChannelType.stage_voice,
    discord.ChannelType.forum,
]
"""Where commands can be used; threads and posts count as the channel that they are in.

Media channels are missing: Discord's description of its API does not list them (16) for options,
and an option that is refused is refused with all commands.
"""


class SongChannel(app_commands.Transformer):
    """A channel that songs may be allowed in, also one that the bot does not see (yet)."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """What Discord lets people choose from."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """See `SONG_CHANNELS`."""
        return SONG_CHANNELS

    async def transform(
        self,
        interaction: discord.Interaction[Any],  # noqa: ARG002 - discord.py's form
        value: Any,  # noqa: ANN401
        /,
    ) -> int:
        """Its id."""
        return int(value.id)


class LimitCommands(commands.Cog):
    """The part of /quota that says what is not allowed, and to whom."""

    _client: Client

    # --- /quota limits ----------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        at_once="Songs of one member that may wait or run at once",
        longest="The longest song, in seconds",
        steps="The most steps",
        cooldown="Seconds from one song of a member to the next; 0 for none",
    )
    async def limits(
        self,
        interaction: discord.Interaction,
        at_once: Range[int, 1, MAX_UNFINISHED] | None = None,
        longest: Range[int, PARAMETERS.seconds.low, PARAMETERS.seconds.high] | None = None,
        steps: Range[int, PARAMETERS.steps.low, PARAMETERS.steps.high] | None = None,
        cooldown: Range[int, 0, MAX_COOLDOWN] | None = None,
    ) -> None:
        """Set what one member may ask for."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        if all(limit is None for limit in (at_once, longest, steps, cooldown)):
            raise InvalidRequest(
                "Please name what to change: `at_once`, `longest`, `steps` or `cooldown`. "
                "`/quota show` shows what holds now."
            )
        server_settings = self._client.services.server_settings
        done = await server_settings.set_limits(
            by, unfinished=at_once, seconds=longest, steps=steps, cooldown=cooldown
        )
        rules = await server_settings.rules(by.server_id)
        said = (
            f"Members may now have {limits_text(rules.limits)}. Songs under way are finished as "
            "they are."
        )
        await interaction.followup.send(said if done else SO_ALREADY, ephemeral=True)

    # --- /quota channels --------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        add="One more channel where songs may be made; its threads count with it",
        remove="A channel where they may not be made any more",
        everywhere="True: in every channel",
    )
    async def channels(
        self,
        interaction: discord.Interaction,
        add: app_commands.Transform[int, SongChannel] | None = None,
        remove: app_commands.Transform[int, SongChannel] | None = None,
        everywhere: bool = False,
    ) -> None:
        """Choose where songs may be made; without options a menu opens."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        server_settings = self._client.services.server_settings
        if everywhere and (add is not None or remove is not None):
            raise InvalidRequest("Please choose either `everywhere` or channels.")
        if add is not None and add == remove:
            raise InvalidRequest("That is one channel: please either add or remove it.")
        if everywhere:
            done = await server_settings.set_channels(by, [])
        elif add is None and remove is None:
            await self._open_channels(interaction, by)
            return
        else:
            more = [] if add is None else [add]
            check_channels(interaction.guild, more)
            done = await server_settings.change_channels(
                by, add=more, remove=[] if remove is None else [remove]
            )
        rules = await server_settings.rules(by.server_id)
        said = channels_text(rules) if done else SO_ALREADY
        await interaction.followup.send(said, ephemeral=True)

    async def _open_channels(self, interaction: discord.Interaction, by: Manager) -> None:
        rules = await self._client.services.server_settings.rules(by.server_id)
        view = channels_row(interaction.guild, rules)
        await interaction.followup.send(channels_text(rules), view=view, ephemeral=True)

    # --- /quota block, unblock --------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        member="Who is to make no songs here",
        reason="Why; they are told",
        until="Until when: 7d, 3 months, 2026-12-31 (until `/quota unblock`)",
    )
    @app_commands.autocomplete(until=complete_moment)
    async def block(
        self,
        interaction: discord.Interaction,
        member: discord.User,
        reason: Range[str, 1, MAX_REASON],
        until: Range[str, 1, LONGEST_TYPED] | None = None,
    ) -> None:
        """Let a member make no songs."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        check_no_bot(member)
        ends = await moment_of(interaction, until)
        done = await self._client.services.server_settings.block(
            by, member.id, reason=reason, until=ends
        )
        how_long = f"until {shown(ends)}" if ends else "until `/quota unblock`"
        said = (
            f"<@{member.id}> can make no songs here {how_long}, and is told why: "
            f"{plain(reason)}. Their waiting songs are cancelled and refunded; "
            "songs that have started will still be finished."
        )
        await interaction.followup.send(said if done else SO_ALREADY, ephemeral=True)

    @app_commands.command()
    @app_commands.describe(member="Who may make songs here again")
    async def unblock(self, interaction: discord.Interaction, member: discord.User) -> None:
        """Let a member make songs again."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        done = await self._client.services.server_settings.unblock(by, member.id)
        said = f"<@{member.id}> can make songs here again."
        await interaction.followup.send(said if done else SO_ALREADY, ephemeral=True)

    # --- /quota words -----------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        add="Words or phrases not wanted in genres and lyrics, with commas between them",
        remove="Words or phrases that may be used again",
    )
    async def words(
        self,
        interaction: discord.Interaction,
        add: Range[str, 1, WORDS_ALONE] | None = None,
        remove: Range[str, 1, WORDS_ALONE] | None = None,
    ) -> None:
        """Set the words that are not wanted; without options the whole list opens."""
        by = manager_of(interaction)
        server_settings = self._client.services.server_settings
        if add is None and remove is None:
            # A form must be the first answer.
            rules = await server_settings.rules(by.server_id)
            await interaction.response.send_modal(WordsForm(rules.words))
            return
        await acknowledged(interaction)
        done = await server_settings.change_words(by, add=add or "", remove=remove or "")
        rules = await server_settings.rules(by.server_id)
        said = words_text(rules) if done else SO_ALREADY
        await interaction.followup.send(said, ephemeral=True)

    @commands.Cog.listener("on_interaction")
    async def on_words(self, interaction: discord.Interaction) -> None:
        """The form of words was sent."""
        data = data_of(interaction)
        if interaction.type is not discord.InteractionType.modal_submit:
            return
        if data.get("custom_id") == WORDS_FORM:
            await self._words_sent(interaction, typed_text(data, WORDS_FIELD))

    async def _words_sent(self, interaction: discord.Interaction, typed: str) -> None:
        try:
            by = manager_of(interaction)
            await acknowledged(interaction)
            server_settings = self._client.services.server_settings
            done = await server_settings.set_words(by, parse_words(typed))
            said = words_text(await server_settings.rules(by.server_id)) if done else SO_ALREADY
            await interaction.followup.send(said, ephemeral=True)
        except Exception as error:  # noqa: BLE001 - the one handler answers and logs it
            # What was typed is never lost: it comes back with the sentence.
            words = text_file(typed, "words.txt")
            await answer(interaction, error, file=words if typed.strip() else None)

    # --- /quota pause, resume ---------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(reason="Why; members who ask for a song are told")
    async def pause(
        self, interaction: discord.Interaction, reason: Range[str, 1, MAX_REASON] | None = None
    ) -> None:
        """Make no new songs; those under way are finished."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        done = await self._client.services.server_settings.pause(by, reason or "")
        why = f" Who asks for one is told why: {plain(reason)}." if reason else ""
        said = (
            "No new songs are made in this server; those under way are finished."
            f"{why} `/quota resume` goes on."
        )
        await interaction.followup.send(said if done else SO_ALREADY, ephemeral=True)

    @app_commands.command()
    async def resume(self, interaction: discord.Interaction) -> None:
        """Make new songs again."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        done = await self._client.services.server_settings.resume(by)
        said = "Songs are made in this server again."
        await interaction.followup.send(said if done else SO_ALREADY, ephemeral=True)

    # --- /quota allow -----------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        gifts="Whether members may give each other credits with /gift",
        leaderboard="Whether members may see who made the most songs with /leaderboard",
    )
    async def allow(
        self,
        interaction: discord.Interaction,
        gifts: bool | None = None,
        leaderboard: bool | None = None,
    ) -> None:
        """Allow gifts among members, and the leaderboard."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        if gifts is None and leaderboard is None:
            raise InvalidRequest("Please choose `gifts`, `leaderboard` or both.")
        server_settings, said = self._client.services.server_settings, []
        if gifts is not None and await server_settings.set_gifts(by, allowed=gifts):
            may = "may give each other credits with `/gift`" if gifts else "give no more gifts"
            said.append(f"Members {may} now.")
        if leaderboard is not None and await server_settings.set_leaderboard(
            by, allowed=leaderboard
        ):
            open_ = "is open to all now" if leaderboard else "is closed now"
            said.append(f"`/leaderboard` {open_}.")
        await interaction.followup.send(" ".join(said) or SO_ALREADY, ephemeral=True)


# --- channels -------------------------------------------------------------------------------------


def check_channels(guild: discord.Guild | None, channel_ids: Sequence[int]) -> None:
    """Whether songs could be posted in all of these channels.

    Raises:
        NotPermitted: names the channels, and what the bot lacks in each.
    """
    lacking = [
        (channel_id, missing)
        for channel_id in channel_ids
        if (missing := _lacking(guild, channel_id))
    ]
    if not lacking:
        return
    named = "; ".join(
        f"in <#{channel_id}> {', '.join(missing)}"
        for channel_id, missing in lacking[:LACKING_SHOWN]
    )
    more = len(lacking) - LACKING_SHOWN
    others = f"; and something in {more} more" if more > 0 else ""
    raise NotPermitted(
        f"I couldn't post songs there. I lack {named}{others}. Please give it to me in the "
        "channel's settings, or choose other channels. Nothing was changed."
    )


def _lacking(guild: discord.Guild | None, channel_id: int) -> list[str]:
    channel = guild.get_channel(channel_id) if guild is not None else None
    if guild is None or channel is None:
        return ["View Channel"]
    return lacking_to_post(channel, channel.permissions_for(guild.me))


def channels_text(rules: Rules) -> str:
    """Where songs may be made now."""
    if not rules.channels:
        return "Songs can be made in every channel."
    where = ", ".join(f"<#{channel}>" for channel in rules.channels)
    return f"Songs can be made in {where} now, their threads included, and nowhere else."


class ChannelMenu(ui.DynamicItem[ui.ChannelSelect[Any]], template=r"quota:channels"):
    """Chooses all channels at once; none is everywhere."""

    def __init__(self, chosen: Sequence[int] = ()) -> None:
        super().__init__(
            ui.ChannelSelect(
                custom_id="quota:channels",
                placeholder="In every channel",
                channel_types=SONG_CHANNELS,
                min_values=0,
                max_values=MAX_CHANNELS,
                default_values=[
                    discord.SelectDefaultValue(
                        id=channel, type=discord.SelectDefaultValueType.channel
                    )
                    for channel in chosen
                ],
            )
        )

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],  # noqa: ARG003 - discord.py's form
        item: ui.Item[Any],  # noqa: ARG003
        match: re.Match[str],  # noqa: ARG003
        /,
    ) -> Self:
        """Made anew for each choice."""
        return cls()

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Chosen."""
        await guarded(interaction, self._choose(interaction))

    async def _choose(self, interaction: discord.Interaction[Any]) -> None:
        by = manager_of(interaction)
        await interaction.response.defer()
        values = map(str, data_of(interaction).get("values") or ())
        chosen = [int(value) for value in values if re.fullmatch(ID, value)]
        check_channels(interaction.guild, chosen)
        server_settings = services(interaction).server_settings
        await server_settings.set_channels(by, chosen)
        rules = await server_settings.rules(by.server_id)
        view = channels_row(interaction.guild, rules)
        await interaction.edit_original_response(content=channels_text(rules), view=view)


def channels_row(guild: discord.Guild | None, rules: Rules) -> ui.View:
    """The menu, with what holds now chosen in it; Discord refuses channels that are no more."""
    there = [channel for channel in rules.channels if guild and guild.get_channel(channel)]
    row = Row()
    row.add_item(ChannelMenu(there))
    return row


PERSISTENT = (ChannelMenu,)
"""What the bot has to know of to answer choices on messages from before a restart."""


# --- words ----------------------------------------------------------------------------------------


class WordsForm(ui.Modal):
    """The list. What was typed is handled from the raw interaction: it outlives a restart."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(title="Unwanted words", custom_id=WORDS_FORM, timeout=None)
        self.add_item(
            ui.Label(
                text="Words and phrases",
                description="One in each line. Whole words are found, whatever their case and "
                "accents.",
                component=ui.TextInput(
                    custom_id=WORDS_FIELD,
                    style=discord.TextStyle.paragraph,
                    default="\n".join(words) or None,
                    required=False,
                    max_length=MAX_TYPED,
                ),
            )
        )
        # discord.py would keep every form that was ever opened; ours needs no keeping.
        self.stop()


def words_text(rules: Rules) -> str:
    """How long the list is now."""
    if not rules.words:
        return "Every word may be used in genres and lyrics."
    count = "1 word or phrase is" if len(rules.words) == 1 else f"{len(rules.words):,} words are"
    return (
        f"{count} not wanted in genres and lyrics now. Who uses one is told which, before anything "
        "is spent."
    )
