"""What people read about credits."""

from cogs.client.texts import NOTHING_SPENT, ago, counted, refusal_text
from services.amounts import InvalidReason, TimePassed, TimeTooFar
from services.calendar import UnknownPeriod, UnknownTimeZone
from services.credits.budgets import OperatorBudgetExceeded, ServerBudgetExceeded
from services.credits.transfers import (
    ExpiresTooSoon,
    GiftBlocked,
    GiftsNotAllowed,
    GiftToOneself,
    NotEnoughToGive,
    TooManyRoleGrants,
)
from services.errors import NotEnoughCredits
from services.moments import UnreadableTime

BOT_RECEIVES = "Bots don't make songs. Choose a member."
NO_LEADERBOARD = "The leaderboard is off here. Server managers can allow it in `/quota show`."
TIMES = "`7d`, `12 hours`, `3 months`, `tomorrow`, `2026-12-31` or `2026-12-31 18:00`"


@refusal_text.register
def _(refusal: NotEnoughCredits) -> str:
    cost = f"This song costs {counted(refusal.price, 'credit')}, but you have {refusal.free:,}."
    if not refusal.allowance:
        return f"{cost} Ask the people who manage this server for more."
    allowance = f"{counted(refusal.allowance, 'credit')} a {refusal.every}"
    return f"{cost} You get {allowance}. The next ones come {ago(refusal.refills_at)}."


@refusal_text.register
def _(refusal: ServerBudgetExceeded) -> str:
    return (
        "This server's budget doesn't have room for a song that costs "
        f"{counted(refusal.song.price, 'credit')} right now. Try a shorter one, or try again "
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
def _(refusal: InvalidReason) -> str:
    return f"Please give a reason of at most {refusal.limit} characters."


@refusal_text.register
def _(_: TimePassed) -> str:
    return f"That time has passed. Choose a later one, like {TIMES}."


@refusal_text.register
def _(_: TimeTooFar) -> str:
    return f"That's more than ten years away. Choose an earlier time, like {TIMES}."


@refusal_text.register
def _(_: UnreadableTime) -> str:
    return f"I can't read that time. Write it like {TIMES}."


@refusal_text.register
def _(_: UnknownPeriod) -> str:
    return "The period must be `day`, `week` or `month`."


@refusal_text.register
def _(refusal: UnknownTimeZone) -> str:
    names = ", ".join(f"`{name}`" for name in refusal.similar) or "`Europe/Berlin`"
    return f"I don't know that time zone. Choose one from the list, like {names}."


@refusal_text.register
def _(_: ExpiresTooSoon) -> str:
    return (
        "These credits would expire before the last members of the role could get them. "
        "Choose a later expiry."
    )


@refusal_text.register
def _(refusal: TooManyRoleGrants) -> str:
    return (
        f"This server already has {refusal.limit} open grants to roles, which is the limit. The "
        f"next one ends {ago(refusal.next_end)}."
    )


@refusal_text.register
def _(_: GiftToOneself) -> str:
    return "You can't give credits to yourself. Choose another member."


@refusal_text.register
def _(_: GiftsNotAllowed) -> str:
    return "Gifts are off here. Server managers can allow them in `/quota show`."


@refusal_text.register
def _(_: GiftBlocked) -> str:
    return "Members who are blocked from making songs can't give or get credits."


@refusal_text.register
def _(refusal: NotEnoughToGive) -> str:
    return f"You have {counted(refusal.free, 'credit')} to give. Choose a smaller amount."


def receiver_left(mention: str) -> str:
    """Return the refusal of a gift to somebody who is not in the server."""
    return f"{mention} isn't in this server. Choose someone who is."


def gift_given(receiver: str, amount: int, left: int, *, notified: bool) -> str:
    """Return what the giver reads."""
    done = f"You gave {receiver} {counted(amount, 'credit')} and have {left:,} left."
    return done if notified else f"{done} I can't post in this channel, so please let them know."


def gift_received(receiver: str, giver: str, amount: int) -> str:
    """Return what the receiver reads in the channel."""
    amount_text = counted(amount, "credit")
    return f"{receiver}, {giver} gave you {amount_text}. Use `/credits` to see what you have."
