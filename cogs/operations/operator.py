"""/operator: usage and budgets for the operator, in Discord."""

import re
from collections.abc import Callable, Collection, Sequence

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs.client.answers import acknowledged
from cogs.client.people import server_of
from cogs.client.texts import BLURPLE, ago, credits_text, plain, songs_text
from cogs.songs import texts
from db.records import OperatorBudget, Tally, Undelivered
from services.amounts import MAX_BUDGET
from services.credits.budgets import DefaultBudgets, OperatorBudgets
from services.errors import InvalidRequest, NotPermitted
from services.reports.overview import Overview, ServerUse

ID = r"[0-9]{1,19}"
LISTED = 10
NAME_SHOWN = 25
"""Ten of them fit into a field, even if every character is escaped."""
REASONS, REASON_SHOWN = 5, 80
"""Number of reasons shown, and characters of each."""
SCOPES = {
    "all": "all servers together",
    "each": "each server",
    "server": "this server, or the given one",
}


@app_commands.default_permissions(administrator=True)
class OperatorCog(
    commands.GroupCog,
    group_name="operator",
    group_description="For the bot's operator: what it uses, and the budgets of a day",
):
    """The operator's commands, only for OPERATOR_IDS, whatever permissions Discord shows."""

    def __init__(
        self,
        budgets: OperatorBudgets,
        overview: Overview,
        *,
        operator_ids: Collection[int],
        wake: Callable[[], None],
    ) -> None:
        self._budgets = budgets
        self._overview = overview
        self._operator_ids = operator_ids
        self._wake = wake

    @app_commands.command()
    async def show(self, interaction: discord.Interaction) -> None:
        """Show today's usage, undelivered songs, budgets and the busiest servers."""
        self._check(interaction)
        await acknowledged(interaction)
        card = overview_card(
            await self._budgets.submitted_today(),
            await self._budgets.in_force(),
            await self._overview.servers(),
            await self._overview.undelivered(),
        )
        await interaction.followup.send(embed=card, ephemeral=True)

    @app_commands.command()
    @app_commands.describe(
        scope="Whose songs count against the budget",
        credits="Credits per day (UTC); without it, no limit",
        songs="Songs per day (UTC); without it, no limit",
        server="A server's id, if it is not this one",
        unlimited="No limit for this scope, whatever the default is",
        remove="Remove this budget, so that the default applies",
    )
    @app_commands.choices(scope=[Choice(name=text, value=key) for key, text in SCOPES.items()])
    async def budget(
        self,
        interaction: discord.Interaction,
        scope: str,
        credits: Range[int, 0, MAX_BUDGET] | None = None,
        songs: Range[int, 0, MAX_BUDGET] | None = None,
        server: str | None = None,
        unlimited: bool = False,
        remove: bool = False,
    ) -> None:
        """Set how much may be submitted to the song API per day."""
        self._check(interaction)
        if (credits is not None or songs is not None) + unlimited + remove != 1:
            raise InvalidRequest(
                "Please give `credits`, `songs` or both; or only `unlimited`; or only `remove`."
            )
        server_id = _server_id(server, interaction) if scope == "server" else 0
        if server is not None and scope != "server":
            raise InvalidRequest("Please give `server` only with the scope of one server.")
        await acknowledged(interaction)
        if remove:
            await self._budgets.drop(scope, server_id)
        else:
            await self._budgets.set(OperatorBudget(scope, server_id, credits, songs))
        self._wake()
        subject = f"server {server_id}" if scope == "server" else SCOPES[scope]
        await interaction.followup.send(
            f"The budget for {subject} was removed. {_default_text(scope, self._budgets.defaults)}"
            if remove
            else f"There is no daily limit for {subject} from now on."
            if unlimited
            else f"The budget for {subject} is now {allowed_text(credits, songs)} per day (UTC). "
            "Songs submitted today count.",
            ephemeral=True,
        )

    def _check(self, interaction: discord.Interaction) -> None:
        if interaction.user.id not in self._operator_ids:
            raise NotPermitted("Only the bot's operator can do this.")


def _server_id(typed: str | None, interaction: discord.Interaction) -> int:
    if typed is None:
        return server_of(interaction)
    if not re.fullmatch(ID, typed.strip()) or not 0 < int(typed) < 2**63:
        raise InvalidRequest("A server's id is a number. `python bot.py servers` lists them.")
    return int(typed)


def overview_card(
    today: Tally,
    budgets: Sequence[OperatorBudget],
    uses: Sequence[ServerUse],
    undelivered: Sequence[Undelivered],
) -> discord.Embed:
    """Return the card with today's usage, undelivered songs and budgets."""
    card = discord.Embed(
        title=f"Today: {songs_text(today.songs)} submitted, {credits_text(today.credits)}",
        colour=BLURPLE,
    )
    if undelivered:
        total = sum(each.songs for each in undelivered)
        lines = [
            f"{each.songs:,}, the oldest {ago(each.oldest)}: "
            + plain(texts.REASONS[each.reason], REASON_SHOWN)
            for each in undelivered[:REASONS]
        ]
        card.add_field(
            name=f"Could not be posted: {songs_text(total)}", value="\n".join(lines), inline=False
        )
    scopes = {"all": "All servers together", "each": "Each server"}
    lines = [
        f"{scopes.get(each.scope, f'Server {each.server_id}')}: "
        f"{_daily_text(each.credits, each.songs)}"
        for each in budgets
    ]
    card.add_field(
        name="Budgets per day (UTC)",
        value=_listed(lines) or "None. `/operator budget` sets one.",
        inline=False,
    )
    lines = [
        f"**{plain(use.server.name or str(use.server.server_id), NAME_SHOWN)}** "
        f"{songs_text(use.today.songs)}, {credits_text(use.today.credits)}"
        for use in uses
        if use.today.songs
    ]
    if lines:
        card.add_field(name="Busiest today", value=_listed(lines), inline=False)
    servers = f"{len(uses):,} server{'s' * (len(uses) != 1)}"
    card.set_footer(text=f"{servers}. `python bot.py servers` lists them all.")
    return card


def allowed_text(credits: int | None, songs: int | None) -> str:
    """Format `100 credits and 40 songs`; empty if both are None."""
    parts = (
        None if credits is None else credits_text(credits),
        None if songs is None else songs_text(songs),
    )
    return " and ".join(filter(None, parts))


def _daily_text(credits: int | None, songs: int | None) -> str:
    allowed = allowed_text(credits, songs)
    return f"{allowed} per day" if allowed else "no limit"


def _default_text(scope: str, defaults: DefaultBudgets) -> str:
    """Return the sentence on the default that applies without a budget of `/operator`."""
    if scope == "server":
        return "The budget for each server applies there now."
    variable, songs = {
        "all": ("DAILY_SONGS", defaults.all_servers),
        "each": ("SERVER_DAILY_SONGS", defaults.each_server),
    }[scope]
    return f"The default applies: {_daily_text(None, songs)} (UTC), from {variable}."


def _listed(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join([*lines[:LISTED], *more])
