"""The wire itself: sockets, the order in which a request is judged, and what tests call."""

import asyncio
import contextlib
import json
import socket
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler

from . import interactions, payloads
from .calls import Answer, Call, Refusal, read_call, refusal
from .clock import Clock
from .faults import Fault, Faults
from .gateway import Gateway
from .interactions import Interaction
from .limits import Limits, RateLimiter
from .openapi import Description
from .permissions import BOT, Permission
from .rest import Handler, Rest
from .signals import PATIENCE
from .state import (
    PUBLIC_THREAD,
    TEXT_CHANNEL,
    Channel,
    Guild,
    Member,
    Message,
    Role,
    State,
    User,
)

T = TypeVar("T")
BASE = "/api/v10"
REQUESTS_KEPT = 100_000
# discord.py takes a 429 for Discord's own, and waits, only with this header.
VIA = {"Via": "1.1 google"}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it was answered; `status` 0 where no answer left. `at`: `Clock.now()`."""

    method: str
    route: str
    path: str
    status: int
    at: float
    seconds: float


class DiscordWire:
    """`async with DiscordWire() as wire:` listens on a port of 127.0.0.1 that the OS chose.

    Leaving it raises AssertionError if a request was not as Discord describes it, or
    went to a route that is not here: `violations` holds what was found.
    """

    def __init__(
        self,
        *,
        token: str = "wire.bot.token",
        shards: int = 1,
        limits: Limits | None = None,
        clock: Clock | None = None,
        keep_uploads: bool = True,
    ) -> None:
        self.clock = clock or Clock()
        self.limits = limits or Limits()
        self.state = State(self.clock, token=token, keep_uploads=keep_uploads)
        self.faults = Faults()
        self.violations: list[str] = []
        self.requests: deque[Recorded] = deque(maxlen=REQUESTS_KEPT)
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.description = Description.load()
        self._limiter = RateLimiter(self.limits, self.clock)
        self._rest = Rest(self.state, self._limiter, shards=shards)
        self.gateway = Gateway(self.state, self._rest)
        self._runner = self._new_runner()
        self._site: web.SockSite | None = None
        self._socket: socket.socket | None = None

    # The configuration of the bot

    @property
    def token(self) -> str:
        return self.state.token

    @property
    def application_id(self) -> int:
        return self.state.application_id

    @property
    def port(self) -> int:
        assert self._socket is not None, "the wire is not up yet"
        return int(self._socket.getsockname()[1])

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{BASE}"

    @property
    def gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/gateway"

    # Up and down

    async def __aenter__(self) -> Self:
        self._socket = listening()
        self._rest.gateway_url = self.gateway_url
        await self._runner.setup()
        await self.up()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.down()
        await self._runner.cleanup()
        assert self._socket is not None
        self._socket.close()
        if error is None and self.violations:
            raise AssertionError("\n".join(["Discord would not take:", *self.violations]))

    async def down(self) -> None:
        """End every connection and (on Linux) refuse new ones, keeping the port for `up`."""
        if self._site is None:
            return
        await self._site.stop()
        self._site = None
        assert self._socket is not None
        with contextlib.suppress(OSError):  # only Linux lets a listening socket rest
            self._socket.shutdown(socket.SHUT_RDWR)
        self.gateway.drop()
        server = self._runner.server
        assert server is not None
        for connection in server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def up(self) -> None:
        if self._site is None:
            assert self._socket is not None
            # A duplicate, for the site closes what it was given and the port has to stay ours.
            self._site = web.SockSite(self._runner, self._socket.dup(), backlog=1024)
            await self._site.start()

    def _new_runner(self) -> web.AppRunner:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/gateway/", self.gateway.serve)
        for (method, route), handler in self._rest.routes().items():
            app.router.add_route(method, BASE + route, self._serving(route, handler))
        app.router.add_route("*", "/{path:.*}", self._serving("", _nowhere))
        return web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    # A request

    def _serving(self, route: str, handler: Handler) -> WebHandler:
        async def serve(request: web.Request) -> web.StreamResponse:
            arrived, status = self.clock.now(), 0
            try:
                response, status = await self._respond(request, route, handler, arrived)
                return response
            finally:
                self._record(request, route, status, arrived)

        return serve

    def _record(self, request: web.Request, route: str, status: int, arrived: float) -> None:
        if route == "":
            self.violations.append(f"{request.method} {request.path}: no such route on the wire")
        took = self.clock.now() - arrived
        self.requests.append(Recorded(request.method, route, request.path, status, arrived, took))
        self.answers[(request.method, route, status)] += 1
        self.state.changed.notify()

    async def _respond(
        self, request: web.Request, route: str, handler: Handler, arrived: float
    ) -> tuple[web.StreamResponse, int]:
        """(The answer, its status as it left: 0 if it did not.)"""
        try:
            call = await read_call(request, route, arrived)
        except Refusal as refused:
            return _response(refused.answer, {}), refused.answer.status
        fault = await self.faults.meet(call)
        if fault is None:
            answer, headers = self._judge(call, handler)
            return _response(answer, headers), answer.status
        return await self._fail(request, call, handler, fault)

    async def _fail(
        self, request: web.Request, call: Call, handler: Handler, fault: Fault
    ) -> tuple[web.StreamResponse, int]:
        if fault.delay:
            await asyncio.sleep(fault.delay)
            call.arrived = self.clock.now()
        answer, headers = Answer(fault.status or 200, fault.body, fault.headers), dict[str, str]()
        if fault.cut != "before" and (fault.status is None or fault.carried_out):
            carried, headers = self._judge(call, handler)
            answer = carried if fault.status is None else answer
        await asyncio.sleep(fault.answer_delay)
        response = _response(answer, headers)
        if fault.cut is None:
            return response, response.status
        await _cut(request, response, midway=fault.cut == "midway")
        return response, 0

    def _judge(self, call: Call, handler: Handler) -> tuple[Answer, dict[str, str]]:
        """The order is Discord's: who are you, not so fast, is it well formed, may you."""
        headers: dict[str, str] = {}
        try:
            self._rest.authorize(call)
            refused, headers = self._limiter.admit(call)
            if refused is not None:
                return refused, headers
            self._check_against_description(call)
            _check_shape(call)
            return handler(call), headers
        except Refusal as refused_call:
            return refused_call.answer, headers
        except Exception as error:
            self.violations.append(f"{call.method} {call.path}: the wire failed: {error!r}")
            raise

    def _check_against_description(self, call: Call) -> None:
        if self.description is None or call.body is None or call.route == "":
            return
        if wrong := self.description.request_errors(call.method, call.route, call.body):
            self.violations += [f"{call.method} {call.path}: {error}" for error in wrong]
            raise refusal(400, 50035, "Invalid Form Body", {"_errors": wrong})

    @property
    def invalid_answers(self) -> int:
        """How many 401, 403 and 429: 10,000 in 10 minutes ban an address from Discord."""
        return sum(n for (_, _, status), n in self.answers.items() if status in {401, 403, 429})

    # Who and what there is

    def guild(self, name: str, *, premium_tier: int = 0) -> Guild:
        """A server with the bot in it. A connected bot learns of it at once."""
        guild = self.state.add_guild(name, premium_tier=premium_tier)
        self._announce(guild)
        return guild

    def limit_sessions(self, left: int) -> None:
        """How many sessions the bot may still begin today."""
        self._rest.identifies_left = left

    def channel(
        self,
        guild: Guild,
        name: str,
        *,
        permissions: int = BOT,
        kind: int = TEXT_CHANNEL,
        hidden: bool = False,
        nsfw: bool = False,
    ) -> Channel:
        """`permissions` are the bot's own in it; `kind` is a channel type of Discord's."""
        channel = self.state.add_channel(guild, name, int(permissions), kind)
        channel.hidden, channel.nsfw = hidden, nsfw
        self.gateway.dispatch("CHANNEL_CREATE", payloads.channel(channel, self.state.bot), guild)
        return channel

    def thread(
        self, parent: Channel, name: str, *, kind: int = PUBLIC_THREAD, has_bot: bool = True
    ) -> Channel:
        """A thread or post with its parent's permissions; announced where the bot may see it."""
        thread = self.state.add_thread(parent, name, kind, has_bot=has_bot)
        assert thread.guild is not None
        if thread.visible:
            payload = {**payloads.channel(thread, self.state.bot), "newly_created": True}
            self.gateway.dispatch("THREAD_CREATE", payload, thread.guild)
        return thread

    def add_bot(self, thread: Channel) -> None:
        """Somebody mentions the bot in the thread, say."""
        assert thread.guild is not None
        thread.has_bot = True
        payload = payloads.channel(thread, self.state.bot)
        self.gateway.dispatch("THREAD_CREATE", payload, thread.guild)
        added = [payloads.thread_member(thread, self.state.bot)]
        self._members_update(thread, added_members=added)

    def remove_bot_from(self, thread: Channel) -> None:
        """Somebody removes the bot from the thread."""
        thread.has_bot = False
        self._members_update(thread, removed_member_ids=[str(self.state.bot.id)])

    def _members_update(self, thread: Channel, **changes: object) -> None:
        assert thread.guild is not None
        payload = {"id": str(thread.id), "guild_id": str(thread.guild.id), "member_count": 1}
        self.gateway.dispatch("THREAD_MEMBERS_UPDATE", payload | changes, thread.guild)

    def change_thread(
        self, thread: Channel, *, archived: bool = False, locked: bool = False
    ) -> None:
        """As a moderator does; the event says nothing about members."""
        assert thread.guild is not None
        thread.archived, thread.locked = archived, locked
        payload = payloads.channel(thread, self.state.bot)
        payload.pop("member", None)
        self.gateway.dispatch("THREAD_UPDATE", payload, thread.guild)

    def role(self, guild: Guild, name: str, *, permissions: int = 0) -> Role:
        role = self.state.add_role(guild, name, int(permissions))
        payload = {"guild_id": str(guild.id), "role": payloads.role(role)}
        self.gateway.dispatch("GUILD_ROLE_CREATE", payload, guild)
        return role

    def member(
        self,
        guild: Guild,
        who: str | User,
        *,
        manage_guild: bool = False,
        roles: list[Role] | None = None,
    ) -> Member:
        """`who` is a name for someone new, or a user of another server."""
        user = self.state.add_user(who) if isinstance(who, str) else who
        held = list(roles or [])
        if manage_guild:
            held.append(self.role(guild, "managers", permissions=Permission.MANAGE_GUILD))
        return self.state.add_member(guild, user, held)

    def messages(self, channel: Channel) -> list[Message]:
        """What all can see in a channel, oldest first."""
        return [message for message in channel.messages.values() if not message.ephemeral]

    def direct_messages(self, who: User | Member) -> list[Message]:
        user = who.user if isinstance(who, Member) else who
        return self.messages(self.state.direct_channel(user))

    # What happens to it

    def permit(self, channel: Channel, permissions: int) -> None:
        """From now on the bot has exactly these permissions in the channel."""
        channel.permissions = int(permissions)
        if channel.guild is not None:
            payload = payloads.channel(channel, self.state.bot)
            self.gateway.dispatch("CHANNEL_UPDATE", payload, channel.guild)

    def delete_channel(self, channel: Channel) -> None:
        self.state.delete_channel(channel)
        if channel.guild is not None:
            payload = payloads.channel(channel, self.state.bot)
            self.gateway.dispatch("CHANNEL_DELETE", payload, channel.guild)

    def remove_bot(self, guild: Guild) -> None:
        """Remove the bot from the server."""
        guild.joined = False
        self.gateway.dispatch("GUILD_DELETE", {"id": str(guild.id)}, guild)

    def invite_bot(self, guild: Guild) -> None:
        """Bring the bot back into the server."""
        guild.joined = True
        self._announce(guild)

    def outage(self, guild: Guild, *, over: bool = False) -> None:
        """The server is unavailable by a fault of Discord's, until it is `over`."""
        guild.available = over
        if over:
            self._announce(guild, known=True)
        else:
            payload = {"id": str(guild.id), "unavailable": True}
            self.gateway.dispatch("GUILD_DELETE", payload, guild)

    def revoke_token(self) -> None:
        """The bot's token works nowhere any more, and its connections are closed with 4004."""
        self.state.revoked = True
        self.gateway.close(4004)

    def new_token(self, token: str) -> None:
        """The token was reset: the bot's owner has this one, and the one before works nowhere."""
        self.revoke_token()
        self.state.token, self.state.revoked = token, False

    def _announce(self, guild: Guild, *, known: bool = False) -> None:
        payload = payloads.guild_create(guild, self.state.bot, known=known)
        self.gateway.dispatch("GUILD_CREATE", payload, guild)

    # What members do

    async def slash(
        self, member: Member, channel: Channel, command: str, /, **options: object
    ) -> Interaction:
        """`/command` with `options`; a subcommand is written with spaces: "quota member set".

        Raises LookupError, ValueError or PermissionError where Discord's own form would not let
        the member send it.
        """
        return self._send(interactions.slash(self.state, member, channel, command, options))

    async def autocomplete(
        self,
        member: Member,
        channel: Channel,
        command: str,
        focused: str,
        typed: str,
        /,
        **options: object,
    ) -> Interaction:
        """The member has `typed` something into the option `focused`."""
        return self._send(
            interactions.autocomplete(self.state, member, channel, command, focused, typed, options)
        )

    async def press(
        self, member: Member, message: Message, custom_id: str, *, forged: bool = False
    ) -> Interaction:
        """Press a button. `forged`: send this custom_id even if the message has no such button."""
        return self._send(interactions.press(self.state, member, message, custom_id, forged=forged))

    async def submit(self, member: Member, opened: Interaction, /, **values: str) -> Interaction:
        """Send off the form that `opened` was answered with; the fields by their custom_id."""
        return self._send(interactions.submit(self.state, member, opened, values))

    async def deliver_again(self, interaction: Interaction) -> None:
        """The same event once more, as happens around a resume."""
        self._send(interaction)

    def _send(self, interaction: Interaction) -> Interaction:
        guild = interaction.member.guild
        taken = self.gateway.dispatch("INTERACTION_CREATE", interaction.payload, guild)
        interaction.delivered = interaction.delivered or taken
        return interaction

    # Waiting

    async def ready(self, within: float = PATIENCE) -> None:
        """Until every shard of a bot is connected and has been sent its servers."""
        await self.until(lambda: len(self.gateway.connected) >= self._rest.shards, within)

    async def until(self, condition: Callable[[], T | None], within: float = PATIENCE) -> T:
        """Wait for the first true result of the condition, checked after each change here.

        Raises TimeoutError after `within` seconds.
        """
        return await self.state.changed.until(
            lambda: condition() or None, within, lambda: f"last requests {list(self.requests)[-5:]}"
        )

    async def wait_message(
        self,
        channel: Channel,
        predicate: Callable[[Message], bool] = bool,
        within: float = PATIENCE,
    ) -> Message:
        """The first message all can see in `channel` that satisfies `predicate`."""
        return await channel.changed.until(
            lambda: next((m for m in self.messages(channel) if predicate(m)), None),
            within,
            lambda: f"among {[m.now for m in self.messages(channel)]}",
        )


def listening() -> socket.socket:
    """On a port that the OS chose, bound by number: Linux lets no other rest and keep its port."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as chosen:
            address = chosen.getsockname()
        with contextlib.suppress(OSError):  # somebody else was quicker
            return socket.create_server(address)


def _check_shape(call: Call) -> None:
    """Bodies are objects; only the commands are put as a list."""
    if call.body is not None and not isinstance(call.body, list if call.method == "PUT" else dict):
        raise refusal(400, 50035, "Invalid Form Body")


def _nowhere(call: Call) -> Answer:
    raise refusal(404, 0, "404: Not Found")


def _response(answer: Answer, headers: dict[str, str]) -> web.Response:
    # The content type must be bare: with a charset discord.py does not take the body for JSON.
    sent = {**VIA, **headers, **answer.headers}
    if answer.body is None:
        return web.Response(status=answer.status, headers=sent)
    sent.setdefault("Content-Type", "application/json")
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    return web.Response(status=answer.status, body=body, headers=sent)


async def _cut(request: web.Request, response: web.Response, *, midway: bool) -> None:
    """End the connection: at once, or after half of the answer."""
    if midway and isinstance(response.body, bytes):
        half = web.StreamResponse(status=response.status, headers=response.headers)
        half.content_length = len(response.body)
        await half.prepare(request)
        await half.write(response.body[: len(response.body) // 2])
    if request.transport is not None:
        request.transport.abort()
