"""/song, its form, and /queue."""

import asyncio
from types import SimpleNamespace
from typing import Any

import discord
import pytest
import simcord
from simcord.components import walk_components

from cogs.client.components import EXPIRED
from cogs.client.people import typed_text
from cogs.songs import texts
from cogs.songs.song import (
    PREFILL,
    Options,
    SongCog,
    length_with_price,
    suggested_seconds,
)
from db.records import Status
from services.amounts import Prices
from services.credits.credits import CreditPreview
from services.operations.incidents import Kind
from services.settings.catalogue import ALLOWANCE, LONGEST, MOST_STEPS
from services.settings.reader import Settings
from services.settings.server_settings import Manager
from services.songs.song_request import INSTRUMENTAL
from tests.world import SOON, World, buttons_of, said, text_of


async def form(world: World, **options: Any) -> simcord.InteractionResult:
    """`/song` without lyrics."""
    return await world.song(**{"instrumental": None, **options})


def manager(world: World) -> Manager:
    return Manager(world.guild.id, world.mona.id)


async def nothing_was_spent(world: World) -> bool:
    return not await world.rows() and await world.free() == 10


# --- /song ----------------------------------------------------------------------------------------


async def test_song_answers_with_a_status_message(world: World) -> None:
    result = await world.song(lyrics="[chorus]\nMidnight train", seconds=60, instrumental=None)
    assert result.ephemeral
    text = text_of(result.response)
    for words in ("Midnight train", "QUEUED", "Price: 2 credits", "8 credits", "1st of 1"):
        assert words in text
    assert "expected <t:" in text
    assert buttons_of(result.response) == ["Cancel", "Refresh"]
    assert world.posts() == []


async def test_options_are_stored(world: World) -> None:
    await world.song(
        genres="jazz,  waltz",
        lyrics=r"[verse]\nOne line\n[chorus]\nMidnight train",
        instrumental=False,
        seconds=90,
        seed=7,
        steps=75,
        cfg=6.5,
        shift=0.0,
        lyrics_strength=0.1,
    )
    (song,) = await world.rows()
    assert (song.genres, song.seconds, song.seed, song.steps) == ("jazz, waltz", 90, 7, 75)
    assert (song.cfg, song.shift, song.lyrics_strength, song.price) == (6.5, 0.0, 0.1, 6)
    assert song.lyrics == "[verse]\nOne line\n[chorus]\nMidnight train"
    assert song.member_id == world.alice.id
    assert song.channel_id == world.channel.id


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lyrics": "la la", "instrumental": True}, "Leave out either `lyrics` or `instrumental`"),
        ({"genres": " ,, "}, "name at least one genre"),
        ({"genres": " ,, ", "instrumental": None}, "name at least one genre"),
        ({"lyrics": "a" * 4_001, "instrumental": None}, "4,001 characters; the limit is 4,000"),
    ],
)
async def test_an_invalid_request_is_refused(
    world: World, options: dict[str, Any], sentence: str
) -> None:
    result = await world.song(**options)
    assert sentence in text_of(result.response)
    assert result.ephemeral
    assert result.modal is None
    assert await nothing_was_spent(world)


async def test_the_bot_checks_the_bounds_too(world: World) -> None:
    options = (
        {"name": "genres", "type": 3, "value": "funk"},
        {"name": "instrumental", "type": 5, "value": True},
        {"name": "seconds", "type": 4, "value": 241},
    )
    result = await world.raw_slash(world.alice, "song", *options)
    assert "`seconds` must be between 10 and 240" in text_of(result.response)
    assert await nothing_was_spent(world)


@pytest.mark.parametrize("instrumental", [True, None])
async def test_a_missing_permission_is_named_before_anything_is_spent(
    world: World, instrumental: bool | None
) -> None:
    assert world.client.user is not None
    denied = discord.PermissionOverwrite(attach_files=False)
    world.channel = world.guild.create_text_channel("quiet", overwrites={world.client.user: denied})
    result = await world.song(instrumental=instrumental)
    assert "I lack Attach Files." in text_of(result.response)
    assert result.modal is None
    assert await nothing_was_spent(world)


async def test_missing_sizes_are_within_the_limits(world: World) -> None:
    await world.application.server_settings.set_all(manager(world), {LONGEST: 45, MOST_STEPS: 40})
    await world.song(seconds=None)
    shown = await form(world, seconds=None)
    await world.alice.submit_modal(shown, {"lyrics": "Words"})
    assert [(song.seconds, song.steps) for song in await world.rows()] == [(45, 40)] * 2


async def test_given_sizes_over_the_limits_are_refused(world: World) -> None:
    await world.application.server_settings.set_all(manager(world), {LONGEST: 45, MOST_STEPS: 40})
    cases: list[tuple[dict[str, Any], str]] = [
        ({"seconds": 46}, "is 45 `seconds`"),
        ({"seconds": 45, "steps": 41}, "is 40 `steps`"),
    ]
    for options, sentence in cases:
        for instrumental in (True, None):
            result = await world.song(**options, instrumental=instrumental)
            assert sentence in text_of(result.response)
            assert result.modal is None
    assert await nothing_was_spent(world)


async def test_an_unlimited_members_song_is_free_for_them(world: World) -> None:
    await world.application.server_settings.set(manager(world), ALLOWANCE, None)
    requested = await world.song(seconds=60)
    assert texts.UNLIMITED in text_of(requested.response)
    await world.alice.click(said(requested), label="Cancel")
    await world.spawner.rest()
    assert texts.COST_NOTHING in text_of(requested.response)
    assert "back" not in text_of(requested.response)


# --- the form -------------------------------------------------------------------------------------


async def test_song_without_lyrics_opens_a_prefilled_form(world: World) -> None:
    result = await form(world)
    assert result.modal is not None
    (field,) = [part for part in walk_components(result.modal["components"]) if part["type"] == 4]
    assert (field["value"], field["max_length"], field["required"]) == (PREFILL, 4_000, False)
    assert await nothing_was_spent(world)


async def test_the_form_makes_the_song_after_a_restart(world: World) -> None:
    shown = await form(world, genres="jazz", seed=5)
    await world.restart()
    sent = await world.alice.submit_modal(shown, {"lyrics": "Midnight train"})
    await world.spawner.rest()
    (song,) = await world.rows()
    assert (song.genres, song.seed, song.lyrics) == ("jazz", 5, "Midnight train")
    assert "QUEUED" in text_of(sent.response)


async def test_an_untouched_form_is_an_instrumental(world: World) -> None:
    shown = await form(world)
    await world.alice.submit_modal(shown, {"lyrics": PREFILL})
    (song,) = await world.rows()
    assert song.lyrics == INSTRUMENTAL


def lyrics_returned(world: World, result: simcord.InteractionResult) -> str:
    """Return the text of the file that came with a refusal, visible to its member only."""
    assert result.response is not None
    assert result.response.ephemeral
    assert [file.filename for file in result.response.attachments] == ["lyrics.txt"]
    return world.file(result.response).decode()


async def test_another_members_draft_is_refused(world: World) -> None:
    shown = await form(world)
    assert shown.modal is not None
    sent = await world.send_form(world.bob, shown.modal["custom_id"], "Bob's own words")
    assert "has expired" in text_of(sent.response)
    assert lyrics_returned(world, sent) == "Bob's own words"
    assert await nothing_was_spent(world)


@pytest.mark.parametrize("draft", ["", "x", "-1", "9" * 19, "9" * 30, "٣"])
async def test_a_forged_form_is_refused(world: World, draft: str) -> None:
    sent = await world.send_form(world.alice, f"lyrics:{draft}", "Words")
    assert "has expired" in text_of(sent.response)
    assert await nothing_was_spent(world)


async def test_another_form_is_answered_as_expired(world: World) -> None:
    sent = await world.send_form(world.alice, "feedback:1", "Words")
    assert said(sent).content == EXPIRED
    assert await world.rows() == []


async def test_lyrics_come_back_with_a_refusal(world: World) -> None:
    shown = await form(world)
    await world.application.songs._incidents.begin(Kind.KEY_REFUSED, "401")
    sent = await world.alice.submit_modal(shown, {"lyrics": "My dear words"})
    assert "Songs are paused" in text_of(sent.response)
    assert lyrics_returned(world, sent) == "My dear words"
    sent = await world.send_form(world.alice, "lyrics:1", PREFILL)
    assert said(sent).attachments == []  # there is nothing to return
    assert await nothing_was_spent(world)


async def test_lyrics_come_back_with_an_unexpected_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    shown = await form(world)
    async with world.application.database.write() as connection:
        await connection.execute("DROP TABLE drafts")
    sent = await world.alice.submit_modal(shown, {"lyrics": "My dear words"})
    assert "Sorry" in text_of(sent.response)
    assert lyrics_returned(world, sent) == "My dear words"
    assert "no such table" in caplog.text


def slash_by_hand(world: World, forms: asyncio.Queue[discord.ui.Modal]) -> Any:
    """An interaction that puts the form it opens in a queue.

    The simulator moves its clock only once the bot is idle.
    """
    return SimpleNamespace(
        id=1,
        guild_id=world.guild.id,
        user=world.alice,
        guild=None,
        channel=SimpleNamespace(type=discord.ChannelType.text, id=world.channel.id),
        channel_id=world.channel.id,
        application_id=1,
        token="token",
        client=world.client,
        app_permissions=discord.Permissions.all(),
        response=SimpleNamespace(send_modal=forms.put),
    )


async def test_the_form_opens_while_the_database_is_slow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.songs.song.FORM_WAITS", 0.05)
    forms: asyncio.Queue[discord.ui.Modal] = asyncio.Queue()
    cog = world.client.get_cog("SongCog")
    assert isinstance(cog, SongCog)
    options = Options("jazz", {})
    async with world.application.database.write():
        opening = asyncio.create_task(cog._open_form(slash_by_hand(world, forms), options))
        shown = await asyncio.wait_for(forms.get(), SOON)
    await opening
    await world.send_form(world.alice, shown.custom_id, "Words")
    (song,) = await world.rows()
    assert (song.genres, song.seconds) == ("jazz", 60)


async def test_the_form_opens_unchecked_if_the_check_is_slow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.songs.song.FORM_WAITS", 0.01)
    forms: asyncio.Queue[discord.ui.Modal] = asyncio.Queue()
    cog = world.client.get_cog("SongCog")
    assert isinstance(cog, SongCog)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as slow:
        slow.setattr(type(world.application.songs), "check", never)
        await cog._open_form(slash_by_hand(world, forms), Options("jazz", {"seconds": 30}))
    await world.application.server_settings.set(manager(world), LONGEST, 20)
    sent = await world.send_form(world.alice, forms.get_nowait().custom_id, "Words")
    assert "is 20 `seconds`" in text_of(sent.response)
    assert lyrics_returned(world, sent) == "Words"
    assert await nothing_was_spent(world)


async def test_the_form_does_not_open_if_its_draft_is_not_stored(world: World) -> None:
    async with world.application.database.write() as connection:
        await connection.execute("DROP TABLE drafts")
    result = await form(world)
    assert result.modal is None
    assert "Sorry" in text_of(result.response)
    (error,) = world.errors()
    world.foreseen = [error]


def test_typed_text_is_found_at_any_depth() -> None:
    field = {"type": 4, "custom_id": "lyrics", "value": "la"}
    assert typed_text({"components": [{"type": 1, "components": [field]}]}, "lyrics") == "la"
    assert typed_text({"components": [{"type": 18, "component": field}]}, "lyrics") == "la"
    assert typed_text({"components": [{"type": 18, "component": {"value": "x"}}]}, "lyrics") == ""
    assert typed_text({"custom_id": "lyrics", "value": None}, "lyrics") == ""


# --- autocomplete ---------------------------------------------------------------------------------


async def lengths(world: World, typed: str = "", **options: Any) -> dict[int, str]:
    """What is suggested for `seconds` while it is typed."""
    choices = await world.alice.autocomplete(
        world.channel, "song", "seconds", typed, genres="funk", **options
    )
    assert len(choices) <= 25
    return {choice["value"]: choice["name"] for choice in choices}


async def test_suggested_lengths_have_prices_and_the_credits_left(world: World) -> None:
    assert (await lengths(world))[60] == texts.length_choice(60, 2, free=10)
    assert await lengths(world, "6", steps=100) == {60: texts.length_choice(60, 4, free=10)}
    assert await lengths(world, "75") == {75: texts.length_choice(75, 3, free=10)}
    await world.song(seconds=240)
    assert await lengths(world, "90") == {90: texts.length_choice(90, 3, free=2)}


async def test_suggesting_a_length_writes_nothing(world: World) -> None:
    database = world.application.database
    async with database.write():  # which a writer would wait for
        await asyncio.wait_for(lengths(world), SOON)
    assert not await database.reader.execute_fetchall("SELECT * FROM lots")


async def test_no_length_over_the_limit_is_suggested(world: World) -> None:
    await world.application.server_settings.set_all(manager(world), {LONGEST: 75, MOST_STEPS: 40})
    assert list(await lengths(world)) == [10, 30, 45, 60, 75]
    assert list(await lengths(world, "200")) == [75]
    assert (await lengths(world, "60"))[60] == texts.length_choice(60, 2, free=10)


async def test_an_error_suggests_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object) -> None:
        raise OSError("the disk")

    monkeypatch.setattr(type(world.application.credits), "preview", fails)
    monkeypatch.setattr(type(world.application.songs), "genres_used", fails)
    assert await lengths(world) == {}
    assert await world.alice.autocomplete(world.channel, "song", "genres", "fu") == []
    assert caplog.text.count("OSError: the disk") == 2


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("2", [210, 240]),
        ("24", [24, 240]),
        ("240", [240]),
        ("9", [90]),
        ("241", [240]),
        ("0060", []),
        ("abc", []),
        ("-1", []),
        (" 30 ", [30]),
        ("²", []),
        ("9" * 6_000, []),
    ],
)
def test_suggested_lengths_continue_the_typed_text(typed: str, suggested: list[int]) -> None:
    assert list(suggested_seconds(typed, longest=240)) == suggested


@pytest.mark.parametrize("steps", [None, "", "ab", 9, 151, True, 3.5])
def test_partly_typed_steps_do_not_count(steps: object) -> None:
    preview = CreditPreview(Settings(), 10**9)
    text = length_with_price(240, steps, Prices(), preview)
    assert text == texts.length_choice(240, 8, free=10**9)


async def test_own_genres_come_before_the_servers(world: World) -> None:
    await world.song(world.bob, genres="accordion, funk")
    await world.song(world.alice, genres="zither, funk")
    choices = await world.alice.autocomplete(world.channel, "song", "genres", "rock, ")
    names = [choice["name"] for choice in choices]
    assert names[:3] == ["rock, zither", "rock, funk", "rock, accordion"]
    assert len(names) == 25
    assert all(choice["name"] == choice["value"] for choice in choices)


# --- /queue ---------------------------------------------------------------------------------------


async def test_an_empty_queue(world: World) -> None:
    result = await world.alice.slash(world.channel, "queue")
    assert result.ephemeral
    assert texts.QUEUE_EMPTY in text_of(result.response)
    assert buttons_of(result.response) == []


def menu_options(result: simcord.InteractionResult) -> list[dict[str, Any]]:
    assert result.response is not None
    menus = [p for p in walk_components(result.response.components) if p["type"] == 3]
    return [option for menu in menus for option in menu["options"]]


async def test_the_queue_shows_places_and_lets_you_cancel_your_own(world: World) -> None:
    await world.song(world.bob, lyrics="First train", instrumental=None)
    await world.song(world.alice, lyrics="Second train", instrumental=None)
    result = await world.alice.slash(world.channel, "queue")
    text = text_of(result.response)
    first = text.index(f"**1st** · #1 · <@{world.bob.id}>")  # its title is not visible to alice
    assert first < text.index("**2nd** · #2 Second train · yours")
    managed = text_of((await world.mona.slash(world.channel, "queue")).response)
    assert "#1 First train" in managed
    assert [option["label"] for option in menu_options(result)] == ["#2 Second train"]
    chosen = await world.alice.select(said(result), [menu_options(result)[0]["value"]])
    await world.spawner.rest()
    assert "Second train" not in text_of(chosen.response)
    assert buttons_of(chosen.response) == []
    assert [song.status for song in await world.rows()] == [Status.QUEUED, Status.CANCELLED]
    assert await world.free(world.alice) == 10


async def test_managers_cancel_any_song(world: World) -> None:
    requested = await world.song(world.bob)
    result = await world.mona.slash(world.channel, "queue")
    await world.mona.select(said(result), [menu_options(result)[0]["value"]])
    await world.spawner.rest()
    assert "CANCELLED" in text_of(requested.response)
    assert await world.free(world.bob) == 10


async def test_a_forged_choice_is_refused(world: World) -> None:
    await world.song(world.alice)
    await world.song(world.bob)
    result = await world.alice.slash(world.channel, "queue")
    _, bobs = await world.rows()
    for value, sentence in [
        (str(bobs.song_id), texts.NOT_YOUR_SONG),
        ("1", texts.NO_SUCH_SONG),
        ("x", texts.NO_SUCH_SONG),
        ("9" * 19, texts.NO_SUCH_SONG),
    ]:
        chosen = await world.press(world.alice, result.response, "queue:cancel", values=[value])
        (refusal,) = chosen.followups
        assert refusal.content == sentence
        assert refusal.ephemeral
    assert [song.status for song in await world.rows()] == [Status.QUEUED] * 2


async def test_a_late_choice_is_refused(world: World) -> None:
    requested = await world.song()
    result = await world.alice.slash(world.channel, "queue")
    await world.alice.click(said(requested), label="Cancel")
    chosen = await world.alice.select(said(result), [menu_options(result)[0]["value"]])
    assert [m.content for m in chosen.followups] == ["Song #1 is already cancelled."]
