"""Buttons of a song: who may press them, what they do, and that they work after a restart."""

from datetime import timedelta
from typing import Any

import discord
import pytest

from cogs.client.components import EXPIRED
from cogs.songs import buttons, texts
from db.records import TOKEN_LIFETIME, Reason, State, Status
from tests.factories import make_song
from tests.world import World, buttons_of, custom_id, said, text_of


async def submitted(world: World, song_id: int) -> None:
    """Move it as the scheduler does."""
    async with world.application.database.write() as connection:
        await connection.execute(
            "UPDATE songs SET state = 'submitting', submits = 1 WHERE song_id = ?", (song_id,)
        )


def test_only_what_has_not_been_submitted_can_be_cancelled() -> None:
    def labels(**fields: Any) -> list[str]:
        items = buttons.status_buttons(make_song(**fields)).children
        return [i.item.label for i in items if isinstance(i, discord.ui.DynamicItem)]

    assert labels() == ["Cancel", "Refresh"]
    assert labels(submits=1) == ["Refresh"]
    assert labels(state=State.SUBMITTING) == ["Refresh"]
    assert labels(state=State.POSTING) == ["Refresh"]
    assert labels(state=State.COMPLETED) == []


class LikeButton(
    buttons.SongButton, verb="like", label="Like", style=discord.ButtonStyle.secondary
):
    public = True

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message(f"Liked {self.song_id}.", ephemeral=True)


async def test_a_public_button_is_under_the_post_and_answers_everybody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buttons, "SONG_BUTTONS", (*buttons.SONG_BUTTONS, LikeButton))
    monkeypatch.setattr("bot.COMPONENTS", buttons.SONG_BUTTONS)
    await world.restart()
    await world.song()
    async with world.working():
        (song,) = await world.ended()
    (post,) = world.posts()
    pressed = await world.bob.click(post, label="Like")
    assert said(pressed).content == f"Liked {song.song_id}."


async def test_cancel_refunds_the_credits_and_says_so(world: World) -> None:
    result = await world.song(seconds=60)
    assert await world.free() == 8
    pressed = await world.alice.click(said(result), label="Cancel")
    await world.spawner.rest()
    text = text_of(result.response)
    assert "**CANCELLED**" in text
    assert texts.REFUNDED in text
    assert f"{texts.BALANCE}: 10 credits" in text
    assert buttons_of(result.response) == []
    assert pressed.followups == []
    assert await world.free() == 10


@pytest.mark.parametrize("label", ["Cancel", "Refresh"])
async def test_a_button_works_after_a_restart(world: World, label: str) -> None:
    result = await world.song()
    await world.restart()
    await world.alice.click(said(result), label=label)
    await world.spawner.rest()
    assert ("CANCELLED" if label == "Cancel" else "QUEUED") in text_of(result.response)


async def test_a_submitted_song_can_not_be_cancelled(world: World) -> None:
    result = await world.song()
    (song,) = await world.rows()
    await submitted(world, song.song_id)
    pressed = await world.alice.click(said(result), label="Cancel")
    await world.spawner.rest()
    (refusal,) = pressed.followups
    assert refusal.ephemeral
    assert refusal.content == "Song #1 is already being made, so it can't be cancelled."
    assert buttons_of(result.response) == ["Refresh"]
    assert await world.free() == 9


@pytest.mark.parametrize("verb", ["cancel", "refresh"])
@pytest.mark.parametrize("song_id", ["1", "0", "0" * 18, "8" + "9" * 18])
async def test_a_button_of_an_unknown_song(world: World, verb: str, song_id: str) -> None:
    result = await world.song()
    pressed = await world.press(world.alice, result.response, f"song:{verb}:{song_id}")
    assert said(pressed).content == texts.NO_SUCH_SONG


@pytest.mark.parametrize(
    "forged",
    [
        *("song:cancel:", "song:cancel:x", "song:cancel:-1", f"song:cancel:{'9' * 19}"),
        *("song:stop:1", "song:cancel:٣", "queue:cancel:1", ""),
        *("history:1:-1", f"history:1:{'9' * 7}", f"history:{'9' * 19}:1"),
    ],
)
async def test_a_forged_button_is_answered_as_expired(world: World, forged: str) -> None:
    result = await world.song()
    pressed = await world.press(world.alice, result.response, forged)
    assert said(pressed).content == EXPIRED
    assert await world.free() == 9


@pytest.mark.parametrize("label", ["Cancel", "Refresh"])
async def test_a_song_of_another_server_is_out_of_reach(world: World, label: str) -> None:
    result = await world.song()
    pressed_id = custom_id(result.response, label)
    world.guild = world.env.create_guild("Two")
    elsewhere = world.guild.create_text_channel("songs")
    there = world.guild.add_member(world.alice.user)
    world.channel = elsewhere
    shown = await world.song(there)
    pressed = await world.press(there, shown.response, pressed_id)
    assert said(pressed).content == texts.NO_SUCH_SONG
    assert [song.status for song in await world.rows()] == [Status.QUEUED] * 2


async def test_refresh_stores_the_new_token(world: World) -> None:
    result = await world.song()
    (before,) = await world.rows()
    world.clock.moved += timedelta(minutes=10)
    pressed = await world.alice.click(said(result), label="Refresh")
    (after,) = await world.rows()
    assert after.token == pressed._interaction.token != before.token
    assert after.message_id == before.message_id == said(result).id
    assert after.token_until is not None
    assert after.token_until - world.clock() > TOKEN_LIFETIME - timedelta(minutes=1)


async def test_the_new_token_shows_the_end_after_the_old_one_has_expired(world: World) -> None:
    result = await world.song()
    await world.env.advance_time(14 * 60)
    await world.alice.click(said(result), label="Refresh")
    await world.env.advance_time(2 * 60)
    async with world.working():
        await world.ended()
    assert "**COMPLETED**" in text_of(result.response)


async def test_without_a_new_token_the_post_alone_shows_the_end(world: World) -> None:
    result = await world.song()
    await world.env.advance_time(16 * 60)
    async with world.working():
        (song,) = await world.ended()
    assert song.status is Status.COMPLETED
    assert song.token is None
    assert len(world.posts()) == 1
    assert "QUEUED" in text_of(result.response)


@pytest.mark.parametrize("label", ["Cancel", "Refresh"])
async def test_a_press_on_an_ended_song_shows_its_end(world: World, label: str) -> None:
    result = await world.song()
    (song,) = await world.rows()
    pressed_id = custom_id(result.response, label)
    await world.application.songs.cancel(
        song.song_id, server_id=song.server_id, member_id=song.member_id, manager=False
    )
    pressed = await world.press(world.alice, result.response, pressed_id)
    assert pressed.followups == []
    assert "CANCELLED" in text_of(result.response)
    assert buttons_of(result.response) == []


@pytest.mark.parametrize(("status", "code"), [(403, 50_001), (404, 10_015), (400, 50_035)])
async def test_the_song_arrives_although_every_edit_is_refused(
    world: World, status: int, code: int
) -> None:
    world.env.inject_error("PATCH", "/webhooks/*", status=status, code=code, times=None)
    await world.song()
    async with world.working():
        (song,) = await world.ended()
    assert song.status is Status.COMPLETED
    assert len(world.posts()) == 1


async def test_a_song_that_ends_while_its_button_is_answered_is_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 15 minutes of its message are over: its last edit could not be made."""
    result = await world.song()
    (song,) = await world.rows()
    async with world.application.database.write() as connection:
        await connection.execute("UPDATE songs SET token = NULL, token_until = NULL")
    defer = discord.InteractionResponse.defer

    async def slowly(response: Any, **how: Any) -> Any:
        done = await defer(response, **how)
        await world.application.completion.fail(song, Reason.SONG_GONE)
        return done

    monkeypatch.setattr(discord.InteractionResponse, "defer", slowly)
    await world.alice.click(said(result), label="Refresh")
    await world.spawner.rest()
    assert "FAILED" in text_of(said(result))
