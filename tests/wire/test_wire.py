"""The wire is proven with a real discord.py bot, and its refusals with a bare client."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from discord import app_commands
from discord.ext import commands

from tests.wire import (
    Channel,
    DiscordWire,
    Fault,
    Interaction,
    Limits,
    Member,
    Permission,
)
from tests.wire.openapi import DESCRIPTION
from tests.wire.permissions import BOT
from tests.wire.signals import Signal
from tests.wire.state import Pings

MESSAGES = "/channels/{channel_id}/messages"
CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"


class Lyrics(discord.ui.Modal, title="Lyrics"):
    words: discord.ui.TextInput[Any] = discord.ui.TextInput(
        label="Words", custom_id="words", default="[verse]", max_length=40
    )

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await interaction.response.send_message(f"Lyrics: {self.words.value}", ephemeral=True)


class Cancel(discord.ui.View):
    @discord.ui.button(label="Cancel", custom_id="cancel")
    async def cancel(
        self, interaction: discord.Interaction, button: discord.ui.Button[Any]
    ) -> None:
        await interaction.response.edit_message(content="CANCELLED", view=None)


class TinyBot(commands.AutoShardedBot):
    def __init__(self) -> None:
        super().__init__("!", intents=discord.Intents(guilds=True), guild_ready_timeout=0.01)
        self.ended: list[str] = []
        self.heard = Signal()
        self.tree.add_command(song)
        self.tree.add_command(lyrics)
        self.tree.error(self.keep_error)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """discord.py waits 5 s here for Discord's sake; the wire needs no sparing."""

    async def until(self, look: Callable[[], object]) -> None:
        await self.heard.until(lambda: bool(look()), 5.0, lambda: str(self.ended))

    def dispatch(self, event_name: str, /, *args: Any, **kwargs: Any) -> None:
        super().dispatch(event_name, *args, **kwargs)
        self.heard.tell()

    async def keep_error(
        self, interaction: discord.Interaction, error: app_commands.AppCommandError
    ) -> None:
        self.ended.append(str(error))
        self.heard.tell()


@app_commands.command()
@app_commands.guild_only()
async def song(
    interaction: discord.Interaction,
    genres: str,
    seconds: app_commands.Range[int, 10, 240] = 60,
) -> None:
    """Defers, edits, posts a file."""
    answer = await interaction.response.defer(ephemeral=True)
    await interaction.edit_original_response(content=f"QUEUED {genres} {seconds}", view=Cancel())
    assert isinstance(interaction.channel, discord.abc.Messageable)
    assert answer is not None
    await interaction.channel.send(
        f"<@{interaction.user.id}> {genres} @everyone",
        file=discord.File(io.BytesIO(b"ID3 music"), "1-funk.mp3"),
        embed=discord.Embed(title=genres, description=f"{seconds} s"),
        nonce=str(interaction.id),
        allowed_mentions=discord.AllowedMentions(
            users=[interaction.user], everyone=False, roles=False
        ),
    )
    partial = discord.Webhook.partial(
        interaction.application_id, interaction.token, client=interaction.client
    )
    assert answer.message_id is not None
    await partial.edit_message(answer.message_id, content="COMPLETED")


@app_commands.command()
async def lyrics(interaction: discord.Interaction) -> None:
    """Opens a form."""
    await interaction.response.send_modal(Lyrics())


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DiscordWire]:
    async with DiscordWire(limits=Limits.none()) as wire:
        monkeypatch.setattr(discord.http.Route, "BASE", wire.api_url)
        monkeypatch.setattr(
            discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(wire.gateway_url)
        )
        yield wire


@pytest.fixture
def songs(wire: DiscordWire) -> Channel:
    return wire.channel(wire.guild("One"), "songs")


@pytest.fixture
def alice(wire: DiscordWire, songs: Channel) -> Member:
    assert songs.guild is not None
    return wire.member(songs.guild, "alice")


@pytest.fixture
async def bot(wire: DiscordWire, songs: Channel) -> AsyncIterator[TinyBot]:
    bot = TinyBot()
    running = asyncio.create_task(bot.start(wire.token))
    try:
        await wire.ready()
        await bot.wait_until_ready()
        yield bot
    finally:
        await bot.close()
        await running


# With a real bot


async def test_a_song_from_slash_to_post(
    wire: DiscordWire, bot: TinyBot, songs: Channel, alice: Member
) -> None:
    song = await wire.slash(alice, songs, "song", genres="funk", seconds=90)
    status = await song.wait_message(lambda m: m.content == "COMPLETED")
    assert (song.callback, song.delivered, status.ephemeral) == (5, True, True)
    assert song.acknowledged_in is not None
    assert [v.content for v in song.versions] == ["", "QUEUED funk 90", "COMPLETED"]
    assert [v.loading for v in status.versions] == [True, False, False]
    post = await wire.wait_message(songs)
    assert post.pings == Pings(users=frozenset({alice.id}))
    assert (post.nonce, post.embeds[0]["title"]) == (str(song.id), "funk")
    assert [(a.filename, a.content) for a in post.attachments] == [("1-funk.mp3", b"ID3 music")]
    assert wire.messages(songs) == [post]
    assert wire.state.command_puts == 1
    assert wire.answers[("POST", CALLBACK, 200)] == 1


async def test_a_button_edits_its_message(
    wire: DiscordWire, bot: TinyBot, songs: Channel, alice: Member
) -> None:
    song = await wire.slash(alice, songs, "song", genres="funk")
    status = await song.wait_message(lambda m: m.content == "COMPLETED")
    assert songs.guild is not None
    bob = wire.member(songs.guild, "bob")
    with pytest.raises(LookupError, match="does not see"):
        await wire.press(bob, status, "cancel")
    with pytest.raises(LookupError, match="no stop"):
        await wire.press(alice, status, "stop")
    pressed = await wire.press(alice, status, "cancel")
    await pressed.acknowledged()
    assert (pressed.callback, pressed.original, status.content) == (7, status, "CANCELLED")
    with pytest.raises(LookupError, match="no cancel"):
        await wire.press(alice, status, "cancel")
    forged = await wire.press(alice, status, "cancel", forged=True)
    await forged.acknowledged()


async def test_a_form_opens_and_is_sent_off(
    wire: DiscordWire, bot: TinyBot, songs: Channel, alice: Member
) -> None:
    opened = await (await wire.slash(alice, songs, "lyrics")).acknowledged()
    assert opened.callback == 9
    with pytest.raises(LookupError, match="the form has no"):
        await wire.submit(alice, opened, verses="la")
    with pytest.raises(ValueError, match="41 characters"):
        await wire.submit(alice, opened, words="l" * 41)
    kept = await (await wire.submit(alice, opened)).wait_message()
    opened = await (await wire.slash(alice, songs, "lyrics")).acknowledged()
    changed = await (await wire.submit(alice, opened, words="la la")).wait_message()
    assert (kept.content, changed.content) == ("Lyrics: [verse]", "Lyrics: la la")
    with pytest.raises(LookupError, match="opened no form"):
        await wire.submit(alice, await wire.slash(alice, songs, "song", genres="x"))


async def test_an_interaction_delivered_twice_is_acknowledged_once(
    wire: DiscordWire, bot: TinyBot, songs: Channel, alice: Member
) -> None:
    song = await wire.slash(alice, songs, "song", genres="funk")
    await song.wait_message(lambda m: m.content == "COMPLETED")
    await wire.deliver_again(song)
    await wire.until(lambda: wire.answers[("POST", CALLBACK, 400)])
    await bot.until(lambda: bot.ended)
    assert "already been acknowledged" in bot.ended[0]


async def test_a_dropped_gateway_resumes_and_hears_what_it_missed(
    wire: DiscordWire, bot: TinyBot, songs: Channel, alice: Member
) -> None:
    wire.gateway.drop()
    song = await wire.slash(alice, songs, "song", genres="funk")
    await song.wait_message(lambda m: m.content == "COMPLETED")
    assert (wire.gateway.identifies, wire.gateway.resumes) == (1, 1)
    wire.gateway.reconnect()
    await wire.until(lambda: wire.gateway.resumes == 2)
    wire.gateway.invalidate(resumable=True)
    await wire.until(lambda: wire.gateway.resumes == 3)
    wire.gateway.close(1001)
    await wire.until(lambda: wire.gateway.resumes == 4)
    assert wire.gateway.identifies == 1


async def test_a_session_that_cannot_be_resumed_identifies(
    wire: DiscordWire, bot: TinyBot, songs: Channel, alice: Member
) -> None:
    wire.gateway.invalidate(resumable=False)
    await wire.until(lambda: wire.gateway.identifies == 2)
    wire.gateway.forget()
    lost = await wire.slash(alice, songs, "song", genres="funk")
    assert not lost.delivered
    wire.gateway.drop()
    await wire.until(lambda: wire.gateway.identifies == 3)
    assert wire.gateway.resumes == 0
    song = await wire.slash(alice, songs, "song", genres="funk")
    await song.wait_message(lambda m: m.content == "COMPLETED")
    assert wire.gateway.heartbeats >= 3


# With a bare client


class Bare:
    """Calls the wire as bytes go, and holds its answers against Discord's description."""

    def __init__(self, wire: DiscordWire, session: aiohttp.ClientSession) -> None:
        self.wire = wire
        self.session = session
        self.headers: Any = {}

    async def __call__(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **kwargs: Any
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bot {token or self.wire.token}"}
        async with self.session.request(
            method, self.wire.api_url + path, json=body, headers=headers, **kwargs
        ) as response:
            self.headers = response.headers
            raw = await response.read()
            told = json.loads(raw) if response.content_type == "application/json" else None
            self.check(method, response.status, told)
            return response.status, told

    def check(self, method: str, status: int, told: Any) -> None:
        route = self.wire.requests[-1].route if self.wire.requests else ""
        if self.wire.description is not None and told is not None and status < 300:
            assert not self.wire.description.response_errors(method, route, status, told)

    async def upload(self, path: str, payload: Any, *files: bytes) -> tuple[int, Any]:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("payload_json", json.dumps(payload))
        for index, content in enumerate(files):
            form.add_field(f"files[{index}]", content, filename=f"{index}.mp3")
        headers = {"Authorization": f"Bot {self.wire.token}"}
        url = self.wire.api_url + path
        async with self.session.post(url, data=form, headers=headers) as response:
            return response.status, await response.json()


@pytest.fixture
async def bare(wire: DiscordWire) -> AsyncIterator[Bare]:
    async with aiohttp.ClientSession() as session:
        yield Bare(wire, session)


async def asked(wire: DiscordWire, channel: Channel, member: Member) -> Interaction:
    wire.state.commands = [{"name": "song", "id": "1", "type": 1, "options": []}]
    return await wire.slash(member, channel, "song")


def callback(interaction: Interaction) -> str:
    return f"/interactions/{interaction.id}/{interaction.token}/callback"


def webhook(wire: DiscordWire, interaction: Interaction) -> str:
    return f"/webhooks/{wire.application_id}/{interaction.token}"


async def test_what_can_be_read(
    wire: DiscordWire, bare: Bare, songs: Channel, alice: Member
) -> None:
    assert songs.guild is not None
    guild = f"/guilds/{songs.guild.id}"
    for path in (
        "/users/@me",
        f"/users/{alice.id}",
        "/oauth2/applications/@me",
        "/applications/@me",
        "/gateway/bot",
        guild,
        f"{guild}/members/{alice.id}",
        f"{guild}/members/{wire.state.bot.id}",
        f"/channels/{songs.id}",
        f"/channels/{wire.thread(songs, 'demos').id}",
        f"/applications/{wire.application_id}/commands",
    ):
        status, told = await bare("GET", path)
        assert status == 200, (path, told)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/users/5", 404, 10013),
        ("/guilds/5", 404, 10004),
        ("/guilds/{guild}/members/5", 404, 10007),
        ("/channels/5", 404, 10003),
        ("/channels/x", 404, 10003),
        ("/channels/{channel}/messages/5", 404, 10008),
        ("/channels/{channel}/messages?limit=101", 400, 50035),
        ("/applications/5/commands", 403, 20012),
    ],
)
async def test_what_is_not_there(
    bare: Bare, songs: Channel, path: str, status: int, code: int
) -> None:
    assert songs.guild is not None
    answer = await bare("GET", path.format(guild=songs.guild.id, channel=songs.id))
    assert (answer[0], answer[1]["code"]) == (status, code)


async def test_a_wrong_token_is_refused(wire: DiscordWire, bare: Bare) -> None:
    assert (await bare("GET", "/users/@me", token="wrong"))[0] == 401
    assert wire.invalid_answers == 1


async def test_one_callback_within_three_seconds(
    wire: DiscordWire, bare: Bare, songs: Channel, alice: Member
) -> None:
    late = await asked(wire, songs, alice)
    wire.clock.advance(3.1)
    assert (await bare("POST", callback(late), {"type": 5}))[1]["code"] == 10062
    assert late.callback is None
    song = await asked(wire, songs, alice)
    path = callback(song)
    wrong = f"/interactions/{song.id}/other/callback"
    assert (await bare("POST", wrong, {"type": 5}))[1]["code"] == 10062
    assert (await bare("POST", path, {"type": 7, "data": {"content": "x"}}))[0] == 400
    assert (await bare("POST", webhook(wire, song), {"content": "x"}))[1]["code"] == 10015
    assert (await bare("POST", path, {"type": 5}))[0] == 204
    assert (await bare("POST", path, {"type": 5}))[1]["code"] == 40060


async def test_a_callback_tells_its_message(
    wire: DiscordWire, bare: Bare, songs: Channel, alice: Member
) -> None:
    song = await asked(wire, songs, alice)
    body = {"type": 4, "data": {"content": "hello", "flags": 64}}
    status, told = await bare("POST", callback(song) + "?with_response=true", body)
    assert (status, told["resource"]["message"]["content"]) == (200, "hello")
    assert told["interaction"]["response_message_ephemeral"] is True
    assert told["interaction"]["response_message_id"] == str(song.messages[0].id)


async def test_a_token_works_for_fifteen_minutes(
    wire: DiscordWire, bare: Bare, songs: Channel, alice: Member
) -> None:
    song = await asked(wire, songs, alice)
    hook = webhook(wire, song)
    await bare("POST", callback(song), {"type": 5, "data": {"flags": 64}})
    _, first = await bare("POST", hook, {"content": "fills the thinking one"})
    assert first["id"] == str(song.messages[0].id)
    _, second = await bare("POST", hook + "?wait=true", {"content": "second", "flags": 64})
    assert [m.content for m in song.messages] == ["fills the thinking one", "second"]
    for name in ("@original", second["id"]):
        assert (await bare("GET", f"{hook}/messages/{name}"))[0] == 200
        assert (await bare("PATCH", f"{hook}/messages/{name}", {"content": "new"}))[0] == 200
    assert (await bare("GET", f"/channels/{songs.id}/messages/{second['id']}"))[0] == 404
    assert (await bare("DELETE", f"{hook}/messages/{second['id']}"))[0] == 204
    assert (await bare("GET", f"{hook}/messages/{second['id']}"))[1]["code"] == 10008
    wire.clock.advance(15 * 60)
    status, told = await bare("PATCH", f"{hook}/messages/@original", {"content": "late"})
    assert (status, told["code"]) == (401, 50027)


async def test_a_nonce_is_enforced_for_minutes(
    wire: DiscordWire, bare: Bare, songs: Channel
) -> None:
    path, body = f"/channels/{songs.id}/messages", {"content": "a", "nonce": "7"}
    enforced = {**body, "enforce_nonce": True}
    first, again = await bare("POST", path, enforced), await bare("POST", path, enforced)
    assert first == again
    await bare("POST", path, body)
    wire.clock.advance(200)
    await bare("POST", path, enforced)
    assert len(wire.messages(songs)) == 3


async def test_history_is_newest_first(wire: DiscordWire, bare: Bare, songs: Channel) -> None:
    path = f"/channels/{songs.id}/messages"
    for content in "abcde":
        await bare("POST", path, {"content": content})
    ids = {m.content: m.id for m in wire.messages(songs)}
    for query, found in [
        ("", "edcba"),
        ("?limit=2", "ed"),
        (f"?after={ids['b']}&limit=2", "dc"),
        (f"?before={ids['d']}&limit=2", "cb"),
        (f"?around={ids['c']}&limit=3", "dcb"),
    ]:
        _, told = await bare("GET", path + query)
        assert "".join(m["content"] for m in told) == found, query


@pytest.mark.parametrize(
    ("without", "body", "code"),
    [
        (Permission.VIEW_CHANNEL, {"content": "x"}, 50001),
        (Permission.SEND_MESSAGES, {"content": "x"}, 50013),
        (Permission.EMBED_LINKS, {"embeds": [{"title": "x"}]}, 50013),
    ],
)
async def test_permissions(
    wire: DiscordWire,
    bare: Bare,
    songs: Channel,
    without: Permission,
    body: dict[str, Any],
    code: int,
) -> None:
    wire.permit(songs, BOT & ~without)
    status, told = await bare("POST", f"/channels/{songs.id}/messages", body)
    assert (status, told["code"]) == (403, code)


async def test_permissions_to_attach_to_read_and_in_threads(
    wire: DiscordWire, bare: Bare, songs: Channel
) -> None:
    thread = wire.thread(songs, "demos")
    path, in_thread = f"/channels/{songs.id}/messages", f"/channels/{thread.id}/messages"
    _, told = await bare("POST", path, {"content": "x"})
    wire.permit(songs, BOT & ~Permission.ATTACH_FILES & ~Permission.READ_MESSAGE_HISTORY)
    assert (await bare.upload(path, {}, b"x"))[1]["code"] == 50013
    assert await bare("GET", path) == (200, [])
    assert (await bare("GET", f"{path}/{told['id']}"))[1]["code"] == 50001
    wire.permit(thread, BOT & ~Permission.SEND_MESSAGES_IN_THREADS)
    assert (await bare("POST", in_thread, {"content": "x"}))[1]["code"] == 50013
    assert songs.guild is not None
    wire.remove_bot(songs.guild)
    assert (await bare("POST", path, {"content": "x"}))[1]["code"] == 50001
    wire.delete_channel(songs)
    assert (await bare("POST", in_thread, {"content": "x"}))[1]["code"] == 10003


async def test_unreadable_history_can_be_refused() -> None:
    async with (
        DiscordWire(unreadable_history="refused") as wire,
        aiohttp.ClientSession() as session,
    ):
        channel = wire.channel(wire.guild("One"), "songs", permissions=Permission.VIEW_CHANNEL)
        status, told = await Bare(wire, session)("GET", f"/channels/{channel.id}/messages")
        assert (status, told["code"]) == (403, 50001)


async def test_uploads(wire: DiscordWire, bare: Bare, songs: Channel) -> None:
    path = f"/channels/{songs.id}/messages"
    assert songs.guild is not None
    songs.guild.upload_limit = 100
    payload = {"attachments": [{"id": 1, "filename": "named.mp3", "description": "d"}]}
    assert (await bare.upload(path, payload, b"0" * 100, b"1"))[0] == 200
    assert (await bare.upload(path, payload, b"0" * 101))[1]["code"] == 40005
    (message,) = wire.messages(songs)
    assert [a.filename for a in message.attachments] == ["0.mp3", "named.mp3"]
    assert message.attachments[0].content == b"0" * 100
    kept = {"content": "new", "attachments": [{"id": str(message.attachments[1].id)}]}
    assert (await bare("PATCH", f"{path}/{message.id}", kept))[0] == 200
    assert [a.filename for a in message.attachments] == ["named.mp3"]


def deep(kind: int, **fields: Any) -> dict[str, Any]:
    return {"components": [{"type": 1, "components": [{"type": kind, **fields}]}]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 50006),
        ({"content": "x" * 2001}, 50035),
        ({"content": "x", "nonce": "1" * 26}, 50035),
        ({"embeds": [{"title": "x" * 257}]}, 50035),
        ({"embeds": [{"description": "x" * 4097}]}, 50035),
        ({"embeds": [{"description": "x" * 3001}] * 2}, 50035),
        ({"embeds": [{"fields": [{"name": "", "value": "x"}]}]}, 50035),
        ({"embeds": [{"title": "x"}] * 11}, 50035),
        (deep(2, style=1, custom_id="x" * 101), 50035),
        (deep(2, style=1, custom_id="x", label="y" * 81), 50035),
        ({"components": deep(2, style=1, custom_id="x")["components"] * 2}, 50035),
        ({"components": deep(2, style=5, url="https://a.b")["components"] * 6}, 50035),
        (deep(3, custom_id="x", options=[{"label": "a", "value": "a"}] * 26), 50035),
        ({"components": [{"type": 10, "content": "x"}]}, 50035),
        ({"flags": 1 << 15, "content": "x", "components": [{"type": 10, "content": "x"}]}, 50035),
        ({"flags": 1 << 15, "components": [{"type": 10, "content": "x" * 4001}]}, 50035),
    ],
)
async def test_forms_that_are_refused(
    wire: DiscordWire, bare: Bare, songs: Channel, body: dict[str, Any], code: int
) -> None:
    status, told = await bare("POST", f"/channels/{songs.id}/messages", body)
    assert (status, told["code"]) == (400, code)
    wire.violations.clear()


async def test_forms_and_choices_of_callbacks(
    wire: DiscordWire, bare: Bare, songs: Channel, alice: Member
) -> None:
    song = await asked(wire, songs, alice)
    text = {"type": 4, "custom_id": "a", "style": 1, "value": "x" * 5, "max_length": 4}
    row = {"type": 1, "components": [text]}
    modal = {"type": 9, "data": {"custom_id": "a", "title": "t", "components": [row]}}
    status, told = await bare("POST", callback(song), modal)
    assert (status, told["code"]) == (400, 50035)
    wire.state.commands[0]["options"] = [{"name": "genre", "type": 3, "autocomplete": True}]
    typed = await wire.autocomplete(alice, songs, "song", "genre", "f")
    choices = [{"name": "x" * 101, "value": "x"}]
    body: dict[str, Any] = {"type": 8, "data": {"choices": choices}}
    assert (await bare("POST", callback(typed), body))[0] == 400
    wire.violations.clear()
    body["data"]["choices"] = []
    assert (await bare("POST", callback(typed), body))[0] == 204
    assert typed.choices == []


async def test_only_own_messages_change(
    wire: DiscordWire, bare: Bare, songs: Channel, alice: Member
) -> None:
    path = f"/channels/{songs.id}/messages"
    _, told = await bare("POST", path, {"content": "x"})
    wire.messages(songs)[0].author = alice.user
    assert (await bare("PATCH", f"{path}/{told['id']}", {"content": "y"}))[1]["code"] == 50005
    assert (await bare("DELETE", f"{path}/{told['id']}"))[1]["code"] == 50013
    wire.permit(songs, BOT | Permission.MANAGE_MESSAGES)
    assert (await bare("DELETE", f"{path}/{told['id']}"))[0] == 204


async def test_who_is_pinged(wire: DiscordWire, bare: Bare, songs: Channel, alice: Member) -> None:
    assert songs.guild is not None
    role = wire.role(songs.guild, "fans")
    wire.permit(songs, BOT | Permission.MENTION_EVERYONE)
    text = f"<@{alice.id}> <@5> <@&{role.id}> @everyone"
    fans, only_alice = frozenset({role.id}), frozenset({alice.id})
    cases: list[tuple[dict[str, Any], Pings]] = [
        ({}, Pings(only_alice, fans, everyone=True)),
        ({"allowed_mentions": {"parse": []}}, Pings()),
        (
            {"allowed_mentions": {"parse": ["everyone"], "users": [alice.id]}},
            Pings(only_alice, everyone=True),
        ),
    ]
    for allowed, heard in cases:
        await bare("POST", f"/channels/{songs.id}/messages", {"content": text, **allowed})
        assert wire.messages(songs)[-1].pings == heard


# Limits, faults, and what the wire tells of itself


async def test_edits_follow_each_other_slowly(
    wire: DiscordWire, bare: Bare, songs: Channel
) -> None:
    wire.limits.edit_interval = 1.5
    path = f"/channels/{songs.id}/messages"
    _, told = await bare("POST", path, {"content": "x"})
    assert (await bare("PATCH", f"{path}/{told['id']}", {"content": "y"}))[0] == 200
    status, refused = await bare("PATCH", f"{path}/{told['id']}", {"content": "z"})
    assert (status, refused["global"], bare.headers["Via"]) == (429, False, "1.1 google")
    assert 0 < refused["retry_after"] <= 1.5
    wire.clock.advance(refused["retry_after"])
    assert (await bare("PATCH", f"{path}/{told['id']}", {"content": "z"}))[0] == 200


async def test_buckets_and_the_global_limit(wire: DiscordWire, bare: Bare, songs: Channel) -> None:
    wire.limits.buckets = True
    path = f"/channels/{songs.id}/messages"
    for left in range(4, -1, -1):
        assert (await bare("POST", path, {"content": "x"}))[0] == 200
        assert bare.headers["X-RateLimit-Remaining"] == str(left)
    status, told = await bare("POST", path, {"content": "x"})
    assert (status, bare.headers["X-RateLimit-Scope"]) == (429, "user")
    assert 0 < told["retry_after"] <= 5
    wire.clock.advance(told["retry_after"])
    assert (await bare("POST", path, {"content": "x"}))[0] == 200
    wire.limits.per_second = 2
    wire.limits.buckets = False
    wire.clock.advance(1)
    answers = [(await bare("GET", "/users/@me"))[0] for _ in range(3)]
    assert answers == [200, 200, 429]
    assert bare.headers["X-RateLimit-Global"] == "true"


async def test_planned_faults(wire: DiscordWire, bare: Bare, songs: Channel) -> None:
    path = f"/channels/{songs.id}/messages"
    body = {"content": "x"}
    wire.faults.plan(Fault(status=500, body={"message": "broken"}), method="POST", times=2)
    wire.faults.plan(Fault(status=502, carried_out=True), route=MESSAGES)
    wire.faults.plan(Fault(cut="before"), route=MESSAGES)
    wire.faults.plan(Fault(cut="after", delay=0.001), route=MESSAGES)
    wire.faults.plan(Fault(cut="midway", answer_delay=0.001), route=MESSAGES)
    assert (await bare("GET", "/users/@me"))[0] == 200
    carried_out = []
    for _ in range(6):
        try:
            outcome: object = (await bare("POST", path, body))[0]
        except aiohttp.ClientError as error:
            outcome = type(error)
        carried_out.append((outcome, len(wire.messages(songs))))
    cut = aiohttp.ServerDisconnectedError
    assert carried_out == [
        (500, 0),
        (500, 0),
        (502, 1),
        (cut, 1),
        (cut, 2),
        (aiohttp.ClientPayloadError, 3),
    ]
    assert (await bare("POST", path, body))[0] == 200
    assert [r.status for r in wire.requests] == [200, 500, 500, 502, 0, 0, 0, 200]


async def test_a_fault_of_the_wire_itself_is_told(wire: DiscordWire, bare: Bare) -> None:
    wire.state.guilds[5] = "not a guild"  # type: ignore[assignment]
    assert (await bare("GET", "/guilds/5"))[0] == 500
    assert "the wire failed: AttributeError" in wire.violations[0]
    wire.violations.clear()


async def test_an_unknown_route_is_a_violation() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(AssertionError, match="no such route"):
            async with DiscordWire() as wire:
                assert (await Bare(wire, session)("GET", "/nowhere"))[0] == 404


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="Discord's description is not here")
async def test_a_body_unlike_the_description_is_a_violation() -> None:
    wire = DiscordWire()
    channel = wire.channel(wire.guild("One"), "songs")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(AssertionError, match="content: 5 is not of types"):
            async with wire:
                await Bare(wire, session)(
                    "POST", f"/channels/{channel.id}/messages", {"content": 5}
                )


# What the gateway refuses


async def say(wire: DiscordWire, *payloads: Any, compress: str = "") -> list[Any]:
    """What the gateway says to these payloads; the last item is the code it closed with."""
    heard: list[Any] = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{wire.gateway_url}/?v=10&encoding=json{compress}") as socket,
    ):
        for payload in payloads:
            await socket.send_str(payload if isinstance(payload, str) else json.dumps(payload))
        heard.extend([message.data async for message in socket])
        heard.append(socket.close_code)
    return heard


def identify(token: str, **fields: Any) -> dict[str, Any]:
    return {"op": 2, "d": {"token": token, "intents": 1, "properties": {}} | fields}


async def test_what_the_gateway_refuses(wire: DiscordWire) -> None:
    good = identify(wire.token)
    cases: list[tuple[list[Any], int]] = [
        (["{"], 4002),
        (["[]"], 4002),
        ([{"op": 3, "d": {}}], 4003),
        ([identify("wrong")], 4004),
        ([{"op": 6, "d": {"token": "wrong"}}], 4004),
        ([good, good], 4005),
        ([identify(wire.token, shard=[2, 2])], 4010),
        ([identify(wire.token, intents=1 | 1 << 15)], 4014),
        ([good, {"op": 3, "d": {}}, {"op": 77}], 4001),
    ]
    for payloads, code in cases:
        assert (await say(wire, *payloads))[-1] == code, payloads
    assert wire.gateway.refused.count(4004) == 2
