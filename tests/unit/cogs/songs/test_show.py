"""/show and the button that gives a song which could not be posted: who gets what."""

from datetime import timedelta
from typing import Any

import discord
import pytest
import simcord

from cogs.songs import buttons, texts
from cogs.songs.library import CHOICE, MOST_CHOICES, choices, number_of
from db.records import Reason, Song, State
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
WHY = Reason.CHANNEL_GONE
SENTENCE = texts.REASONS[WHY]


async def undelivered_song(world: World, song_id: int = 1, **fields: Any) -> Song:
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
    completion = world.application.completion
    assert await completion.mark_undelivered(song, WHY)
    return await world.row(song_id)


async def show(world: World, member: simcord.MemberActor, song: str = "1") -> Any:
    result = await member.slash(world.channel, "show", song=song)
    await world.spawner.rest()
    return result


def last_text(result: simcord.InteractionResult) -> str:
    """Return the text of the last answer."""
    return text_of(result.followups[-1] if result.followups else result.response)


def audio_in(world: World, result: simcord.InteractionResult) -> list[bytes]:
    """The audio that came with an answer."""
    return [world.file(said(result))] if said(result).attachments else []


async def undelivered(world: World) -> simcord.InteractionResult:
    """Make a song that can't be posted; return what `/song` answered."""
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
def test_number_of_a_song(typed: str) -> None:
    assert number_of(typed) == 42


@pytest.mark.parametrize(
    "typed", ["", "#", "##42", "4 2", "42.0", "-42", "+42", "٤٢", "⁴²", "9" * 10, "Midnight train"]
)
def test_what_is_no_number(typed: str) -> None:
    with pytest.raises(InvalidRequest, match="like `42` or `#42`"):
        number_of(typed)


async def test_an_unknown_number(world: World) -> None:
    await undelivered_song(world)
    for typed, words in (("7", "There is no song #7 in this server."), ("x", "like `42` or `#42`")):
        result = await show(world, world.alice, typed)
        assert words in last_text(result)
        assert said(result).ephemeral


# --- /show: who gets what -------------------------------------------------------------------------


async def test_show_gives_an_undelivered_song_to_its_requester(world: World) -> None:
    await undelivered_song(world)
    result = await show(world, world.alice)
    assert said(result).ephemeral
    assert audio_in(world, result) == [AUDIO]
    assert texts.HANDED_OVER in text_of(result.response)
    assert "refunded" not in text_of(result.response)
    song = await world.row(1)
    assert song.state_at is not None
    assert (song.file, song.reason, song.post_id) == (None, WHY, None)
    assert world.posts() == []
    assert not (world.folder / "songs" / "1").exists()


async def test_a_handed_over_song_is_not_stored(world: World) -> None:
    await undelivered_song(world)
    await show(world, world.alice)
    again = await show(world, world.alice)
    assert audio_in(world, again) == []
    assert texts.NOT_STORED in text_of(again.response)


async def test_story_is_shown_to_the_requester_and_managers(world: World) -> None:
    await undelivered_song(world)
    assert await world.application.poster.post(1)
    shown = {
        member.id: text_of((await show(world, member)).response)
        for member in (world.alice, world.mona, world.bob)
    }
    for person in (world.alice, world.mona):
        assert f"couldn't be posted: {SENTENCE}" in shown[person.id]
    assert texts.STORY not in shown[world.bob.id]


async def test_others_get_no_audio_and_managers_may_read(world: World) -> None:
    await undelivered_song(world)
    seen = {}
    for member in (world.bob, world.mona):
        result = await show(world, member)
        assert audio_in(world, result) == []
        assert said(result).ephemeral
        seen[member.id] = text_of(result.response)
    assert "Midnight train" in seen[world.mona.id]
    assert "Only <@" in seen[world.mona.id]
    assert SENTENCE in seen[world.mona.id]
    for words in ("Midnight", "funk", SENTENCE):
        assert words not in seen[world.bob.id]
    assert (await world.row(1)).state is State.UNDELIVERED


async def test_a_posted_song_is_shown_to_those_who_see_its_channel(world: World) -> None:
    await undelivered_song(world)
    assert await world.application.poster.post(1)
    for member in (world.alice, world.bob):
        result = await show(world, member, "#1")
        assert audio_in(world, result) == []
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


async def test_a_song_in_progress_is_shown_with_its_progress(world: World) -> None:
    await world.song()
    result = await show(world, world.alice)
    assert f"{texts.PROGRESS}: 1st of 1" in text_of(result.response)
    assert texts.PROGRESS not in text_of((await show(world, world.bob)).response)


async def test_an_upload_does_not_wait_for_a_long_rate_limit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """discord.py would wait for the hour, and delay the post."""
    _, song = await stage.undelivered()
    folder = stage.application.config.data_dir / "songs" / str(song.song_id)
    folder.mkdir(parents=True)
    (folder / "1-funk.mp3").write_bytes(AUDIO)
    silence = {"message": "scripted", "code": 0, "retry_after": 3600.0, "global": False}
    fault = Fault(status=429, body=silence, headers={"Retry-After": "3600"})
    stage.wire.faults.plan(fault, method="PATCH", route=ORIGINAL)
    monkeypatch.setattr(buttons, "LONGEST_UPLOAD", 0.2)
    shown = await stage.wire.slash(stage.alice, stage.channel, "show", song="1")
    refused = await shown.wait_message(lambda m: texts.UPLOAD_FAILED in m.content, SOON)
    assert refused.ephemeral
    assert not stage.application.poster.is_locked(song.song_id)
    monkeypatch.setattr(buttons, "LONGEST_UPLOAD", SOON)
    shown = await stage.wire.slash(stage.alice, stage.channel, "show", song="1")
    given = await shown.wait_message(lambda m: bool(m.attachments), SOON)
    assert (given.ephemeral, given.attachments[0].content) == (True, AUDIO)


async def test_a_song_that_is_posted_meanwhile_is_shown_with_its_post(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await undelivered_song(world)
    poster, hand_over = world.application.poster, type(world.application.poster).hand_over

    async def late(*args: Any, **named: Any) -> bool:
        assert await poster.post(1)
        return await hand_over(*args, **named)

    monkeypatch.setattr(type(poster), "hand_over", late)
    result = await show(world, world.alice)
    assert audio_in(world, result) == []
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


def test_choices_are_within_discords_limits() -> None:
    waits = {"state": State.UNDELIVERED, "reason": WHY, "file": "1.mp3"}
    own = [make_song(n, lyrics="x" * 4_000, **waits) for n in range(10**8, 10**8 + 60)]
    found = names(own, "")
    assert len(found) == MOST_CHOICES
    assert all(len(name) == CHOICE and name.endswith(texts.NOT_POSTED) for name in found)
    assert len(names([make_song(1, lyrics="y" * 4_000)], "")[0]) <= CHOICE


async def test_own_songs_are_suggested_undelivered_ones_first(world: World) -> None:
    await undelivered_song(world, 1)
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


async def test_a_second_press_shows_that_nothing_is_stored(world: World) -> None:
    result = await undelivered(world)
    pressed_id = custom_id(result.response, "Get the song")
    await world.alice.click(said(result), label="Get the song")
    await world.press(world.alice, result.response, pressed_id)
    assert texts.NOT_STORED in text_of(result.response)
    assert buttons_of(result.response) == []


@pytest.mark.parametrize("verb", ["refresh", "cancel"])
async def test_another_button_does_not_hand_the_song_over(world: World, verb: str) -> None:
    """Under a message from before its end, say: it may still be posted for all."""
    result = await undelivered(world)
    (song,) = await world.rows()
    await world.press(world.alice, said(result), f"song:{verb}:{song.song_id}")
    assert (await world.row(song.song_id)).state is State.UNDELIVERED
    assert said(result).attachments == []
    assert buttons_of(result.response) == ["Get the song"]


async def test_a_late_press_shows_the_post(
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
async def test_a_late_press_shows_the_refund(world: World, token_lives: bool) -> None:
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


async def test_after_a_refused_upload_the_message_is_updated_with_the_new_token(
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


async def test_a_forged_press_on_a_song_in_progress_shows_its_state(world: World) -> None:
    result = await world.song()
    (song,) = await world.rows()
    pressed = await world.press(world.alice, result.response, f"song:get:{song.song_id}")
    assert pressed.followups == []
    assert "QUEUED" in text_of(result.response)
    assert buttons_of(result.response) == ["Cancel", "Refresh"]
