"""/quota grant, take and reset. What the replies say is in `test_texts.py`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import discord
import pytest
import simcord

from cogs.credits import texts
from db import role_grants
from db.records import RoleGrant
from services.amounts import InvalidReason, TimePassed
from services.credits.transfers import ExpiresTooSoon, ResetPlan
from services.errors import InvalidRequest, NotPossible, Refusal
from services.moments import UnreadableTime
from services.settings.catalogue import UNFINISHED
from services.settings.reader import Settings
from services.settings.settings import Limits
from tests.unit.cogs.settings.quota import (
    NOT_ALLOWED,
    by,
    changed,
    quota,
    quota_id,
    quota_with_lost_role,
    server_settings,
    settings,
)
from tests.world import World, buttons_of, custom_id, said, text_of

START = datetime(2026, 1, 1, tzinfo=UTC)
WHY = {"reason": "for winning"}


async def open_role_grants(world: World) -> list[RoleGrant]:
    reader = world.application.database.reader
    return await role_grants.open_at(reader, world.guild.id, world.clock())


async def check_refused(world: World, *errors: type[Refusal]) -> None:
    assert tuple(type(error) for error in world.errors()) == errors
    assert not await changed(world)
    assert not await open_role_grants(world)
    assert await world.free() == 10


async def test_only_managers_may(world: World) -> None:
    world.guild.set_command_permissions(quota_id(world), {world.alice: True})
    for name, options in (
        ("grant", {"member": world.alice, "amount": 5, **WHY}),
        ("take", {"member": world.bob, "amount": 5, **WHY}),
        ("reset", {"what": "everything"}),
    ):
        result = await world.alice.slash(world.channel, f"quota {name}", **options)
        assert said(result).content == NOT_ALLOWED
    assert not await changed(world)


# --- /quota grant and take ------------------------------------------------------------------------


async def test_grant_to_a_member(world: World) -> None:
    reason = "@everyone <@&1> **wow**"
    answer = await quota(
        world, "grant", member=world.alice, amount=5, reason=reason, expires="2026-01-01 12:00"
    )
    assert answer.startswith(f"<@{world.alice.id}> got 5 credits (@\u200beveryone")
    assert f"<t:{int(START.timestamp()) + 12 * 3_600}:f>" in answer
    (sent,) = [r.json for r in world.env.http_requests if r.method == "POST" and r.json][-1:]
    assert sent is not None
    assert sent["allowed_mentions"]["parse"] == []
    assert await world.free() == 15
    world.clock.moved = timedelta(hours=13)
    assert await world.free() == 10


async def test_grant_to_a_former_member(world: World) -> None:
    gone = world.env.create_user("gone")
    answer = await quota(world, "grant", member=gone, amount=5, **WHY)
    assert answer == f"<@{gone.id}> got 5 credits (for winning) and has 5 now."


async def test_grant_delivered_twice_is_one(world: World) -> None:
    await quota(world, "grant", member=world.alice, amount=5, **WHY)
    await world.again()
    assert await world.free() == 15
    world.foreseen = [e for e in world.errors() if isinstance(e, discord.HTTPException)]


async def test_grant_to_a_role(world: World) -> None:
    role = world.guild.create_role("singers")
    singer = world.guild.add_member(world.env.create_user("singer"), roles=[role])
    answer = await quota(
        world, "grant", role=role, amount=5, ends="2 weeks", expires="1 month", **WHY
    )
    assert answer.startswith(f"Each member with <@&{role.id}> gets 5 credits (for winning) once")
    (role_grant,) = await open_role_grants(world)
    assert role_grant.expires_at is not None
    lasts = (role_grant.ends_at - START, role_grant.expires_at - START)
    assert [span.days for span in lasts] == [14, 31]
    for _ in range(2):
        assert "15 credits" in text_of((await singer.slash(world.channel, "credits")).response)
    assert "10 credits" in text_of((await world.bob.slash(world.channel, "credits")).response)


async def test_take_from_a_member(world: World) -> None:
    await world.song(seconds=60)
    answer = await quota(world, "take", member=world.alice, amount=9, **WHY)
    assert answer == (
        f"<@{world.alice.id}> lost 8 credits (for winning), which is all that was free, and has 0 "
        "now. 2 credits stay held for songs in progress."
    )
    assert await world.free() == 0


async def test_take_from_a_role(world: World) -> None:
    answer = await quota(world, "take", role=world.guild.default_role, amount=4, **WHY)
    assert answer.startswith("Each member loses up to 4 credits (for winning) once")
    assert "6 credits" in text_of((await world.bob.slash(world.channel, "credits")).response)


@pytest.mark.parametrize(
    ("name", "who", "options", "error"),
    [
        ("grant", (), {}, InvalidRequest),
        ("grant", ("member", "role"), {}, InvalidRequest),
        ("take", (), {}, InvalidRequest),
        ("grant", ("member",), {"ends": "7d"}, InvalidRequest),
        ("grant", ("member",), {"reason": " \n "}, InvalidReason),
        ("grant", ("member",), {"expires": "2025-01-01"}, TimePassed),
        ("grant", ("role",), {"ends": "never"}, UnreadableTime),
        ("grant", ("role",), {"ends": "3 weeks", "expires": "7d"}, ExpiresTooSoon),
    ],
)
async def test_invalid_options(
    world: World, name: str, who: tuple[str, ...], options: dict[str, Any], error: type[Refusal]
) -> None:
    chosen = {"member": world.alice, "role": world.guild.default_role}
    await quota(world, name, **{"amount": 5, **WHY, **{w: chosen[w] for w in who}, **options})
    await check_refused(world, error)


async def test_grant_to_a_bot_is_refused(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    await quota(world, "grant", member=robot, amount=5, **WHY)
    await check_refused(world, InvalidRequest)


@pytest.mark.parametrize("name", ["grant", "take"])
async def test_role_that_was_deleted_meanwhile_is_refused(world: World, name: str) -> None:
    amount = {"name": "amount", "type": 4, "value": 5}
    await quota_with_lost_role(world, name, amount, {"name": "reason", "type": 3, "value": "why"})
    await check_refused(world, NotPossible)


# --- /quota reset ---------------------------------------------------------------------------------


async def preview(world: World, what: str, **options: Any) -> simcord.ResponseMessage:
    result = await world.mona.slash(world.channel, "quota reset", what=what, **options)
    assert result.ephemeral
    return said(result)


async def press(world: World, shown: simcord.ResponseMessage, what: str) -> str:
    """Press the button and return what the message says then."""
    result = await world.mona.click(shown, label=f"Reset {what}")
    assert result.followups == []
    assert buttons_of(shown) == []
    return world.env.backend.get_message(shown.channel_id, shown.id).content


async def some_settings(world: World) -> Settings:
    await quota(world, "server", allowance=20, every="week")
    for name in ("one", "two"):
        await quota(world, "role", role=world.guild.create_role(name), allowance=30)
    await quota(world, "log", channel=world.channel)
    await server_settings(world).set(by(world), UNFINISHED, 1)
    return await settings(world)


async def test_settings_are_reset_after_a_preview(world: World) -> None:
    before = await some_settings(world)
    shown = await preview(world, "settings")
    listed = "allowance, refill, 2 role allowances, songs at once, log channel"
    assert f"- 6 settings: {listed}." in shown.content
    assert await settings(world) == before
    assert "6 settings" in await press(world, shown, "settings")
    after = await settings(world)
    assert (after.allowance.credits, after.limits, after.roles) == (10, Limits(), {})
    shown = await preview(world, "settings")
    assert shown.content == texts.NOTHING_TO_RESET["settings"]
    assert buttons_of(shown) == []


async def test_period_that_is_the_default_again_is_not_reset(world: World) -> None:
    await quota(world, "server", every="week")
    world.clock.moved = timedelta(days=1)
    await quota(world, "server", every="day")
    assert (await preview(world, "settings")).content == texts.NOTHING_TO_RESET["settings"]


async def test_granted_credits_are_taken_back_after_a_restart(world: World) -> None:
    role = world.guild.create_role("band")
    await quota(world, "grant", role=role, amount=50, **WHY)
    for member in (world.alice, world.bob):
        await quota(world, "grant", member=member, amount=50, **WHY)
    await world.song(world.alice, seconds=60)
    shown = await preview(world, "granted credits", reason="a   new **season**")
    assert "- 100 credits of 2 members: " in shown.content
    assert "- 1 grant to members with a role" in shown.content
    await world.restart()
    assert await press(world, shown, "granted credits") == (
        "100 credits were taken back from 2 members. Ended: 1 grant to members with a role."
    )
    assert [await world.free(member) for member in (world.alice, world.bob)] == [8, 10]
    assert await open_role_grants(world) == []
    reasons = [c.reason for c in await changed(world) if c.name == "reset"]
    assert reasons == ["a new **season**"] * 2
    again = await preview(world, "granted credits")
    assert again.content == texts.NOTHING_TO_RESET["granted credits"]


async def test_everything_is_reset_once(world: World) -> None:
    await quota(world, "grant", member=world.alice, amount=1, **WHY)
    await quota(world, "budget", credits=5)
    shown = await preview(world, "everything")
    button = custom_id(shown, "Reset everything")
    assert await press(world, shown, "everything") == (
        f"{texts.credits_reset(ResetPlan(1, 1))} {texts.settings_reset(1)}"
    )
    changes = await changed(world)
    assert changes[1].reason == texts.RESET_REASON
    await world.press(world.mona, shown, button)
    assert await changed(world) == changes


async def test_only_who_saw_the_preview_may_press_while_they_manage(world: World) -> None:
    before = await some_settings(world)
    shown = await preview(world, "settings")
    button = custom_id(shown, "Reset settings")
    result = await world.press(world.alice, shown, button)
    assert said(result).content == NOT_ALLOWED
    managers = [world.guild.roles["managers"]]
    other = world.guild.add_member(world.env.create_user("other"), roles=managers)
    result = await world.press(other, shown, button)
    assert text_of(result.followups[0]) == texts.RESET_EXPIRED
    assert await settings(world) == before


async def test_preview_expires(world: World) -> None:
    before = await some_settings(world)
    shown = await preview(world, "settings")
    world.clock.moved = timedelta(hours=2)
    await world.application.housekeeping.once()
    result = await world.mona.click(shown, label="Reset settings")
    assert text_of(result.followups[0]) == texts.RESET_EXPIRED
    assert await settings(world) == before


@pytest.mark.parametrize(
    ("what", "reason", "error"),
    [("settings", "spring", InvalidRequest), ("everything", "  ", InvalidReason)],
)
async def test_reset_checks_its_reason(
    world: World, what: str, reason: str, error: type[Refusal]
) -> None:
    await preview(world, what, reason=reason)
    await check_refused(world, error)
