"""The forms about one role or one member: allowances of their own, blocks, grants and taking."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import discord
from discord import ui

from cogs.client.people import roles_of
from cogs.settings.forms import (
    LONGEST_NUMBER,
    Form,
    Now,
    Sent,
    allowance_typed,
    number_typed,
    text_field,
    tick_field,
)
from cogs.settings.options import moment_of
from cogs.settings.settings_forms import Field, credits_field
from services.credits.amounts import MAX_AMOUNT, MAX_REASON
from services.credits.moments import LONGEST_TYPED
from services.errors import InvalidRequest, NotPossible
from services.settings.settings import Member, Rules

UNTIL = "Like: 7d, 3 months, tomorrow, 2026-12-31 18:00. Left empty: {}"


# --- allowances -----------------------------------------------------------------------------------


def _role_fields(now: Now) -> Iterator[Field]:
    role_id = now.subject_id
    if role_id:
        yield ui.TextDisplay(f"For <@&{role_id}>")
    else:
        yield ui.Label(text="Role", component=ui.RoleSelect(custom_id="role", required=True))
    stands = role_id in now.rules.roles
    yield credits_field(now.rules.roles.get(role_id), required=not stands, empty=not stands)
    if stands:
        yield tick_field(
            "remove",
            "Remove this rule",
            "Its members get what others of their roles or the server give",
        )


async def _set_role(sent: Sent) -> None:
    role_id = sent.subject_id or next(iter(sent.typed.ids("role")), 0)
    if sent.typed.ticked("remove"):
        await sent.services.server_settings.drop_role(sent.by, role_id)
        return
    _check_role(sent.interaction.guild, role_id)
    credits = allowance_typed(sent.typed.text("credits"))
    await sent.services.server_settings.set_role(sent.by, role_id, credits)


def _check_role(guild: discord.Guild | None, role_id: int) -> None:
    if guild is None or guild.unavailable:
        return
    role = guild.get_role(role_id)
    if role is None:
        raise NotPossible("That role was deleted meanwhile: please choose another one.")
    if role.is_default():
        raise InvalidRequest(
            "Everyone has that role: please change the allowance of every member, under Credits."
        )


def _member_fields(now: Now) -> Iterator[Field]:
    yield _whom(now)
    own = now.rules.member
    yield credits_field(own.credits if own else None, required=own is None, empty=own is None)
    yield text_field(
        "until",
        "Until when",
        UNTIL.format("for good"),
        value=until_typed(now.rules, own.until if own else None, at=now.at),
        required=False,
        longest=LONGEST_TYPED,
    )
    if own is not None:
        yield tick_field(
            "remove", "Remove this rule", "They get what their roles or the server give"
        )


async def _set_member(sent: Sent) -> None:
    member_id = _member_id(sent)
    if sent.typed.ticked("remove"):
        await sent.services.server_settings.drop_member(sent.by, member_id)
        return
    rules = await sent.services.credits.rules(sent.by.server_id, member_id)
    stands = rules.member.until if rules.member else None
    if stands and sent.typed.text("until") == until_typed(rules, stands, at=sent.services.clock()):
        until: datetime | None = stands  # left as it was filled in: it stays, to the second
    else:
        until = await _moment(sent, "until")
    credits = allowance_typed(sent.typed.text("credits"))
    await sent.services.server_settings.set_member(sent.by, member_id, credits, until=until)


# --- blocks ---------------------------------------------------------------------------------------


def _block_fields(now: Now) -> Iterator[Field]:
    yield _whom(now)
    yield text_field("reason", "Why", "Told to them when they ask for a song", longest=MAX_REASON)
    yield text_field(
        "until",
        "Until when",
        UNTIL.format("for good"),
        required=False,
        longest=LONGEST_TYPED,
    )


async def _block(sent: Sent) -> None:
    await sent.services.server_settings.block(
        sent.by,
        _member_id(sent),
        reason=sent.typed.text("reason"),
        until=await _moment(sent, "until"),
    )


# --- giving and taking ----------------------------------------------------------------------------


def _grant_fields(now: Now) -> Iterator[Field]:
    yield from _amount_fields(now, f"1 to {MAX_AMOUNT:,}, beside their allowance")
    yield text_field(
        "expires",
        "When what is left of it expires",
        UNTIL.format("never"),
        required=False,
        longest=LONGEST_TYPED,
    )


async def _grant(sent: Sent) -> None:
    await sent.services.transfers.grant(
        await _member(sent),
        grant_id=sent.interaction.id,
        actor_id=sent.by.actor_id,
        amount=number_typed("the credits", sent.typed.text("amount")),
        reason=sent.typed.text("reason"),
        expires_at=await _moment(sent, "expires"),
    )


def _take_fields(now: Now) -> Iterator[Field]:
    yield from _amount_fields(now, "At most what they have is taken; spent and held stay")


async def _take(sent: Sent) -> None:
    await sent.services.transfers.take(
        await _member(sent),
        take_id=sent.interaction.id,
        actor_id=sent.by.actor_id,
        amount=number_typed("the credits", sent.typed.text("amount")),
        reason=sent.typed.text("reason"),
    )


def _amount_fields(now: Now, note: str) -> Iterator[Field]:
    yield _whom(now)
    yield text_field("amount", "Credits", note, placeholder="5", longest=LONGEST_NUMBER)
    yield text_field("reason", "Why", "They see it in /credits", longest=MAX_REASON)


# --- whom and until when --------------------------------------------------------------------------


def _whom(now: Now) -> Field:
    if now.subject_id:
        return ui.TextDisplay(f"For <@{now.subject_id}>")
    return ui.Label(text="Member", component=ui.UserSelect(custom_id="member", required=True))


def _member_id(sent: Sent) -> int:
    """Whom the form is about, be it said or chosen.

    Raises:
        InvalidRequest: nobody, or a bot.
    """
    member_id = sent.subject_id or next(iter(sent.typed.ids("member")), 0)
    if not member_id or sent.typed.is_bot(member_id):
        raise InvalidRequest("Bots make no songs: please choose a member.")
    return member_id


async def _member(sent: Sent) -> Member:
    return await member_by_id(sent.interaction, _member_id(sent))


async def member_by_id(interaction: discord.Interaction, member_id: int) -> Member:
    """A member as they are now: the bot keeps none, so Discord is asked for their roles.

    Raises:
        discord.HTTPException: it does not answer.
    """
    guild = interaction.guild
    assert guild is not None  # noqa: S101 - `manager_of` has refused what is in no server
    try:
        person = await guild.fetch_member(member_id)
    except discord.NotFound:
        return Member(guild.id, member_id, None)
    return Member(guild.id, member_id, roles_of(person))


def until_typed(rules: Rules, moment: datetime | None, *, at: datetime) -> str:
    """A moment as it would be typed, on the server's clocks; empty where there is none."""
    if moment is None:
        return ""
    return f"{moment.astimezone(ZoneInfo(rules.timeline.at(at).zone)):%Y-%m-%d %H:%M}"


async def _moment(sent: Sent, name: str) -> datetime | None:
    return await moment_of(sent.interaction, sent.typed.text(name) or None)


PEOPLE_FORMS = {
    "role": Form("Credits of a role", _role_fields, _set_role),
    "member": Form("A member's own allowance", _member_fields, _set_member),
    "block": Form("Block a member", _block_fields, _block),
    "grant": Form("Grant credits", _grant_fields, _grant),
    "take": Form("Take credits", _take_fields, _take),
}
