"""/show and the button that gives a song which could not be posted: who gets what."""

import asyncio
from datetime import timedelta
from typing import Any

import discord
import pytest
import simcord

from cogs.songs import show as show_module
from cogs.songs import texts
from cogs.songs.library import CHOICE, MOST_CHOICES, choices, number_of
from db.records import Song, State
from services.errors import InvalidRequest
from services.songs.songs import SEARCHED
from tests.factories import add_held_song, add_song, make_song
from tests.unit.cogs.songs.test_announcer import SOON, Stage, stage
from tests.wire import Fault
from tests.world import World, buttons_of, custom_id, said, text_of, tiny_wav

__all__ = ["stage"]  # a fixture

AUDIO = b"ID3 a song"
ORIGINAL = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
EDIT = ("PATCH", "/webhooks/*/messages/*")
WHY = "The channel is gone."


async def kept(world: World, song_id: int = 1, **fields: Any) -> Song:
    """A song of Alice's that could not be posted, with its file."""
    values = {
        "server_id": world.guild.id,
        "channel_id": world.channel.id,
        "member_id": world.alice.id,
        "state": State.POSTING,
        "lyrics": "[chorus]\nMidnight train",
        "price": 1,
        **fields,
    }
    song = await add_held_song(
        world.application.database, world.application.credits, song_id, **values
    )
    folder = world.folder / "songs" / str(song_id)
    folder.mkdir(parents=True)
    (folder / f"{song_id}.mp3").write_bytes(AUDIO)
    completion = world.application.delivery._completion
    assert await completion.mark_undelivered(song, WHY)
    return await world.row(song_id)


async def show(world: World, member: simcord.MemberActor, song: str = "1") -> Any:
    result = await member.slash(world.channel, "show", song=song)
    await world.spawner.rest()
    return result


def answered(result: simcord.InteractionResult) -> str:
    """What was said last."""
    return text_of(result.followups[-1] if result.followups else result.response)


def heard(world: World, result: simcord.InteractionResult) -> list[bytes]:
    """The audio that came with an answer."""
    return [world.file(said(result))] if said(result).attachments else []


async def undelivered(world: World) -> simcord.InteractionResult:
    """A song's whole way to where it can't be posted; what `/song` answered."""
    world.env.inject_error("POST", "/channels/*/messages", status=403, code=50_013)
    result = await world.song()
    async with world.working():
        await world.ended()
    world.application.announcer._stopping = False  # the bot goes on
    (song,) = await world.rows()
    assert song.state is State.UNDELIVERED
    return result


# --- /show: what a number is ----------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["42", "#42", " 42 ", "# 42", "\t#42\n", "042"])
def test_a_number_is_as_people_write_it(typed: str) -> None:
    assert number_of(typed) == 42


@pytest.mark.parametrize(
    "typed", ["", "#", "##42", "4 2", "42.0", "-42", "+42", "٤٢", "⁴²", "9" * 10, "Midnight train"]
)
def test_what_is_no_number_is_said_to_be_none(typed: str) -> None:
    with pytest.raises(InvalidRequest, match="like `42` or `#42`"):
        number_of(typed)


async def test_a_number_that_no_song_has_is_said_to_be_none(world: World) -> None:
    await kept(world)
    for typed, words in (("7", "There is no song #7 in this server."), ("x", "like `42` or `#42`")):
        result = await show(world, world.alice, typed)
        assert words in answered(result)
        assert said(result).ephemeral


async def test_a_number_is_of_this_server_alone(world: World) -> None:
    await kept(world)
    world.guild = world.env.create_guild("Two")
    world.channel = world.guild.create_text_channel("songs")
    there = world.guild.add_member(world.alice.user)
    result = await show(world, there)
    assert "There is no song #1 in this server." in answered(result)
    assert (await world.row(1)).state is State.UNDELIVERED


# --- /show: who gets what -------------------------------------------------------------------------


async def test_its_member_gets_what_could_not_be_posted_alone(world: World) -> None:
    await kept(world)
    result = await show(world, world.alice)
    assert said(result).ephemeral
    assert heard(world, result) == [AUDIO]
    assert texts.HANDED_OVER in text_of(result.response)
    assert "refunded" not in text_of(result.response)
    song = await world.row(1)
    assert song.state_at is not None
    assert (song.file, song.reason, song.post_id) == (None, WHY, None)
    assert world.posts() == []
    assert not (world.folder / "songs" / "1").exists()


async def test_once_it_is_handed_over_it_is_not_there_any_more(world: World) -> None:
    await kept(world)
    await show(world, world.alice)
    again = await show(world, world.alice)
    assert heard(world, again) == []
    assert texts.NOT_STORED in text_of(again.response)
    async with world.working():
        world.clock.moved += timedelta(days=2)
        await asyncio.sleep(0)
        await world.application.delivery.once()
    assert world.posts() == []
    assert await world.free() == 10  # of today; nothing has come back
    assert (await world.row(1)).state_at is not None


async def test_nobody_else_hears_it_and_who_manages_may_read_it(world: World) -> None:
    await kept(world)
    seen = {}
    for member in (world.bob, world.mona):
        result = await show(world, member)
        assert heard(world, result) == []
        assert said(result).ephemeral
        seen[member.id] = text_of(result.response)
    assert "Midnight train" in seen[world.mona.id]
    assert "Only <@" in seen[world.mona.id]
    assert WHY in seen[world.mona.id]
    for words in ("Midnight", "funk", WHY):
        assert words not in seen[world.bob.id]
    assert (await world.row(1)).state is State.UNDELIVERED


async def test_what_was_posted_is_shown_to_whoever_sees_its_channel(world: World) -> None:
    await kept(world)
    assert await world.application.delivery._try_again(1) is None
    for member in (world.alice, world.bob):
        result = await show(world, member, "#1")
        assert heard(world, result) == []
        assert "Midnight train" in text_of(result.response)
        assert texts.LISTEN in text_of(result.response)
    hidden = world.guild.create_text_channel(
        "hidden",
        overwrites={world.guild.default_role: discord.PermissionOverwrite(view_channel=False)},
    )
    await made(world, 2, channel_id=hidden.id)
    result = await show(world, world.bob, "2")
    assert "Midnight" not in text_of(result.response)


async def made(world: World, song_id: int, **fields: Any) -> Song:
    values = {
        "server_id": world.guild.id,
        "channel_id": world.channel.id,
        "member_id": world.alice.id,
        "state": State.COMPLETED,
        **fields,
    }
    return await add_song(world.application.database, song_id, **values)


async def test_one_under_way_tells_how_far_it_is(world: World) -> None:
    await world.song()
    result = await show(world, world.alice)
    assert f"{texts.PROGRESS}: 1st of 1" in text_of(result.response)
    assert texts.PROGRESS not in text_of((await show(world, world.bob)).response)


async def test_what_discord_does_not_take_is_kept_and_can_be_had_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await kept(world)
    world.env.inject_error(*EDIT, status=400, code=400_001)
    result = await show(world, world.alice)
    why = "Discord has limited uploads of files in this server."
    assert texts.HANDOVER_FAILED.format(reason=why, number=1) in answered(result)
    assert heard(world, result) == []
    assert "upload to the requester failed" in caplog.text
    assert (await world.row(1)).state is State.UNDELIVERED
    world.env.backend.faults.clear()
    assert heard(world, await show(world, world.alice)) == [AUDIO]


async def test_a_discord_that_asks_for_an_hours_silence_holds_it_for_minutes_only(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """discord.py would wait for the hour, and with it whoever is to post the song."""
    _, song = await stage.undelivered()
    folder = stage.application.config.data_dir / "songs" / str(song.song_id)
    folder.mkdir(parents=True)
    (folder / "1-funk.mp3").write_bytes(AUDIO)
    silence = {"message": "scripted", "code": 0, "retry_after": 3600.0, "global": False}
    fault = Fault(status=429, body=silence, headers={"Retry-After": "3600"})
    stage.wire.faults.plan(fault, method="PATCH", route=ORIGINAL)
    monkeypatch.setattr(show_module, "LONGEST_UPLOAD", 0.2)
    shown = await stage.wire.slash(stage.alice, stage.channel, "show", song="1")
    told = await shown.wait_message(lambda m: texts.UPLOAD_FAILED in m.content, SOON)
    assert told.ephemeral
    assert not stage.application.delivery._is_locked(song.song_id)
    monkeypatch.setattr(show_module, "LONGEST_UPLOAD", SOON)
    shown = await stage.wire.slash(stage.alice, stage.channel, "show", song="1")
    given = await shown.wait_message(lambda m: bool(m.attachments), SOON)
    assert (given.ephemeral, given.attachments[0].content) == (True, AUDIO)


async def test_a_lost_file_is_said_to_be_lost_and_its_price_is_back(world: World) -> None:
    await kept(world)
    before = await world.free()
    (world.folder / "songs" / "1" / "1.mp3").unlink()
    result = await show(world, world.alice)
    assert "was lost, so its price has been refunded" in answered(result)
    assert await world.free() == before + 1


async def test_what_is_posted_while_it_is_asked_for_is_shown_where_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(world)
    delivery, give = world.application.delivery, type(world.application.delivery).give

    async def late(*args: Any, **named: Any) -> bool:
        assert await delivery._try_again(1) is None
        return await give(*args, **named)

    monkeypatch.setattr(type(delivery), "give", late)
    result = await show(world, world.alice)
    assert heard(world, result) == []
    assert texts.LISTEN in text_of(result.response)
    assert len(world.posts()) == 1


# --- completion -----------------------------------------------------------------------------------


def names(own: list[Song], typed: str) -> list[str]:
    return [choice.name for choice in choices(own, typed)]


def test_choices_mark_undelivered_songs() -> None:
    undelivered = make_song(1, state=State.UNDELIVERED, reason=WHY, file="1.mp3")
    refunded = make_song(2, state=State.REFUNDED, reason=WHY)
    marked = [f"#1 Midnight train{texts.NOT_POSTED}", "#2 Midnight train"]
    assert names([undelivered, refunded], "") == marked


def test_choices_match_a_number_or_a_title() -> None:
    own = [
        make_song(42, lyrics="[chorus]\nMidnight train"),
        make_song(4, lyrics="", genres="Night jazz"),
        make_song(7, genres="", lyrics=""),
    ]
    assert names(own, "") == ["#42 Midnight train", "#4 Night jazz", "#7"]
    assert names(own, "4") == names(own, "#4") == names(own, "# 4") == names(own, "")[:2]
    assert names(own, " NIGHT ") == names(own, "")[:2]
    assert names(own, "jazz") == ["#4 Night jazz"]
    assert names(own, "nothing of this") == []
    assert [choice.value for choice in choices(own, "")] == ["42", "4", "7"]


def test_choices_are_as_many_and_as_long_as_discord_takes() -> None:
    waits = {"state": State.UNDELIVERED, "reason": WHY, "file": "1.mp3"}
    own = [make_song(n, lyrics="x" * 4_000, **waits) for n in range(10**8, 10**8 + 60)]
    found = names(own, "")
    assert len(found) == MOST_CHOICES
    assert all(len(name) == CHOICE and name.endswith(texts.NOT_POSTED) for name in found)
    assert len(names([make_song(1, lyrics="y" * 4_000)], "")[0]) <= CHOICE


async def test_ones_own_are_offered_those_that_wait_first(world: World) -> None:
    await kept(world, 1)
    for number in range(2, SEARCHED + 5):
        await made(world, number, state=State.FAILED)
    await made(world, 1_000, member_id=world.bob.id)
    offered = await world.alice.autocomplete(world.channel, "show", "song", "")
    values = [choice["value"] for choice in offered]
    assert values[:2] == ["1", str(SEARCHED + 4)]
    assert len(set(values)) == len(values) == MOST_CHOICES
    offered = await world.bob.autocomplete(world.channel, "show", "song", "")
    assert [choice["value"] for choice in offered] == ["1000"]
    assert await world.mona.autocomplete(world.channel, "show", "song", "") == []


# --- the button under the status message ----------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
async def test_the_button_gives_the_song(world: World, restarted: bool) -> None:
    result = await undelivered(world)
    assert texts.COULD_NOT_POST in text_of(result.response)
    assert buttons_of(result.response) == ["Get the song"]
    if restarted:
        await world.restart()
    pressed = await world.alice.click(said(result), label="Get the song")
    await world.spawner.rest()
    assert pressed.followups == []
    assert world.file(said(result)) == tiny_wav(seconds=10)
    (attached,) = said(result).attachments
    assert attached.filename == "1-funk-pop.mp3"
    assert texts.HANDED_OVER in text_of(result.response)
    assert buttons_of(result.response) == []
    (song,) = await world.rows()
    assert song.state_at is not None
    assert world.posts() == []


async def test_a_second_press_finds_nothing_more_to_give(world: World) -> None:
    result = await undelivered(world)
    pressed_id = custom_id(result.response, "Get the song")
    await world.alice.click(said(result), label="Get the song")
    await world.press(world.alice, result.response, pressed_id)
    assert texts.NOT_STORED in text_of(result.response)
    assert buttons_of(result.response) == []


async def test_nobody_else_gets_it_by_the_button(world: World) -> None:
    result = await undelivered(world)
    for member in (world.bob, world.mona):
        pressed = await world.press(
            member, result.response, custom_id(result.response, "Get the song")
        )
        assert said(pressed).content == texts.NOT_YOUR_SONG
        assert said(pressed).attachments == []
    (song,) = await world.rows()
    assert song.state is State.UNDELIVERED


@pytest.mark.parametrize("verb", ["refresh", "cancel"])
async def test_another_button_is_no_wish_to_have_it_alone(world: World, verb: str) -> None:
    """Under a message from before its end, say: it may still be posted for all."""
    result = await undelivered(world)
    (song,) = await world.rows()
    await world.press(world.alice, said(result), f"song:{verb}:{song.song_id}")
    assert (await world.row(song.song_id)).state is State.UNDELIVERED
    assert said(result).attachments == []
    assert buttons_of(result.response) == ["Get the song"]


async def test_it_shows_that_it_was_posted_late_and_so_does_a_press_that_came_too_late(
    world: World,
) -> None:
    result = await undelivered(world)
    button = custom_id(result.response, "Get the song")
    async with world.working():
        await world.until(lambda song: song.post_id is not None)
        await world.spawner.rest()
    assert texts.LISTEN in text_of(result.response)
    assert buttons_of(result.response) == []
    await world.press(world.alice, said(result), button)
    assert texts.LISTEN in text_of(result.response)
    (post,) = world.posts()
    assert world.file(post) == tiny_wav(seconds=10)


@pytest.mark.parametrize("token_lives", [True, False])
async def test_it_or_a_press_shows_that_its_price_went_back(
    world: World, token_lives: bool
) -> None:
    result = await undelivered(world)
    button = custom_id(result.response, "Get the song")
    world.clock.moved += timedelta(days=2)
    if not token_lives:
        await world.application.housekeeping.once()
    await world.application.delivery.once()
    await world.spawner.rest()
    assert (texts.NOT_DELIVERED in text_of(result.response)) is token_lives
    await world.press(world.alice, said(result), button)
    assert texts.NOT_DELIVERED in text_of(result.response)
    assert buttons_of(result.response) == []


async def test_after_a_press_that_discord_refused_the_message_follows_by_the_new_token(
    world: World,
) -> None:
    result = await undelivered(world)
    (before,) = await world.rows()
    world.env.inject_error(*EDIT, status=400, code=400_001)
    pressed = await world.alice.click(said(result), label="Get the song")
    (song,) = await world.rows()
    assert song.state is State.UNDELIVERED
    assert song.token not in (None, before.token)
    assert "/show 1" in text_of(pressed.followups[0])
    world.env.backend.faults.clear()
    async with world.working():
        await world.until(lambda song: song.post_id is not None)
        await world.spawner.rest()
    assert texts.LISTEN in text_of(result.response)


async def test_after_show_gave_it_its_message_says_so(world: World) -> None:
    result = await undelivered(world)
    await show(world, world.alice)
    await world.spawner.rest()
    assert texts.NOT_STORED in text_of(result.response)
    assert buttons_of(result.response) == []


async def test_a_forged_press_on_one_under_way_shows_its_state(world: World) -> None:
    result = await world.song()
    (song,) = await world.rows()
    pressed = await world.press(world.alice, result.response, f"song:get:{song.song_id}")
    assert pressed.followups == []
    assert "QUEUED" in text_of(result.response)
    assert buttons_of(result.response) == ["Cancel", "Refresh"]
