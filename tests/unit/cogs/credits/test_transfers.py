"""/quota grant, take and reset."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
import pytest
import simcord

from db import role_grants
from db.records import RoleGrant
from services.credits.transfers import MAX_ROLE_GRANTS
from services.settings.catalogue import UNFINISHED
from services.settings.reader import Settings
from services.settings.server_settings import Manager
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
EITHER = "Please choose either a `member` or a `role`."


def stamp(moment: datetime) -> str:
    return f"<t:{int(moment.timestamp())}:f>"


async def open_offers(world: World) -> list[RoleGrant]:
    reader = world.application.database.reader
    return list(await role_grants.open_at(reader, world.guild.id, world.clock()))


async def nothing_happened(world: World) -> bool:
    return not await changed(world) and not await open_offers(world) and await world.free() == 10


async def test_the_bot_checks_who_may(world: World) -> None:
    world.guild.set_command_permissions(quota_id(world), {world.alice: True})
    for name, options in (
        ("grant", {"member": world.alice, "amount": 5, **WHY}),
        ("take", {"member": world.bob, "amount": 5, **WHY}),
        ("reset", {"what": "everything"}),
    ):
        result = await world.alice.slash(world.channel, f"quota {name}", **options)
        assert said(result).content == NOT_ALLOWED
    assert await nothing_happened(world)


# --- /quota grant ---------------------------------------------------------------------------------


async def test_a_grant_is_given_and_said(world: World) -> None:
    assert await quota(world, "grant", member=world.alice, amount=5, **WHY) == (
        f"<@{world.alice.id}> got 5 credits (for winning) and has 15 now."
    )
    assert await world.free() == 15
    assert "for winning" in text_of((await world.alice.slash(world.channel, "credits")).response)


async def test_a_grant_may_expire(world: World) -> None:
    answer = await quota(
        world, "grant", member=world.alice, amount=5, expires="2026-01-01 12:00", **WHY
    )
    end = stamp(datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert answer.endswith(f"and has 15 now. What was given expires {end}.")
    world.clock.moved = timedelta(hours=13)
    assert await world.free() == 10


async def test_somebody_who_left_gets_it_all_the_same(world: World) -> None:
    gone = world.env.create_user("gone")
    answer = await quota(world, "grant", member=gone, amount=5, **WHY)
    assert answer == f"<@{gone.id}> got 5 credits (for winning) and has 5 now."


async def test_the_grants_reason_pings_nobody(world: World) -> None:
    reason = "@everyone <@&1> **wow**"
    await quota(world, "grant", member=world.bob, amount=5, reason=reason)
    (sent,) = [r.json for r in world.env.http_requests if r.method == "POST" and r.json][-1:]
    assert sent is not None
    assert sent["allowed_mentions"]["parse"] == []
    assert "@\u200beveryone <\u200b@\u200b&1> \\*\\*wow\\*\\*" in sent["content"]


async def test_the_same_grant_delivered_twice_is_given_once(world: World) -> None:
    await quota(world, "grant", member=world.alice, amount=5, **WHY)
    await world.again()
    assert await world.free() == 15
    world.foreseen = [e for e in world.errors() if isinstance(e, discord.HTTPException)]


async def test_a_grant_to_a_role_is_there_when_a_member_is_seen(world: World) -> None:
    role = world.guild.create_role("singers")
    singer = world.guild.add_member(world.env.create_user("singer"), roles=[role])
    answer = await quota(world, "grant", role=role, amount=5, **WHY)
    (role_grant,) = await open_offers(world)
    assert answer == (
        f"Each member with <@&{role.id}> gets 5 credits (for winning) once: the next time that I "
        f"see them use a command here, until {stamp(role_grant.ends_at)}. I don't read the "
        "server's list of members."
    )
    assert role_grant.ends_at - role_grant.at == timedelta(days=30)
    for _ in range(2):
        assert "15 credits" in text_of((await singer.slash(world.channel, "credits")).response)
    assert "10 credits" in text_of((await world.bob.slash(world.channel, "credits")).response)


async def test_a_grant_to_everyone(world: World) -> None:
    everyone = world.guild.default_role
    answer = await quota(
        world, "grant", role=everyone, amount=5, ends="2 weeks", expires="1 month", **WHY
    )
    (role_grant,) = await open_offers(world)
    assert answer.startswith("Each member gets 5 credits (for winning) once: the next time")
    assert (
        f"until {stamp(role_grant.ends_at)}. It expires {stamp(START + timedelta(days=31))}"
        in answer
    )
    assert timedelta(days=13) < role_grant.ends_at - START < timedelta(days=15)
    assert "15 credits" in text_of((await world.bob.slash(world.channel, "credits")).response)


@pytest.mark.parametrize(
    ("who", "options", "sentence"),
    [
        ((), {}, EITHER),
        (("member", "role"), {}, EITHER),
        (("member",), {"ends": "7d"}, "`ends` is for roles. To let credits expire, use `expires`."),
        (("member",), {"reason": " \n "}, "Please give a reason of at most 200 characters."),
        (("member",), {"expires": "2025-01-01"}, "That time has passed"),
        (("role",), {"ends": "never"}, "I can't read that time. Write it like"),
        (
            ("role",),
            {"ends": "3 weeks", "expires": "7d"},
            "These credits would expire before the last members",
        ),
    ],
)
async def test_a_grant_that_makes_no_sense(
    world: World, who: tuple[str, ...], options: dict[str, Any], sentence: str
) -> None:
    chosen = {"member": world.alice, "role": world.guild.default_role}
    options = {"amount": 5, **WHY, **{name: chosen[name] for name in who}, **options}
    assert sentence in await quota(world, "grant", **options)
    assert await nothing_happened(world)


async def test_a_bot_gets_nothing(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    answer = await quota(world, "grant", member=robot, amount=5, **WHY)
    assert answer == "Bots make no songs: please choose a member."
    assert await nothing_happened(world)


@pytest.mark.parametrize("name", ["grant", "take"])
async def test_a_role_that_was_deleted_meanwhile(world: World, name: str) -> None:
    answer = await quota_with_lost_role(
        world,
        name,
        {"name": "amount", "type": 4, "value": 5},
        {"name": "reason", "type": 3, "value": "why"},
    )
    assert answer == "That role was deleted meanwhile: please choose another one."
    assert await nothing_happened(world)


async def test_no_more_offers_stand_than_can_be_looked_at(world: World) -> None:
    by = Manager(world.guild.id, world.mona.id)
    for number in range(1, MAX_ROLE_GRANTS + 1):
        await world.application.transfers.role_grant(
            by, 7, role_grant_id=number, kind="grant", amount=1, reason="why"
        )
    answer = await quota(world, "grant", role=world.guild.default_role, amount=5, **WHY)
    assert answer.startswith("This server already has 25 open grants to roles")


@pytest.mark.parametrize("name", ["grant", "take"])
@pytest.mark.parametrize("amount", [-5, 0, 1_000_001])
async def test_amounts_out_of_bounds(world: World, name: str, amount: int) -> None:
    with pytest.raises(simcord.OptionError):
        await quota(world, name, member=world.alice, amount=amount, **WHY)
    user = {"id": str(world.alice.id), "username": "alice", "discriminator": "0", "avatar": None}
    sub = {
        "name": name,
        "type": 1,
        "options": [
            {"name": "amount", "type": 4, "value": amount},
            {"name": "reason", "type": 3, "value": "why"},
            {"name": "member", "type": 6, "value": str(world.alice.id)},
        ],
    }
    root = world.env.backend.find_command("quota", None)
    assert root is not None
    data = {"id": root["id"], "name": "quota", "type": 1, "options": [sub]}
    data |= {"resolved": {"users": {str(world.alice.id): user}}}
    result = await world.mona._dispatch_interaction(2, world.channel, data)
    assert "between 1 and 1,000,000" in text_of(result.response)
    assert await nothing_happened(world)


# --- /quota take ----------------------------------------------------------------------------------


async def test_taking_stops_at_what_is_free(world: World) -> None:
    await world.song(seconds=60)
    assert await quota(world, "take", member=world.alice, amount=3, **WHY) == (
        f"<@{world.alice.id}> lost 3 credits (for winning) and has 5 now. 2 credits stay held for "
        "songs in progress."
    )
    answer = await quota(world, "take", member=world.alice, amount=9, **WHY)
    assert answer.startswith(
        f"<@{world.alice.id}> lost 5 credits, which is all that was free, (for winning) and has 0"
    )
    answer = await quota(world, "take", member=world.alice, amount=9, **WHY)
    assert answer.startswith(
        f"Nothing was taken from <@{world.alice.id}>: they have no credits that are free. 2 cred"
    )
    answer = await quota(world, "take", member=world.bob, amount=1, **WHY)
    assert answer == f"<@{world.bob.id}> lost 1 credit (for winning) and has 9 now."


async def test_taking_from_a_role(world: World) -> None:
    answer = await quota(world, "take", role=world.guild.default_role, amount=4, **WHY)
    assert answer.startswith("Each member loses up to 4 credits (for winning) once: the next time")
    assert "What is spent or held by then stays." in answer
    assert "6 credits" in text_of((await world.bob.slash(world.channel, "credits")).response)
    assert await quota(world, "take", amount=4, **WHY) == EITHER


# --- /quota reset ---------------------------------------------------------------------------------


async def ask(world: World, what: str, **options: Any) -> simcord.ResponseMessage:
    result = await world.mona.slash(world.channel, "quota reset", what=what, **options)
    assert result.ephemeral
    return said(result)


def message_text(world: World, message: simcord.ResponseMessage) -> str:
    return world.env.backend.get_message(message.channel_id, message.id).content


async def some_settings(world: World) -> Settings:
    await quota(world, "server", allowance=20, every="week")
    for name in ("one", "two"):
        await quota(world, "role", role=world.guild.create_role(name), allowance=30)
    await quota(world, "log", channel=world.channel)
    await server_settings(world).set(by(world), UNFINISHED, 1)
    return await settings(world)


async def test_a_reset_of_settings_asks_first(world: World) -> None:
    before = await some_settings(world)
    shown = await ask(world, "settings")
    assert shown.content == (
        "This would be reset:\n- 6 settings: allowance, refill, 2 role allowances, "
        "songs at once, log channel. Each can be taken back with `/quota history`.\nNothing has "
        "changed yet."
    )
    assert buttons_of(shown) == ["Reset settings"]
    assert await settings(world) == before
    result = await world.mona.click(shown, label="Reset settings")
    assert result.followups == []
    assert message_text(world, shown) == (
        "Back to the defaults: 6 settings. `/quota history` can take each back."
    )
    assert buttons_of(shown) == []
    after = await settings(world)
    assert after.allowance.credits == 10
    assert after.limits == Limits()
    assert after.roles == {}
    assert (await ask(world, "settings")).content == "There is nothing to reset: the defaults hold."


async def test_a_period_that_is_the_default_again_is_not_reset(world: World) -> None:
    await quota(world, "server", every="week")
    world.clock.moved = timedelta(days=1)
    await quota(world, "server", every="day")
    assert (await ask(world, "settings")).content == "There is nothing to reset: the defaults hold."


async def test_granted_credits_are_taken_back_with_the_reason(world: World) -> None:
    for member in (world.alice, world.bob):
        await quota(world, "grant", member=member, amount=50, **WHY)
    await world.song(world.alice, seconds=60)
    shown = await ask(world, "granted credits", reason="a   new **season**")
    assert "- 100 credits of 2 members: all that is left of what was granted" in shown.content
    await world.restart()
    await world.mona.click(shown, label="Reset granted credits")
    assert message_text(world, shown) == "100 credits were taken back from 2 members."
    assert [await world.free(member) for member in (world.alice, world.bob)] == [8, 10]
    (change, *_) = await changed(world)
    assert (change.name, change.reason) == ("reset", "a new **season**")
    assert "season" in text_of((await world.bob.slash(world.channel, "credits")).response)
    again = await ask(world, "granted credits")
    assert again.content == "There is nothing to reset: nothing is left of what was granted."


async def test_what_is_offered_to_a_role_ends_with_a_reset(world: World) -> None:
    role = world.guild.create_role("band")
    await quota(world, "grant", role=role, amount=50, **WHY)
    shown = await ask(world, "granted credits")
    assert shown.content.splitlines()[1] == (
        "- 1 grant to members with a role, still open: whoever was not seen yet neither gets nor "
        "loses anything by it."
    )
    await world.mona.click(shown, label="Reset granted credits")
    assert message_text(world, shown) == "Ended: 1 grant to members with a role."
    again = await ask(world, "granted credits")
    assert again.content.startswith("There is nothing to reset")


async def test_everything_is_settings_and_credits(world: World) -> None:
    await quota(world, "grant", member=world.alice, amount=1, **WHY)
    await quota(world, "budget", credits=5)
    shown = await ask(world, "everything")
    assert "- 1 credit of 1 member: " in shown.content
    assert "- 1 setting: budget. " in shown.content
    button = custom_id(shown, "Reset everything")
    await world.mona.click(shown, label="Reset everything")
    assert message_text(world, shown) == (
        "1 credit was taken back from 1 member. Back to the defaults: 1 setting. `/quota history` "
        "can take each back."
    )
    (_, reset, *_) = await changed(world)
    assert reset.reason == "All that was granted was reset"
    count = len(await changed(world))
    await world.press(world.mona, shown, button)
    assert message_text(world, shown) == (
        "Of what was granted there is nothing left to take back. All settings are the defaults "
        "already."
    )
    assert len(await changed(world)) == count
    assert (await ask(world, "everything")).content == (
        "There is nothing to reset: the defaults hold, and nothing is left of what was granted."
    )


async def test_only_who_was_shown_it_may_press_while_they_manage(world: World) -> None:
    before = await some_settings(world)
    shown = await ask(world, "settings")
    button = custom_id(shown, "Reset settings")
    result = await world.press(world.alice, shown, button)
    assert said(result).content == NOT_ALLOWED
    other = world.guild.add_member(
        world.env.create_user("other"), roles=[world.guild.roles["managers"]]
    )
    result = await world.press(other, shown, button)
    assert "was shown to somebody else: please use `/quota reset` again." in text_of(
        result.followups[0]
    )
    assert await settings(world) == before


async def test_an_old_question_is_not_answered(world: World) -> None:
    before = await some_settings(world)
    shown = await ask(world, "settings")
    world.clock.moved = timedelta(hours=2)
    await world.application.housekeeping.once()
    result = await world.mona.click(shown, label="Reset settings")
    assert "What this showed is an hour old" in text_of(result.followups[0])
    assert await settings(world) == before


async def test_settings_have_no_reason(world: World) -> None:
    await quota(world, "budget", credits=5)
    shown = await ask(world, "settings", reason="spring")
    assert re.match("Settings are reset without a reason", shown.content)
    shown = await ask(world, "everything", reason="  ")
    assert shown.content == "Please give a reason of at most 200 characters."
