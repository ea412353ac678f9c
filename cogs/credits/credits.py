"""/credits, /gift and /leaderboard."""

import logging
from typing import cast

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from cogs.client.answers import TRANSIENT, acknowledged, wrap_parse_errors
from cogs.client.people import member_of, server_of
from cogs.credits import credit_cards, texts
from services.amounts import MAX_AMOUNT
from services.clock import Clock
from services.credits.credits import Credits
from services.credits.transfers import CreditTransfers
from services.errors import DeniedBySettings, InvalidRequest
from services.reports.usage import Usage
from services.settings.catalogue import LEADERBOARD

log = logging.getLogger(__name__)

LATELY = 8
"""Entries of the ledger that /credits shows."""
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
        """What you have here, where it comes from, and when it refills."""
        await acknowledged(interaction)
        standing = await self._credits.statement(member_of(interaction), entries=LATELY)
        card = credit_cards.credits_card(standing, at=self._clock())
        await interaction.followup.send(embed=card, ephemeral=True)

    @app_commands.command()
    @app_commands.describe(member="Who gets them", amount="How many of yours")
    async def gift(
        self,
        interaction: discord.Interaction,
        member: discord.User,
        amount: Range[int, 1, MAX_AMOUNT],
    ) -> None:
        """Give another member some of your credits."""
        _check_receives(member)
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
        """Who made the most songs here in the last 30 days."""
        await acknowledged(interaction)
        server_id = server_of(interaction)
        if not (await self._credits.settings(server_id))[LEADERBOARD]:
            raise DeniedBySettings(texts.NO_LEADERBOARD)
        places = await self._usage.leaderboard(server_id, days=DAYS, limit=PLACES)
        card = credit_cards.leaderboard_card(
            places, viewer_id=interaction.user.id, days=DAYS, most=PLACES
        )
        await interaction.followup.send(embed=card, ephemeral=True)


def _check_receives(person: discord.Member | discord.User) -> None:
    """Whether somebody could spend a gift.

    Raises:
        InvalidRequest: it is a bot, or nobody of this server.
    """
    if person.bot:
        raise InvalidRequest(texts.BOT_RECEIVES)
    if not isinstance(person, discord.Member):
        raise InvalidRequest(texts.receiver_left(person.mention))


async def _notify_receiver(
    interaction: discord.Interaction, receiver: discord.User, amount: int
) -> bool:
    """Post in the channel who gave what, which notifies the receiver alone; whether it worked."""
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
