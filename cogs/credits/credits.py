"""/credits, /gift and /leaderboard."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import cast

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from cogs.client.answers import TRANSIENT, acknowledged, wrap_parse_errors
from cogs.client.people import member_of, server_of
from cogs.client.quota import check_no_bot
from cogs.client.texts import BLURPLE
from cogs.credits import texts
from db.reports import Place
from services.amounts import MAX_AMOUNT
from services.clock import Clock
from services.credits.credits import Credits, CreditStatement
from services.credits.transfers import CreditTransfers
from services.errors import DeniedBySettings, InvalidRequest
from services.reports.usage import Usage
from services.settings.catalogue import GIFTS, LEADERBOARD

log = logging.getLogger(__name__)

ENTRIES = 8
"""Of the ledger, in /credits."""
DAYS = 30
PLACES = 10


class CreditsCog(commands.Cog):
    """What a member has, and what else can be done with it."""

    def __init__(
        self, credits: Credits, transfers: CreditTransfers, usage: Usage, *, clock: Clock
    ) -> None:
        self._credits = credits
        self._transfers = transfers
        self._usage = usage
        self._clock = clock

    @app_commands.command()
    async def credits(self, interaction: discord.Interaction) -> None:
        """See your credits, where they come from, and when they refill."""
        await acknowledged(interaction)
        statement = await self._credits.statement(member_of(interaction), entries=ENTRIES)
        card = credits_card(statement, at=self._clock())
        await interaction.followup.send(embed=card, ephemeral=True)

    @app_commands.command()
    @app_commands.describe(member="Who gets them", amount="How many of yours")
    async def gift(
        self,
        interaction: discord.Interaction,
        member: discord.User | discord.Member,
        amount: Range[int, 1, MAX_AMOUNT],
    ) -> None:
        """Give another member some of your credits."""
        check_no_bot(member)
        if not isinstance(member, discord.Member):
            raise InvalidRequest(texts.RECEIVER_LEFT.format(receiver=member.mention))
        # Delivered twice, an interaction ends here the second time: nothing is posted again.
        await acknowledged(interaction)
        moved = await self._transfers.gift(
            member_of(interaction),
            member_of(interaction, member),
            gift_id=interaction.id,
            amount=amount,
        )
        notified = await _notify_receiver(interaction, member, amount)
        await interaction.followup.send(
            texts.gift_given(member.mention, amount, moved.balance.free, notified=notified),
            ephemeral=True,
        )

    @app_commands.command()
    async def leaderboard(self, interaction: discord.Interaction) -> None:
        """See who made the most songs here in the last 30 days."""
        await acknowledged(interaction)
        server_id = server_of(interaction)
        if not (await self._credits.settings(server_id))[LEADERBOARD]:
            raise DeniedBySettings(texts.NO_LEADERBOARD)
        places = await self._usage.leaderboard(server_id, days=DAYS, limit=PLACES)
        card = leaderboard_card(places, viewer_id=interaction.user.id, days=DAYS, most=PLACES)
        await interaction.followup.send(embed=card, ephemeral=True)


async def _notify_receiver(
    interaction: discord.Interaction, receiver: discord.User | discord.Member, amount: int
) -> bool:
    """Post in the channel who gave what, and mention the receiver. False if that failed."""
    mine = interaction.app_permissions
    thread = isinstance(interaction.channel, discord.Thread)
    if not (
        mine.view_channel and (mine.send_messages_in_threads if thread else mine.send_messages)
    ):
        return False
    # Commands work only where messages do: see `Tree`.
    channel = cast("discord.abc.Messageable", interaction.channel)
    try:
        with wrap_parse_errors():
            await channel.send(
                texts.gift_received(receiver.mention, interaction.user.mention, amount),
                nonce=str(interaction.id),
                allowed_mentions=discord.AllowedMentions(
                    everyone=False, roles=False, users=[receiver]
                ),
            )
    except (*TRANSIENT, discord.HTTPException) as error:
        log.warning("gift %d: its receiver could not be notified: %s", interaction.id, error)
        return False
    return True


def credits_card(statement: CreditStatement, *, at: datetime) -> discord.Embed:
    """Show what a member has, where it comes from and where it went, as of `at`."""
    card = discord.Embed(
        title=texts.balance_text(statement.balance),
        description=texts.summary_text(statement, at=at),
        colour=BLURPLE,
    )
    card.add_field(name=texts.SOURCES, value=texts.sources_text(statement), inline=False)
    for name, value in texts.spent_fields(statement):
        card.add_field(name=name, value=value)
    if statement.entries:
        card.add_field(name=texts.RECENT, value=texts.entries_text(statement), inline=False)
    if statement.settings[GIFTS] and statement.balance.free:
        card.set_footer(text=texts.GIFT_HINT)
    return card


def leaderboard_card(
    places: Sequence[Place], *, viewer_id: int, days: int, most: int
) -> discord.Embed:
    """Show who made the most songs: at most so many `places`; its viewer among them, or why not."""
    lines = [texts.place_line(place, viewer_id=viewer_id) for place in places]
    card = discord.Embed(
        title=texts.LEADERBOARD_TITLE.format(days=days),
        description="\n".join(lines) or texts.NOBODY_YET,
        colour=BLURPLE,
    )
    if places and viewer_id not in (place.member_id for place in places):
        made_none = len(places) < most
        card.set_footer(text=texts.MADE_NONE if made_none else texts.NOT_IN_TOP.format(most=most))
    return card
