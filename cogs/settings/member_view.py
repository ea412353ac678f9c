"""One member's credits, explained to those who manage the server. Pure: a record in, a message out.

The same words serve a manager who sees settings for the first time: which rule, how much of it is
left, and what can be done about it.
"""

from collections.abc import Iterator
from datetime import datetime

from discord import ui

from cogs.client.texts import BLURPLE, ago, credits_text, plain, shown
from cogs.credits.texts import bar, lot_line, rest_text
from cogs.settings.panel import DANGER, MEMBER, PLAIN, Layout, PanelPage, act_id, form_id, tab_id
from cogs.settings.texts import per
from services.credits.credits import Balance, CreditStatement
from services.settings.catalogue import BLOCK, MEMBER_ALLOWANCE, PAUSE, Topic
from services.settings.settings import Source

LOTS_SHOWN = 6
ROLES_SHOWN = 5
FORMS = {"grant": "Grant", "take": "Take", MEMBER_ALLOWANCE.key: "Own allowance"}


def member_view(statement: CreditStatement, *, at: datetime) -> Layout:
    """Explain what a member has, which rule gave it, where it went and what can be done."""
    here = PanelPage(MEMBER, statement.member.member_id)
    parts = [f"## Credits of <@{here.number}>", *_amounts(statement)]
    parts += ["### Why", *_reasons(statement), "### In this period", *_period(statement)]
    if granted := list(_granted(statement.balance)):
        parts += ["### Granted", *granted]
    parts += ["### Songs", *_notes(statement, at=at)]
    card = ui.Container[Layout](ui.TextDisplay("\n".join(parts)), accent_colour=BLURPLE)
    buttons = [
        ui.Button[Layout](label=label, custom_id=form_id(form, here, here.number), style=PLAIN)
        for form, label in FORMS.items()
    ]
    if statement.settings.block(at=at):
        unblock = act_id("reset", BLOCK.key, here, here.number)
        buttons.append(ui.Button(label="Unblock", custom_id=unblock))
    else:
        block = form_id(BLOCK.key, here, here.number)
        buttons.append(ui.Button(label="Block", custom_id=block, style=DANGER))
    all_settings = ui.Button[Layout](label="All settings", custom_id=tab_id(Topic.CREDITS))
    return Layout(card, ui.ActionRow(*buttons, all_settings))


def _amounts(statement: CreditStatement) -> Iterator[str]:
    balance = statement.balance
    allowed = balance.allowance.credits
    if balance.unlimited:
        yield "**No limit**: songs cost them nothing."
        if balance.free:
            yield f"They also have {credits_text(balance.free)}, which stay as they are."
        return
    yield f"**{credits_text(balance.free)}** to spend now."
    if allowed and statement.member.roles is not None:
        left = balance.sums.allowance
        yield f"{bar(left, allowed)} {left:,} left of {allowed:,} a {balance.every}"


def _reasons(statement: CreditStatement) -> Iterator[str]:
    allowance, each = statement.balance.allowance, f"a {statement.balance.every}"
    roles, own = statement.member.roles, statement.settings[MEMBER_ALLOWANCE]
    without = roles is not None and statement.settings.roles
    no_role = " None of their roles has an allowance." if without else ""
    match allowance.source:
        case Source.MEMBER:
            until = f" until {shown(allowance.until)}" if allowance.until else ""
            rule = f"their own allowance{until}. It counts before their roles."
        case Source.ROLE:
            role = _role(statement, allowance.role_id or 0)
            rule = f"from {role}, the highest of their roles that have an allowance."
        case Source.SERVER:
            rule = f"what this server gives everyone.{no_role}"
        case Source.DEFAULT:
            rule = f"the bot's default, because this server has set nothing.{no_role}"
    yield f"{per(allowance.credits, each)}: {rule}"
    if own is not None and allowance.source is not Source.MEMBER and own.until is not None:
        yield f"Their own allowance ({per(own.credits, each)}) ended {ago(own.until)}."
    if roles is None:
        yield (
            "They are not in this server now, so their roles aren't known. Their credits stay, "
            "and their allowance is worked out again when they are back."
        )
    elif others := _other_roles(statement):
        yield f"Not counted, because allowances don't add up: {others}."


def _other_roles(statement: CreditStatement) -> str:
    """List the allowances of their other roles, the highest first; empty where there are none."""
    balance, each = statement.balance, f"a {statement.balance.every}"
    others = [
        (credits, role_id)
        for role_id, credits in statement.settings.roles.items()
        if role_id in (statement.member.roles or ()) and role_id != balance.allowance.role_id
    ]
    others.sort(key=lambda rule: (rule[0] is None, rule[0] or 0), reverse=True)
    named = [
        f"{_role(statement, role_id)} ({per(credits, each)})"
        for credits, role_id in others[:ROLES_SHOWN]
    ]
    more = [f"{len(others) - ROLES_SHOWN:,} more"] if len(others) > ROLES_SHOWN else []
    return ", ".join(named + more)


def _role(statement: CreditStatement, role_id: int) -> str:
    """Name a role; that of @everyone has its server's id (Discord, "Role Object")."""
    return "@everyone" if role_id == statement.member.server_id else f"<@&{role_id}>"


def _period(statement: CreditStatement) -> Iterator[str]:
    balance = statement.balance
    worth = "worth " if balance.unlimited else ""
    yield f"Spent: {worth}{credits_text(statement.spent)}"
    yield f"Held for songs in progress: {worth}{credits_text(statement.held)}"
    if balance.allowance.credits:
        yield f"Refills {ago(balance.period.end)}, to {credits_text(balance.allowance.credits)}"
    if following := statement.settings.timeline.next(balance.period.start):
        begins, calendar = following
        yield f"From {shown(begins)} on the period is a {calendar.every}"


def _granted(balance: Balance) -> Iterator[str]:
    # A limit that was lifted leaves the running period's credits behind.
    lots = [lot for lot in balance.lots if balance.unlimited or lot.kind != "allowance"]
    yield from map(lot_line, lots[:LOTS_SHOWN])
    if len(lots) > LOTS_SHOWN:
        yield f"and {rest_text(balance, lots[:LOTS_SHOWN])}"


def _notes(statement: CreditStatement, *, at: datetime) -> Iterator[str]:
    """Say what keeps them from making songs."""
    pause, block = statement.settings[PAUSE], statement.settings.block(at=at)
    until = f" until {shown(block.until)}" if block and block.until else ""
    yield f"**Blocked{until}**: {plain(block.reason)}" if block else "Not blocked."
    if pause is not None:
        yield "New songs are paused for everyone" + (f": {plain(pause)}" if pause else ".")
