"""Cards about credits: what a member has and why, and who made the most songs. Pure, as `cards`."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import discord

from cogs.client.texts import (
    BLURPLE,
    FIELD,
    ago,
    calendar_text,
    credits_text,
    message_address,
    ordinal,
    plain,
)
from db.records import Entry, Lot
from db.reports import Place
from services.calendar import Every
from services.credits.credits import Balance, CreditStatement
from services.settings.catalogue import GIFTS, PAUSE
from services.settings.settings import Allowance, Source

THIS = {Every.DAY: "today", Every.WEEK: "this week", Every.MONTH: "this month"}
LOTS_SHOWN = 8
REASON_SHOWN = 60
"""Characters, of which each may come to be two. The rest of a field is summed up."""
DOT = "\N{MIDDLE DOT}"


def credits_card(standing: CreditStatement, *, at: datetime) -> discord.Embed:
    """What a member has, where it comes from and where it went, as it is `at` that moment."""
    balance = standing.balance
    card = discord.Embed(
        title="Songs cost you nothing here"
        if balance.unlimited
        else f"You have {credits_text(balance.free)}",
        description="\n".join((*_bar_line(balance), *_notes(standing, at=at))),
        colour=BLURPLE,
    )
    card.add_field(name="Where it comes from", value=sources_text(standing), inline=False)
    worth = "worth " if balance.unlimited else ""
    spent = "Made" if balance.unlimited else "Spent"
    card.add_field(
        name=f"{spent} {THIS[balance.every]}", value=worth + credits_text(standing.spent)
    )
    if standing.held:
        card.add_field(
            name="In progress" if balance.unlimited else "Held for songs in progress",
            value=worth + credits_text(standing.held),
        )
    if standing.entries:
        server_id = standing.member.server_id
        lines = [entry_line(entry, server_id) for entry in standing.entries]
        card.add_field(name="Recent", value=_fitting(lines, rest=lambda _: ""), inline=False)
    if standing.settings[GIFTS] and balance.free:
        card.set_footer(text="Use /gift to give some to another member.")
    return card


def bar(part: int, whole: int, cells: int = 12) -> str:
    """A bar of which `part` of `whole` is full."""
    full = cells if part >= whole > 0 else part * cells // max(whole, 1)
    return "\N{BLACK PARALLELOGRAM}" * full + "\N{WHITE PARALLELOGRAM}" * (cells - full)


def _bar_line(balance: Balance) -> Iterator[str]:
    """What is left of the period's allowance and of everything else that there is some left of."""
    allowed = balance.allowance.credits
    given = balance.sums.granted_amount
    if allowed is not None and (whole := allowed + given):
        yield f"{bar(balance.free, whole)} {balance.free:,} of {whole:,} left"


def _notes(standing: CreditStatement, *, at: datetime) -> Iterator[str]:
    """What keeps songs from being made, and how periods are about to change."""
    settings = standing.settings
    if block := settings.block(at=at):
        until = f" until {_date(block.until)}" if block.until else ""
        yield f"**You can't make songs here{until}**: {plain(block.reason)}"
    if (pause := settings[PAUSE]) is not None:
        why = f": {plain(pause)}" if pause else ""
        yield f"**The server's managers have paused new songs**{why}"
    if following := settings.timeline.next(at):
        begins, calendar = following
        yield f"From {_date(begins)}: {calendar_text(calendar)}."


# --- where it comes from --------------------------------------------------------------------------


def sources_text(standing: CreditStatement) -> str:
    """What gives a member their allowance, then each of their other credits: a field."""
    balance = standing.balance
    allowance = allowance_line(balance, server_id=standing.member.server_id)
    # A limit that was lifted leaves the running period's credits behind.
    lots = [lot for lot in balance.lots if balance.unlimited or lot.kind != "allowance"]
    return _fitting(
        [allowance, *map(lot_line, lots[:LOTS_SHOWN])],
        rest=lambda lines: f"and {rest_text(balance, lots[: lines - 1])}",
        more=len(lots) > LOTS_SHOWN,
    )


def allowance_line(balance: Balance, *, server_id: int) -> str:
    """How much the allowance is, where it is set, and when it refills."""
    allowed = balance.allowance.credits
    rule = _rule(balance.allowance, server_id=server_id)
    if allowed is None:
        return f"No limit: {rule}"
    refilled = f" {DOT} refilled {ago(balance.period.end)}" if allowed else ""
    return f"`{balance.sums.allowance:,}` of {allowed:,} a {balance.every}: {rule}{refilled}"


def _rule(allowance: Allowance, *, server_id: int) -> str:
    until = f" until {_date(allowance.until)}" if allowance.until else ""
    match allowance.source:
        case Source.MEMBER:
            return f"your own allowance{until}"
        case Source.ROLE if allowance.role_id != server_id:
            return f"as <@&{allowance.role_id}>"
        case _:  # the role of @everyone has its server's id (Discord, "Role Object")
            return "everyone's allowance"


def lot_line(lot: Lot) -> str:
    """What is left of credits that came in together: how many, whence, why, until when."""
    left = f"`{lot.remaining:,}`" + (f" of {lot.amount:,}" if lot.amount > lot.remaining else "")
    ends = f"expires {ago(lot.expires_at)}" if lot.expires_at else "doesn't expire"
    match lot.kind:
        case "grant":
            what = f"granted by {_who(lot.actor_id)}"
        case "gift":
            what = f"gift from {_who(lot.actor_id)}"
        case "return":
            what = "refunded after it had expired"
        case _:
            what = "from before the limit was lifted"
    return f"{left} {what}{_why(lot.reason)} {DOT} {ends}"


def rest_text(balance: Balance, shown: Sequence[Lot]) -> str:
    """How many credits stand in how many other lots than those that are shown."""
    sums = balance.sums
    lots, credits = (
        (sums.lots, balance.free)
        if balance.unlimited
        else (sums.granted_lots, balance.sums.granted)
    )
    left = credits - sum(lot.remaining for lot in shown)
    return f"{lots - len(shown):,} more {DOT} {credits_text(left)}"


# --- where it went --------------------------------------------------------------------------------


def entry_line(entry: Entry, server_id: int) -> str:
    """One entry of the ledger."""
    amount = f"{entry.amount:+,}" if entry.amount else "0"
    return f"`{amount}` {_what(entry, server_id)}{_why(entry.reason)} {DOT} {ago(entry.at)}"


def _what(entry: Entry, server_id: int) -> str:
    song = _song(entry, server_id)
    match entry.kind:
        case "allowance":
            return "allowance" if entry.amount > 0 else "allowance lowered"
        case "grant":
            return f"granted by {_who(entry.actor_id)}"
        case "take":
            return f"taken by {_who(entry.actor_id)}"
        case "gift":
            return f"gift {'from' if entry.amount > 0 else 'to'} {_who(entry.actor_id)}"
        case "hold":
            worth = "" if entry.amount else f", worth {credits_text(entry.price or 0)}"
            return f"song {song}{worth}"
        case "refund":
            return f"refunded for {song}"
        case "compensate":
            return f"refunded for {song}, which was not delivered"
        case _:
            return "expired"


def _song(entry: Entry, server_id: int) -> str:
    """A song's number, which leads to its post."""
    if entry.post_id is None or entry.channel_id is None:
        return f"#{entry.number}"
    return f"[#{entry.number}]({message_address(server_id, entry.channel_id, entry.post_id)})"


# --- the leaderboard ------------------------------------------------------------------------------


def leaderboard_card(
    places: Sequence[Place], *, viewer_id: int, days: int, most: int
) -> discord.Embed:
    """Who made the most songs: at most so many `places`; its viewer among them, or why not."""
    card = discord.Embed(title=f"Most songs in {days} days", colour=BLURPLE)
    if not places:
        card.description = "Nobody yet. Use `/song` to make the first one."
        return card
    card.description = "\n".join(_place_line(place, viewer_id=viewer_id) for place in places)
    if viewer_id not in (place.member_id for place in places):
        none = len(places) < most
        card.set_footer(
            text="You made none. Use /song to make one."
            if none
            else f"You're not in the top {most}."
        )
    return card


def _place_line(place: Place, *, viewer_id: int) -> str:
    songs = "1 song" if place.songs == 1 else f"{place.songs:,} songs"
    you = f" {DOT} you" if place.member_id == viewer_id else ""
    return f"**{ordinal(place.rank)}** <@{place.member_id}> {DOT} {songs}{you}"


# --- small ----------------------------------------------------------------------------------------


def _fitting(lines: Sequence[str], *, rest: Callable[[int], str], more: bool = False) -> str:
    """As many of the first lines as fit into a field, then `rest` of how many those are.

    `rest` is called where lines were left out, or where there are `more` than those given.
    """
    kept = list(lines)
    while True:
        over = [rest(len(kept))] if more or len(kept) < len(lines) else []
        text = "\n".join(filter(None, [*kept, *over]))
        if len(text) <= FIELD:
            return text
        kept.pop()


def _who(actor_id: int | None) -> str:
    return "the bot's operator" if actor_id is None else f"<@{actor_id}>"


def _why(reason: str | None) -> str:
    return f": {plain(reason, REASON_SHOWN)}" if reason else ""


def _date(moment: datetime) -> str:
    return f"<t:{int(moment.timestamp())}:f>"
