"""What the simulated Discord refuses and limits, tried by a client that is no bot.

That it does what Discord does for a bot is shown by all other tests that use it.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.wire import Channel, DiscordWire, Fault, Guild, Interaction, Limits, Permission
from tests.wire.openapi import DESCRIPTION
from tests.wire.permissions import BOT
from tests.wire.rest import MESSAGES
from tests.wire.state import Message, Pings

REPLY, DEFER, UPDATE, CHOICES, FORM = 4, 5, 7, 8, 9
TEXT = {"content": "x"}


class Caller:
    """Calls a wire with one server, and checks the answers against Discord's description."""

    def __init__(self, wire: DiscordWire, session: aiohttp.ClientSession) -> None:
        self.wire = wire
        self.guild: Guild = wire.guild("One")
        self.songs: Channel = wire.channel(self.guild, "songs")
        self.alice = wire.member(self.guild, "alice")
        self.path = f"/channels/{self.songs.id}/messages"
        self.headers: Any = {}
        self._session = session

    async def __call__(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **data: Any
    ) -> tuple[int, Any]:
        """Return the status and the body of the answer."""
        headers = {"Authorization": f"Bot {token or self.wire.token}"}
        url = self.wire.api_url + path
        async with self._session.request(method, url, json=body, headers=headers, **data) as answer:
            self.headers = answer.headers
            raw = await answer.read()
            received = json.loads(raw) if answer.content_type == "application/json" else None
        if self.wire.description is not None and received is not None and answer.status < 300:
            route = self.wire.requests[-1].route
            assert not self.wire.description.response_errors(method, route, answer.status, received)
        return answer.status, received

    async def code(self, *call: Any) -> tuple[int, int]:
        """Return the status and the code of the refusal of this call."""
        status, answer = await self(*call)
        return status, answer["code"]

    async def upload(self, payload: Any, *files: bytes) -> tuple[int, Any]:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("payload_json", json.dumps(payload))
        for index, content in enumerate(files):
            form.add_field(f"files[{index}]", content, filename=f"{index}.mp3")
        return await self("POST", self.path, data=form)

    async def slash(self) -> Interaction:
        self.wire.state.commands = [{"name": "song", "id": "1", "type": 1, "options": []}]
        return await self.wire.slash(self.alice, self.songs, "song")

    def webhook(self, interaction: Interaction) -> str:
        return f"/webhooks/{self.wire.application_id}/{interaction.token}"

    @property
    def messages(self) -> list[Message]:
        return self.wire.messages(self.songs)


def callback(interaction: Interaction) -> str:
    return f"/interactions/{interaction.id}/{interaction.token}/callback"


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with (
        DiscordWire(limits=Limits.none()) as wire,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(wire, session)


async def test_answers_are_as_described(call: Caller) -> None:
    guild, application = f"/guilds/{call.guild.id}", f"/applications/{call.wire.application_id}"
    thread = call.wire.thread(call.songs, "demos")
    for path in (
        *("/users/@me", f"/users/{call.alice.id}", "/gateway/bot", f"{application}/commands"),
        *("/oauth2/applications/@me", f"/channels/{thread.id}"),
        *(f"{guild}/members/{call.alice.id}", f"{guild}/members/{call.wire.state.bot.id}"),
    ):
        status, answer = await call("GET", path)
        assert status == 200, (path, answer)


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("/users/5", (404, 10013)),
        ("/guilds/5/members/5", (404, 10004)),
        ("/guilds/{guild}/members/5", (404, 10007)),
        ("/channels/5", (404, 10003)),
        ("/channels/x", (404, 10003)),
        ("/channels/{channel}/messages?limit=101", (400, 50035)),
        ("/applications/5/commands", (403, 20012)),
    ],
)
async def test_unknown_objects(call: Caller, path: str, refusal: tuple[int, int]) -> None:
    path = path.format(guild=call.guild.id, channel=call.songs.id)
    assert await call.code("GET", path) == refusal


async def test_wrong_token(call: Caller) -> None:
    assert (await call("GET", "/users/@me", token="wrong"))[0] == 401
    assert call.wire.invalid_answers == 1


async def test_callbacks(call: Caller) -> None:
    """One within three seconds, of a kind that the interaction allows."""
    late = await call.slash()
    call.wire.clock.advance(3.1)
    assert await call.code("POST", callback(late), {"type": DEFER}) == (404, 10062)
    song = await call.slash()
    wrong = f"/interactions/{song.id}/other/callback"
    assert await call.code("POST", wrong, {"type": DEFER}) == (404, 10062)
    update = {"type": UPDATE, "data": TEXT}
    assert await call.code("POST", callback(song), update) == (400, 50035)
    assert await call.code("POST", call.webhook(song), TEXT) == (404, 10015)
    body = {"type": REPLY, "data": {"content": "hello", "flags": 64}}
    status, answer = await call("POST", callback(song) + "?with_response=true", body)
    assert (status, answer["resource"]["message"]["content"]) == (200, "hello")
    assert answer["interaction"]["response_message_ephemeral"] is True
    assert answer["interaction"]["response_message_id"] == str(song.messages[0].id)
    assert await call.code("POST", callback(song), {"type": DEFER}) == (400, 40060)


async def test_interaction_token_works_for_fifteen_minutes(call: Caller) -> None:
    song = await call.slash()
    hook = call.webhook(song)
    await call("POST", callback(song), {"type": DEFER, "data": {"flags": 64}})
    _, first = await call("POST", hook, {"content": "fills the thinking one"})
    assert first["id"] == str(song.messages[0].id)
    _, second = await call("POST", hook + "?wait=true", {"content": "second", "flags": 64})
    assert [m.content for m in song.messages] == ["fills the thinking one", "second"]
    one = f"{hook}/messages/{second['id']}"
    for address in (f"{hook}/messages/@original", one):
        assert (await call("GET", address))[0] == 200
        assert (await call("PATCH", address, TEXT))[0] == 200
    call.wire.state.delete_message(song.messages[1])
    assert await call.code("GET", one) == (404, 10008)
    call.wire.clock.advance(15 * 60)
    assert await call.code("PATCH", f"{hook}/messages/@original", TEXT) == (401, 50027)


async def test_nonce_is_enforced_for_minutes(call: Caller) -> None:
    body = {"content": "a", "nonce": "7"}
    enforced = {**body, "enforce_nonce": True}
    assert await call("POST", call.path, enforced) == await call("POST", call.path, enforced)
    await call("POST", call.path, body)
    call.wire.clock.advance(200)
    await call("POST", call.path, enforced)
    assert len(call.messages) == 3


async def test_history_is_newest_first(call: Caller) -> None:
    for content in "abcde":
        await call("POST", call.path, {"content": content})
    ids = {m.content: m.id for m in call.messages}
    for query, found in [
        ("", "edcba"),
        ("?limit=2", "ed"),
        (f"?after={ids['b']}&limit=2", "dc"),
        (f"?before={ids['d']}&limit=2", "cb"),
        (f"?around={ids['c']}&limit=3", "dcb"),
    ]:
        _, answer = await call("GET", call.path + query)
        assert "".join(m["content"] for m in answer) == found, query


async def test_permissions(call: Caller) -> None:
    await call("POST", call.path, TEXT)
    for without, body, code in (
        (Permission.VIEW_CHANNEL, TEXT, 50001),
        (Permission.SEND_MESSAGES, TEXT, 50013),
        (Permission.EMBED_LINKS, {"embeds": [{"title": "x"}]}, 50013),
    ):
        call.wire.permit(call.songs, BOT & ~without)
        assert await call.code("POST", call.path, body) == (403, code)
    call.wire.permit(call.songs, BOT & ~Permission.ATTACH_FILES & ~Permission.READ_MESSAGE_HISTORY)
    assert (await call.upload({}, b"x"))[1]["code"] == 50013
    assert await call("GET", call.path) == (200, [])
    thread = call.wire.thread(call.songs, "demos")
    in_thread = f"/channels/{thread.id}/messages"
    call.wire.permit(thread, BOT & ~Permission.SEND_MESSAGES_IN_THREADS)
    assert await call.code("POST", in_thread, TEXT) == (403, 50013)
    call.wire.remove_bot(call.guild)
    assert await call.code("POST", call.path, TEXT) == (403, 50001)
    call.wire.delete_channel(call.songs)
    assert await call.code("POST", in_thread, TEXT) == (404, 10003)


async def test_uploads(call: Caller) -> None:
    call.guild.upload_limit = 100
    payload = {"attachments": [{"id": 1, "filename": "named.mp3", "description": "d"}]}
    assert (await call.upload(payload, b"0" * 100, b"1"))[0] == 200
    assert (await call.upload(payload, b"0" * 101))[1]["code"] == 40005
    (message,) = call.messages
    assert [a.filename for a in message.attachments] == ["0.mp3", "named.mp3"]
    assert message.attachments[0].content == b"0" * 100


def row(kind: int, **fields: Any) -> dict[str, Any]:
    return {"components": [{"type": 1, "components": [{"type": kind, **fields}]}]}


DISPLAY = {"type": 10, "content": "x"}


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x" * 2001},
        {"content": "x", "nonce": "1" * 26},
        {"embeds": [{"title": "x" * 257}]},
        {"embeds": [{"description": "x" * 4097}]},
        {"embeds": [{"description": "x" * 3001}] * 2},
        {"embeds": [{"fields": [{"name": "", "value": "x"}]}]},
        {"embeds": [{"title": "x"}] * 11},
        row(2, style=1, custom_id="x" * 101),
        row(2, style=1, custom_id="x", label="y" * 81),
        {"components": row(2, style=1, custom_id="x")["components"] * 2},
        {"components": row(2, style=5, url="https://a.b")["components"] * 6},
        row(3, custom_id="x", options=[{"label": "a", "value": "a"}] * 26),
        {"components": [DISPLAY]},
        {"flags": 1 << 15, "content": "x", "components": [DISPLAY]},
        {"flags": 1 << 15, "components": [DISPLAY | {"content": "x" * 4001}]},
    ],
)
async def test_malformed_messages(call: Caller, body: dict[str, Any]) -> None:
    assert await call.code("POST", call.path, body) == (400, 50035)
    call.wire.violations.clear()


async def test_empty_message(call: Caller) -> None:
    assert await call.code("POST", call.path, {}) == (400, 50006)


async def test_malformed_forms_and_choices(call: Caller) -> None:
    field = {"custom_id": "a", "style": 1, "value": "x" * 5, "max_length": 4}
    form = {"type": FORM, "data": {"custom_id": "a", "title": "t", **row(4, **field)}}
    assert await call.code("POST", callback(await call.slash()), form) == (400, 50035)
    call.wire.state.commands[0]["options"] = [{"name": "genre", "type": 3, "autocomplete": True}]
    typed = await call.wire.autocomplete(call.alice, call.songs, "song", "genre", "f")
    choices = [{"name": "x" * 101, "value": "x"}]
    body: dict[str, Any] = {"type": CHOICES, "data": {"choices": choices}}
    assert await call.code("POST", callback(typed), body) == (400, 50035)
    call.wire.violations.clear()
    body["data"]["choices"] = []
    assert (await call("POST", callback(typed), body))[0] == 204
    assert typed.choices == []


async def test_pings(call: Caller) -> None:
    role = call.wire.role(call.guild, "fans")
    call.wire.permit(call.songs, BOT | Permission.MENTION_EVERYONE)
    text = f"<@{call.alice.id}> <@5> <@&{role.id}> @everyone"
    fans, alice = frozenset({role.id}), frozenset({call.alice.id})
    only = {"parse": ["everyone"], "users": [call.alice.id]}
    for allowed, pings in (
        ({}, Pings(alice, fans, everyone=True)),
        ({"allowed_mentions": {"parse": []}}, Pings()),
        ({"allowed_mentions": only}, Pings(alice, everyone=True)),
    ):
        await call("POST", call.path, {"content": text, **allowed})
        assert call.messages[-1].pings == pings


async def test_edit_limit(call: Caller) -> None:
    """It counts neither the message's beginning nor updates by a callback."""
    call.wire.limits.edit_interval = 1.5
    song = await call.slash()
    await call("POST", callback(song), {"type": DEFER})
    original = f"{call.webhook(song)}/messages/@original"
    button = row(2, style=1, custom_id="x")
    for body in (TEXT, button):
        assert (await call("PATCH", original, body))[0] == 200
    status, refused = await call("PATCH", original, button)
    assert (status, refused["global"], call.headers["Via"]) == (429, False, "1.1 google")
    assert 0 < refused["retry_after"] <= 1.5
    pressed = await call.wire.press(call.alice, song.messages[0], "x")
    assert (await call("POST", callback(pressed), {"type": UPDATE, "data": TEXT}))[0] == 204
    call.wire.clock.advance(refused["retry_after"])
    assert (await call("PATCH", original, TEXT))[0] == 200


async def test_buckets_and_global_limit(call: Caller) -> None:
    call.wire.limits.buckets = True
    for left in range(4, -1, -1):
        assert (await call("POST", call.path, TEXT))[0] == 200
        assert call.headers["X-RateLimit-Remaining"] == str(left)
    status, refused = await call("POST", call.path, TEXT)
    assert (status, call.headers["X-RateLimit-Scope"]) == (429, "user")
    assert 0 < refused["retry_after"] <= 5
    call.wire.clock.advance(refused["retry_after"])
    assert (await call("POST", call.path, TEXT))[0] == 200
    call.wire.limits.per_second, call.wire.limits.buckets = 2, False
    call.wire.clock.advance(1)
    assert [(await call("GET", "/users/@me"))[0] for _ in range(3)] == [200, 200, 429]
    assert call.headers["X-RateLimit-Global"] == "true"


async def test_planned_faults(call: Caller) -> None:
    plan = call.wire.faults.plan
    plan(Fault(status=500, body={"message": "broken"}), method="POST", times=2)
    plan(Fault(status=502, carried_out=True), route=MESSAGES)
    plan(Fault(cut="before"), route=MESSAGES)
    plan(Fault(cut="after", delay=0.001), route=MESSAGES)
    plan(Fault(cut="midway", answer_delay=0.001), route=MESSAGES)
    assert (await call("GET", "/users/@me"))[0] == 200
    outcomes = []
    for _ in range(7):
        try:
            outcome: object = (await call("POST", call.path, TEXT))[0]
        except aiohttp.ClientError as error:
            outcome = type(error)
        outcomes.append((outcome, len(call.messages)))
    cut = aiohttp.ServerDisconnectedError
    expected = [(500, 0), (500, 0), (502, 1), (cut, 1), (cut, 2)]
    assert outcomes == [*expected, (aiohttp.ClientPayloadError, 3), (200, 4)]


async def violate() -> None:
    """A failure of the wire, an unknown route, and a body unlike the description."""
    async with DiscordWire() as wire, aiohttp.ClientSession() as session:
        call = Caller(wire, session)
        wire.state.guilds[5] = "not a guild"  # type: ignore[assignment]
        assert (await call("GET", "/guilds/5/members/5"))[0] == 500
        assert (await call("GET", "/nowhere"))[0] == 404
        await call("POST", call.path, {"content": 5})


async def test_violations_are_reported_at_the_end() -> None:
    with pytest.raises(AssertionError) as violations:
        await violate()
    text = str(violations.value)
    assert "the wire failed: AttributeError" in text
    assert "no such route" in text
    assert not DESCRIPTION.exists() or "content: 5 is not of types" in text


def identify(token: str, **fields: Any) -> dict[str, Any]:
    return {"op": 2, "d": {"token": token, "intents": 1, "properties": {}} | fields}


TOKEN = "wire.bot.token"


@pytest.mark.parametrize(
    ("payloads", "code"),
    [
        (["{"], 4002),
        (["[]"], 4002),
        ([{"op": 3, "d": {}}], 4003),
        ([identify("wrong")], 4004),
        ([{"op": 6, "d": {"token": "wrong"}}], 4004),
        ([identify(TOKEN), identify(TOKEN)], 4005),
        ([identify(TOKEN, shard=[2, 2])], 4010),
        ([identify(TOKEN, intents=1 | 1 << 15)], 4014),
        ([identify(TOKEN), {"op": 3, "d": {}}, {"op": 77}], 4001),
    ],
)
async def test_gateway_refusals(call: Caller, payloads: list[Any], code: int) -> None:
    address = f"{call.wire.gateway_url}/?v=10&encoding=json"
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        for payload in payloads:
            await socket.send_str(payload if isinstance(payload, str) else json.dumps(payload))
        async for _ in socket:
            pass
        assert socket.close_code == code
