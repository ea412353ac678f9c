"""What people read about credits."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from cogs.client.texts import (
    FIELD,
    NOTHING_SPENT,
    ago,
    calendar_text,
    counted,
    credits_text,
    each_of,
    message_address,
    ordinal,
    plain,
    refusal_text,
    register_sentences,
    shown,
    songs_text,
)
from db.records import Entry, Lot, RoleGrant
from db.reports import Place
from services.amounts import InvalidReason, TimePassed, TimeTooFar
from services.calendar import Every, UnknownPeriod, UnknownTimeZone
from services.credits.budgets import OperatorBudgetExceeded, ServerBudgetExceeded
from services.credits.credits import Balance, CreditStatement
from services.credits.transfers import (
    ExpiresTooSoon,
    GiftBlocked,
    GiftsNotAllowed,
    GiftToOneself,
    Moved,
    NotEnoughToGive,
    ResetPlan,
    TooManyRoleGrants,
)
from services.errors import NotEnoughCredits
from services.moments import UnreadableTime
from services.settings.catalogue import CATALOGUE, PAUSE, About, Setting
from services.settings.settings import Source

DOT = "\N{MIDDLE DOT}"
LOTS_SHOWN = 8
REASON_SHOWN = 60
"""Characters, each of which may become two. What doesn't fit into a field is summed up."""

# --- refusals -------------------------------------------------------------------------------------

RECEIVER_LEFT = "{receiver} isn't in this server. Choose someone who is."
NO_LEADERBOARD = "The leaderboard is off here. Server managers can allow it in `/quota show`."
MEMBER_OR_ROLE = "Choose either a `member` or a `role`."
ENDS_IS_FOR_ROLES = "`ends` is for roles. To let credits expire, use `expires`."
SETTINGS_NEED_NO_REASON = (
    "Leave out `reason`: it is for granted credits, whose members see it. Settings are reset "
    "without one."
)
RESET_EXPIRED = (
    "This preview is more than an hour old, or was made by someone else. Use `/quota reset` again. "
    "Nothing was changed."
)
TIMES = "`7d`, `12 hours`, `3 months`, `tomorrow`, `2026-12-31` or `2026-12-31 18:00`"

register_sentences(
    {
        InvalidReason: "Please give a reason of at most {limit} characters.",
        TimePassed: f"That time has passed. Choose a later one, like {TIMES}.",
        TimeTooFar: f"That's more than ten years away. Choose an earlier time, like {TIMES}.",
        UnreadableTime: f"I can't read that time. Write it like {TIMES}.",
        UnknownPeriod: "The period must be `day`, `week` or `month`.",
        ExpiresTooSoon: "These credits would expire before the last members of the role could get "
        "them. Choose a later expiry.",
        TooManyRoleGrants: "This server already has {limit} open grants to roles, which is the "
        "limit. The next one ends {next_end}.",
        GiftToOneself: "You can't give credits to yourself. Choose another member.",
        GiftsNotAllowed: "Gifts are off here. Server managers can allow them in `/quota show`.",
        GiftBlocked: "Members who are blocked from making songs can't give or get credits.",
    }
)


@refusal_text.register
def _(refusal: NotEnoughCredits) -> str:
    cost = f"This song costs {credits_text(refusal.price)}, but you have {refusal.free:,}."
    if not refusal.allowance:
        return f"{cost} Ask the people who manage this server for more."
    allowance = f"{credits_text(refusal.allowance)} a {refusal.every}"
    return f"{cost} You get {allowance}. The next ones come {ago(refusal.refills_at)}."


@refusal_text.register
def _(refusal: ServerBudgetExceeded) -> str:
    return (
        "This server's budget doesn't have room for a song that costs "
        f"{credits_text(refusal.song.price)} right now. Try a shorter one, or try again "
        f"{ago(refusal.period.end)}. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: OperatorBudgetExceeded) -> str:
    whose = "for all servers" if refusal.scope == "all" else "for this server"
    return (
        f"The bot's operator has set a daily limit {whose}, and it is used up. Try again "
        f"{ago(refusal.ends_at)}. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: UnknownTimeZone) -> str:
    names = ", ".join(f"`{name}`" for name in refusal.similar) or "`Europe/Berlin`"
    return f"I don't know that time zone. Choose one from the list, like {names}."


@refusal_text.register
def _(refusal: NotEnoughToGive) -> str:
    return f"You have {credits_text(refusal.free)} to give. Choose a smaller amount."


# --- /credits -------------------------------------------------------------------------------------

FREE_SONGS = "Songs cost you nothing here"
SOURCES, RECENT = "Where it comes from", "Recent"
GIFT_HINT = "Use /gift to give some to another member."


def balance_text(balance: Balance) -> str:
    """Return the title of the card."""
    return FREE_SONGS if balance.unlimited else f"You have {credits_text(balance.free)}"


def spent_fields(statement: CreditStatement) -> Iterator[tuple[str, str]]:
    """Name and count what was spent and what is held; worth that much for unlimited members."""
    unlimited = statement.balance.unlimited
    worth = "worth " if unlimited else ""
    this = {Every.DAY: "today", Every.WEEK: "this week", Every.MONTH: "this month"}
    spent = f"{'Made' if unlimited else 'Spent'} {this[statement.balance.every]}"
    yield spent, worth + credits_text(statement.spent)
    if statement.held:
        held = "In progress" if unlimited else "Held for songs in progress"
        yield held, worth + credits_text(statement.held)


def bar(part: int, total: int, cells: int = 12) -> str:
    """Draw a bar of which `part` of `total` is full."""
    full = cells if part >= total > 0 else part * cells // max(total, 1)
    return "\N{BLACK PARALLELOGRAM}" * full + "\N{WHITE PARALLELOGRAM}" * (cells - full)


def summary_text(statement: CreditStatement, *, at: datetime) -> str:
    """Draw what is left of all credits, and say what prevents songs or is about to change."""
    balance, settings, lines = statement.balance, statement.settings, []
    allowed = balance.allowance.credits
    if allowed is not None and (total := allowed + balance.sums.granted_amount):
        lines.append(f"{bar(balance.free, total)} {balance.free:,} of {total:,} left")
    if block := settings.block(at=at):
        until = f" until {shown(block.until)}" if block.until else ""
        lines.append(f"**You can't make songs here{until}**: {plain(block.reason)}")
    if (pause := settings[PAUSE]) is not None:
        why = f": {plain(pause)}" if pause else ""
        lines.append(f"**The server's managers have paused new songs**{why}")
    if following := settings.timeline.next(at):
        begins, calendar = following
        lines.append(f"From {shown(begins)}: {calendar_text(calendar)}.")
    return "\n".join(lines)


def sources_text(statement: CreditStatement) -> str:
    """List what gives a member their allowance, then each of their other credits: a field."""
    balance = statement.balance
    # A limit that was lifted leaves the running period's credits behind.
    lots = [lot for lot in balance.lots if balance.unlimited or lot.kind != "allowance"]
    return _fitting(
        [allowance_line(statement), *map(lot_line, lots[:LOTS_SHOWN])],
        rest=lambda lines: f"and {rest_text(balance, lots[: lines - 1])}",
        more=len(lots) > LOTS_SHOWN,
    )


def allowance_line(statement: CreditStatement) -> str:
    """Say how much the allowance is, where it is set, and when it refills."""
    balance, allowance = statement.balance, statement.balance.allowance
    if allowance.source is Source.MEMBER:
        until = f" until {shown(allowance.until)}" if allowance.until else ""
        source = f"your own allowance{until}"
    elif allowance.source is Source.ROLE and allowance.role_id != statement.member.server_id:
        source = f"as <@&{allowance.role_id}>"
    else:  # the role of @everyone has its server's id (Discord, "Role Object")
        source = "everyone's allowance"
    if allowance.credits is None:
        return f"No limit: {source}"
    refilled = f" {DOT} refilled {ago(balance.period.end)}" if allowance.credits else ""
    left = f"`{balance.sums.allowance:,}` of {allowance.credits:,} a {balance.every}"
    return f"{left}: {source}{refilled}"


def lot_line(lot: Lot) -> str:
    """Say what is left of credits that came together: how many, whence, why, until when."""
    left = f"`{lot.remaining:,}`" + (f" of {lot.amount:,}" if lot.amount > lot.remaining else "")
    ends = f"expires {ago(lot.expires_at)}" if lot.expires_at else "doesn't expire"
    what = {
        "grant": f"granted by {_who(lot.actor_id)}",
        "gift": f"gift from {_who(lot.actor_id)}",
        "return": "refunded after it had expired",
        "allowance": "from before the limit was lifted",
    }[lot.kind]
    return f"{left} {what}{_why(lot.reason)} {DOT} {ends}"


def rest_text(balance: Balance, listed: Sequence[Lot]) -> str:
    """Sum up the lots that are not listed."""
    sums = balance.sums
    lots, credits = (
        (sums.lots, balance.free) if balance.unlimited else (sums.granted_lots, sums.granted)
    )
    left = credits - sum(lot.remaining for lot in listed)
    return f"{lots - len(listed):,} more {DOT} {credits_text(left)}"


def entries_text(statement: CreditStatement) -> str:
    """List the newest entries of the ledger: a field."""
    server_id = statement.member.server_id
    lines = [entry_line(entry, server_id) for entry in statement.entries]
    return _fitting(lines, rest=lambda _: "")


def entry_line(entry: Entry, server_id: int) -> str:
    """Describe one entry of the ledger. A song's number links to its post."""
    song, who = f"#{entry.number}", _who(entry.actor_id)
    if entry.post_id is not None and entry.channel_id is not None:
        song = f"[{song}]({message_address(server_id, entry.channel_id, entry.post_id)})"
    worth = "" if entry.amount else f", worth {credits_text(entry.price or 0)}"
    what = {
        "allowance": "allowance" if entry.amount > 0 else "allowance lowered",
        "grant": f"granted by {who}",
        "take": f"taken by {who}",
        "gift": f"gift {'from' if entry.amount > 0 else 'to'} {who}",
        "expire": "expired",
        "hold": f"song {song}{worth}",
        "refund": f"refunded for {song}",
        "compensate": f"refunded for {song}, which was not delivered",
    }[entry.kind]
    amount = f"{entry.amount:+,}" if entry.amount else "0"
    return f"`{amount}` {what}{_why(entry.reason)} {DOT} {ago(entry.at)}"


def _who(actor_id: int | None) -> str:
    return "the bot's operator" if actor_id is None else f"<@{actor_id}>"


def _why(reason: str | None) -> str:
    return f": {plain(reason, REASON_SHOWN)}" if reason else ""


def _fitting(lines: Sequence[str], *, rest: Callable[[int], str], more: bool = False) -> str:
    """Join as many of the first lines as fit into a field, then `rest` of how many those are.

    `rest` is called where lines were left out, or where there are `more` than those given.
    """
    kept = list(lines)
    while True:
        over = [rest(len(kept))] if more or len(kept) < len(lines) else []
        text = "\n".join(filter(None, [*kept, *over]))
        if len(text) <= FIELD:
            return text
        kept.pop()


# --- /leaderboard ---------------------------------------------------------------------------------

LEADERBOARD_TITLE = "Most songs in {days} days"
NOBODY_YET = "Nobody yet. Use `/song` to make the first one."
MADE_NONE = "You made none. Use /song to make one."
NOT_IN_TOP = "You're not in the top {most}."


def place_line(place: Place, *, viewer_id: int) -> str:
    """Describe a place on the leaderboard."""
    you = f" {DOT} you" if place.member_id == viewer_id else ""
    songs = songs_text(place.songs)
    return f"**{ordinal(place.rank)}** <@{place.member_id}> {DOT} {songs}{you}"


# --- /gift ----------------------------------------------------------------------------------------


def gift_given(receiver: str, amount: int, left: int, *, notified: bool) -> str:
    """Return what the giver reads."""
    done = f"You gave {receiver} {credits_text(amount)} and have {left:,} left."
    return done if notified else f"{done} I can't post in this channel, so please let them know."


def gift_received(receiver: str, giver: str, amount: int) -> str:
    """Return what the receiver reads in the channel."""
    amount_text = credits_text(amount)
    return f"{receiver}, {giver} gave you {amount_text}. Use `/credits` to see what you have."


# --- /quota grant and take ------------------------------------------------------------------------


def granted(member: str, moved: Moved, reason: str, expires_at: datetime | None) -> str:
    """Return what a manager reads who granted credits to a member."""
    expires = f" The new ones expire {shown(expires_at)}." if expires_at else ""
    amount = credits_text(moved.amount)
    return f"{member} got {amount} ({plain(reason)}) and has {moved.balance.free:,} now.{expires}"


def taken(member: str, moved: Moved, requested: int, reason: str, *, held: int) -> str:
    """Return what a manager reads who took credits from a member."""
    if moved.amount == 0:
        text = f"Nothing was taken from {member}: they have no free credits."
    else:
        everything = "" if moved.amount == requested else ", which is all that was free,"
        text = (
            f"{member} lost {credits_text(moved.amount)} ({plain(reason)}){everything} and has "
            f"{moved.balance.free:,} now."
        )
    stay = "stays" if held == 1 else "stay"
    return f"{text} {credits_text(held)} {stay} held for songs in progress." if held else text


def role_granted(role_grant: RoleGrant) -> str:
    """Return what a manager reads who granted credits to a role, or takes them from it."""
    whom = each_of(role_grant.role_id, role_grant.server_id).capitalize()
    amount = f"{credits_text(role_grant.amount)} ({plain(role_grant.reason or '')})"
    when = (
        "once: the next time they use a command of mine here, until "
        f"{shown(role_grant.ends_at)}. I don't read the server's list of members."
    )
    if role_grant.kind == "take":
        return f"{whom} loses up to {amount} {when} What is spent or held by then stays."
    ends = f" The credits expire {shown(role_grant.expires_at)}." if role_grant.expires_at else ""
    return f"{whom} gets {amount} {when}{ends}"


# --- /quota reset ---------------------------------------------------------------------------------

GRANTED, SETTINGS, EVERYTHING = "granted credits", "settings", "everything"
RESET_REASON = "All that was granted was reset"
NOTHING_TO_RESET = {
    GRANTED: "There is nothing to reset: no granted credits are left.",
    SETTINGS: "There is nothing to reset: all settings are at their defaults.",
    EVERYTHING: "There is nothing to reset: all settings are at their defaults, and no granted "
    "credits are left.",
}


def reset_preview(what: str, plan: ResetPlan, found: Sequence[tuple[Setting[Any], int]]) -> str:
    """List what a reset would change."""
    lines = []
    if plan.credits:
        lines.append(
            f"- {credits_text(plan.credits)} of {counted(plan.members, 'member')}: all that is "
            "left of grants, gifts and late refunds. Allowances stay, and so does what is spent "
            "or held."
        )
    if plan.role_grants:
        lines.append(
            f"- {counted(plan.role_grants, 'grant')} to members with a role, still open: members "
            "who haven't used a command since won't get or lose anything by it."
        )
    if found:
        counts = Counter(setting for setting, _ in found)
        names = [
            setting.label.lower()
            if setting.about is About.SERVER
            else counted(count, setting.label.lower())
            for setting, count in sorted(counts.items(), key=lambda each: CATALOGUE.index(each[0]))
        ]
        lines.append(
            f"- {counted(len(found), 'setting')}: {', '.join(names)}. You can undo each with "
            "`/quota history`."
        )
    if not lines:
        return NOTHING_TO_RESET[what]
    return "\n".join(("This would be reset:", *lines, "Nothing has changed yet."))


def credits_reset(done: ResetPlan) -> str:
    """Return what a manager reads who reset granted credits."""
    sentences = []
    if done.credits:
        were = "was" if done.credits == 1 else "were"
        members = counted(done.members, "member")
        sentences.append(f"{credits_text(done.credits)} {were} taken back from {members}.")
    if done.role_grants:
        sentences.append(f"Ended: {counted(done.role_grants, 'grant')} to members with a role.")
    return " ".join(sentences) or "No granted credits are left to take back."


def settings_reset(count: int) -> str:
    """Return what a manager reads who reset the settings."""
    if not count:
        return "All settings are at their defaults already."
    settings = counted(count, "setting")
    return f"Back to the defaults: {settings}. You can undo each with `/quota history`."
