"""One member's credits, explained to those who manage the server. Pure: a record in, a message out.

The same words serve a manager who sees settings for the first time: which rule, how much of it is
left, and what can be done about it.
"""

from collections.abc import Iterator
from datetime import datetime

from discord import ui

from cogs.client.texts import BLURPLE, ago, credits_text, plain, shown
from cogs.credits.texts import bar, lot_line, rest_text
from cogs.settings.pages import MEMBER, PanelPage, act_id, form_id, tab_id
from cogs.settings.panel import DANGER, PLAIN, Layout
from cogs.settings.texts import per
from services.credits.credits import Balance, CreditStatement
from services.settings.catalogue import BLOCK, MEMBER_ALLOWANCE, PAUSE, Topic
from services.settings.settings import Allowance, Source

LOTS_SHOWN = 6
ROLES_SHOWN = 5


def member_view(standing: CreditStatement, *, at: datetime) -> Layout:
    """What a member has, which rule gave it, where it went and when it refills; and what to do."""
    member_id = standing.member.member_id
    parts = [f"## Credits of <@{member_id}>", "\n".join(_amounts(standing))]
    parts.append("### Why\n" + "\n".join(_reasons(standing)))
    parts.append("### In this period\n" + "\n".join(_period(standing)))
    if given := list(_given(standing.balance)):
        parts.append("### Granted\n" + "\n".join(given))
    if notes := list(_notes(standing, at=at)):
        parts.append("### Songs\n" + "\n".join(notes))
    card = ui.Container[Layout](ui.TextDisplay("\n".join(parts)), accent_colour=BLURPLE)
    return Layout(card, _buttons(standing, at=at))


def _buttons(standing: CreditStatement, *, at: datetime) -> ui.ActionRow[Layout]:
    member_id = standing.member.member_id
    here = PanelPage(MEMBER, member_id)
    forms = {"grant": "Grant", "take": "Take", MEMBER_ALLOWANCE.key: "Own allowance"}
    row = ui.ActionRow[Layout](
        *(
            ui.Button(label=label, custom_id=form_id(form, here, member_id), style=PLAIN)
            for form, label in forms.items()
        )
    )
    if standing.settings.block(at=at):
        row.add_item(
            ui.Button(label="Unblock", custom_id=act_id("reset", BLOCK.key, here, member_id))
        )
    else:
        form = form_id(BLOCK.key, here, member_id)
        row.add_item(ui.Button(label="Block", custom_id=form, style=DANGER))
    return row.add_item(ui.Button(label="All settings", custom_id=tab_id(Topic.CREDITS)))


# --- how much -------------------------------------------------------------------------------------


def _amounts(standing: CreditStatement) -> Iterator[str]:
    balance = standing.balance
    allowed = balance.allowance.credits
    if balance.unlimited:
        yield "**No limit**: songs cost them nothing."
        if balance.free:
            yield f"They also have {credits_text(balance.free)}, which stay as they are."
        return
    yield f"**{credits_text(balance.free)}** to spend now."
    if allowed and standing.member.roles is not None:
        yield (
            f"{bar(balance.sums.allowance, allowed)} {balance.sums.allowance:,} left of "
            f"{allowed:,} a {balance.every}"
        )


# --- why ------------------------------------------------------------------------------------------


def _reasons(standing: CreditStatement) -> Iterator[str]:
    allowance, settings = standing.balance.allowance, standing.settings
    amount = per(allowance.credits, f"a {standing.balance.every}")
    yield f"{amount}: {_rule(standing, allowance)}"
    own = settings[MEMBER_ALLOWANCE]
    if own is not None and allowance.source is not Source.MEMBER and own.until is not None:
        was = per(own.credits, f"a {standing.balance.every}")
        yield f"Their own allowance ({was}) ended {ago(own.until)}."
    if standing.member.roles is None:
        yield (
            "They are not in this server now, so their roles aren't known. Their credits stay, "
            "and their allowance is worked out again when they are back."
        )
    elif others := _other_roles(standing):
        yield f"Not counted, because allowances don't add up: {others}."


def _rule(standing: CreditStatement, allowance: Allowance) -> str:
    match allowance.source:
        case Source.MEMBER:
            until = f" until {shown(allowance.until)}" if allowance.until else ""
            return f"their own allowance{until}. It counts before their roles."
        case Source.ROLE:
            return (
                f"from {_role(standing, allowance.role_id or 0)}, the highest of their roles that "
                "have an allowance."
            )
        case Source.SERVER:
            return f"what this server gives everyone.{_no_role(standing)}"
        case Source.DEFAULT:
            return f"the bot's default, because this server has set nothing.{_no_role(standing)}"


def _no_role(standing: CreditStatement) -> str:
    known = standing.member.roles is not None and standing.settings.roles
    return " None of their roles has an allowance." if known else ""


def _other_roles(standing: CreditStatement) -> str:
    """The allowances of their other roles, the highest first; empty where there are none."""
    settings, counted = standing.settings, standing.balance.allowance
    others = [
        (credits, role_id)
        for role_id, credits in settings.roles.items()
        if role_id in (standing.member.roles or ()) and role_id != counted.role_id
    ]
    others.sort(key=lambda rule: (rule[0] is None, rule[0] or 0), reverse=True)
    named = [
        f"{_role(standing, role_id)} ({per(credits, f'a {standing.balance.every}')})"
        for credits, role_id in others[:ROLES_SHOWN]
    ]
    more = [f"{len(others) - ROLES_SHOWN:,} more"] if len(others) > ROLES_SHOWN else []
    return ", ".join(named + more)


def _role(standing: CreditStatement, role_id: int) -> str:
    """A role; that of @everyone has its server's id (Discord, "Role Object")."""
    return "@everyone" if role_id == standing.member.server_id else f"<@&{role_id}>"


# --- where it went, and what else there is --------------------------------------------------------


def _period(standing: CreditStatement) -> Iterator[str]:
    balance = standing.balance
    worth = "worth " if balance.unlimited else ""
    yield f"Spent: {worth}{credits_text(standing.spent)}"
    yield f"Held for songs in progress: {worth}{credits_text(standing.held)}"
    if balance.allowance.credits:
        yield f"Refills {ago(balance.period.end)}, to {credits_text(balance.allowance.credits)}"
    if following := standing.settings.timeline.next(balance.period.start):
        begins, calendar = following
        yield f"From {shown(begins)} on the period is a {calendar.every}"


def _given(balance: Balance) -> Iterator[str]:
    # A limit that was lifted leaves the running period's credits behind.
    lots = [lot for lot in balance.lots if balance.unlimited or lot.kind != "allowance"]
    yield from map(lot_line, lots[:LOTS_SHOWN])
    if len(lots) > LOTS_SHOWN:
        yield f"and {rest_text(balance, lots[:LOTS_SHOWN])}"


def _notes(standing: CreditStatement, *, at: datetime) -> Iterator[str]:
    """What keeps them from making songs."""
    pause = standing.settings[PAUSE]
    if block := standing.settings.block(at=at):
        until = f" until {shown(block.until)}" if block.until else ""
        yield f"**Blocked{until}**: {plain(block.reason)}"
    else:
        yield "Not blocked."
    if pause is not None:
        yield "New songs are paused for everyone" + (f": {plain(pause)}" if pause else ".")
