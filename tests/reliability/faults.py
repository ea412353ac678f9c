"""What can break on either side of the bot, by name, and what lets it in there."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self

from playground.song_api import Call as ApiCall
from playground.song_api import Fault as ApiFault
from tests.wire import Call, Fault
from tests.wire.limits import CALLBACK
from tests.wire.rest import MESSAGES
from tests.wire.server import listening
from tests.world.sockets import World, until

SEED = 20_260_314
YEARS = 99_999_999
HTML = b"<html><body><h1>Just a moment...</h1></body></html>"
NOT_JSON = (HTML, b'{"id": "123", "request_id": "abc", "status": "COM', b"")
MALFORMED = (
    *(b"{}", b"null", b"[]", b'"ok"', b"7"),
    b'{"id": {"a": 1}, "request_id": 7, "status": ["COMPLETED"], "output": {"url": 3}}',
    b'{"id": "many", "author": 3, "request_id": "", "status": "MAYBE", "retry_after": "soon"}',
    b'{"status": "COMPLETED", "output": [], "channel_id": "x", "interaction": 1, "resource": []}',
)
SERVER_ERRORS = (500, 502, 503, 504)


class Relay:
    """A separate port before a server: it can be down, as a server is that is being replaced."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._socket = listening()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.root = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()
        self._socket.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def up(self) -> None:
        # A duplicate, so that the port stays ours while nobody listens at it.
        self._server = await asyncio.start_server(self._serve, sock=self._socket.dup())

    async def down(self) -> None:
        """Cut every connection, and (on Linux) refuse new ones, keeping the port for `up`."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with contextlib.suppress(OSError):  # only Linux lets a listening socket rest
            self._socket.shutdown(socket.SHUT_RDWR)
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        back, there = await asyncio.open_connection("127.0.0.1", self._target)
        self._open |= {writer, there}
        try:
            await asyncio.gather(_pass_on(reader, there), _pass_on(back, writer))
        finally:
            self._open -= {writer, there}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort() if writer.transport.is_closing() else writer.close()


class FaultGates:
    """Between the bot and either side of its world. Posts are held back until `release`, so that a
    fault finds some songs that are being posted.
    """

    def __init__(self, world: World, relay: Relay) -> None:
        self.world = world
        self.relay = relay
        self.at_discord: Callable[[Call], Fault | None] | None = None
        self.at_api: Callable[[ApiCall], ApiFault | None] | None = None
        self.faults_met = 0
        """How many calls a fault has met, on either side."""
        self._released = asyncio.Event()
        world.wire.faults.hook = self._discord
        world.api.fault = self._api

    def release(self) -> None:
        """Let the posts through that were held back."""
        self._released.set()

    async def _discord(self, call: Call) -> Fault | None:
        if (call.method, call.route) == ("POST", MESSAGES):
            await self._released.wait()
        fault = self.at_discord(call) if self.at_discord else None
        self.faults_met += fault is not None
        return fault

    def _api(self, call: ApiCall) -> ApiFault | None:
        fault = self.at_api(call) if self.at_api else None
        self.faults_met += fault is not None
        return fault


@contextlib.asynccontextmanager
async def fault_gates(world: World) -> AsyncIterator[FaultGates]:
    """Gates on both sides of a bot that is started within."""
    async with Relay(int(world.api.root.rpartition(":")[2])) as relay:
        world.settings["SEGMIND_API_URL"] = relay.root
        gates = FaultGates(world, relay)
        yield gates
        gates.release()


@dataclass(frozen=True, slots=True)
class Length:
    """In seconds: of a fault, of a slow call, of what a song takes at the API from the fault's
    beginning on, and of the time after the fault in which all is over.
    """

    fault: float
    slow: float
    running: float
    patience: float = 20.0


During = Callable[[FaultGates, Length], AbstractAsyncContextManager[None]]
Meet = Callable[[random.Random, Length, Any], Any]
"""What a call meets: by the dice, a fault, or None."""


def _meets(side: Literal["at_discord", "at_api"], meet: Meet, *, until_met: bool = True) -> During:
    """Let calls on one side meet faults.

    `until_met`: it lasts until a call has met one, on a machine that is slow to make a call.
    """

    @contextlib.asynccontextmanager
    async def during(gates: FaultGates, length: Length) -> AsyncIterator[None]:
        dice = random.Random(SEED)
        setattr(gates, side, lambda call: meet(dice, length, call))
        yield
        await until(lambda: gates.faults_met or not until_met, length.patience)
        setattr(gates, side, None)

    return during


def _discord(meet: Meet, *, until_met: bool = True) -> During:
    return _meets("at_discord", meet, until_met=until_met)


def _api(meet: Meet, *, until_met: bool = True) -> During:
    return _meets("at_api", meet, until_met=until_met)


# --- Discord --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _discord_down(gates: FaultGates, length: Length) -> AsyncIterator[None]:
    await gates.world.wire.down()
    yield
    await gates.world.wire.up()


def _slow(dice: random.Random, length: Length, call: Call) -> Fault:
    """On the way there or on the way back."""
    there = dice.random() < 0.5
    return Fault(delay=length.slow) if there else Fault(answer_delay=length.slow)


def _too_many(dice: random.Random, length: Length, call: Call) -> Fault:
    """As Discord says it, up to a tenth of the time at once, so that it has to say it again."""
    wait = max(0.05, length.fault / 10)
    body = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
    headers = {"Retry-After": "1", "X-RateLimit-Scope": "shared"}
    return Fault(status=429, body=body, headers=headers)


def _banned(dice: random.Random, length: Length, call: Call) -> Fault:
    """By what stands before Discord: no `Via`, and no JSON."""
    return Fault(status=429, body=HTML, headers={"Via": "", "Content-Type": "text/html"})


def _years(dice: random.Random, length: Length, call: Call) -> Fault | None:
    if call.route == CALLBACK:  # which has no limit
        return None
    body = {"message": "You are being rate limited.", "retry_after": YEARS, "global": True}
    return Fault(status=429, body=body, headers={"Retry-After": str(YEARS)})


def _sometimes_500(dice: random.Random, length: Length, call: Call) -> Fault | None:
    if dice.random() >= 0.1:
        return None
    body = {"message": "500: Internal Server Error", "code": 0}
    status = dice.choice(SERVER_ERRORS)
    return Fault(status=status, body=body, carried_out=dice.random() < 0.5)


def _garbage(dice: random.Random, length: Length, call: Call) -> Fault:
    body = dice.choice((*NOT_JSON, *MALFORMED))
    kind = "text/html" if body is HTML else "application/json"
    # An error's code does not save an answer from being garbage.
    status = dice.choice((200, 200, 200, 400, 429, 500)) if call.route != CALLBACK else 200
    headers, carried_out = {"Content-Type": kind}, dice.random() < 0.5
    return Fault(status=status, body=body, headers=headers, carried_out=carried_out)


DISCORD: Mapping[str, During] = MappingProxyType(
    {
        "down": _discord_down,
        "slow": _discord(_slow),
        "cut in the middle": _discord(
            lambda dice, *_: Fault(cut="midway" if dice.random() < 0.5 else "before")
        ),
        "429": _discord(_too_many),
        "429 before Discord": _discord(_banned),
        "429 for years": _discord(_years),
        "500 at random": _discord(_sometimes_500, until_met=False),
        "answers lost": _discord(lambda *_: Fault(cut="after")),
        "garbage": _discord(_garbage),
    }
)
"""What Discord's REST can do to a bot; `down` takes the gateway with it."""


# --- the gateway ----------------------------------------------------------------------------------


def _at_once(strike: Callable[[World], None]) -> During:
    @contextlib.asynccontextmanager
    async def during(gates: FaultGates, length: Length) -> AsyncIterator[None]:
        strike(gates.world)
        yield

    return during


def _dropped_and_forgotten(world: World) -> None:
    """Events meanwhile are dispatched to nobody."""
    world.wire.gateway.drop()
    world.wire.gateway.forget()


def _malformed_event(world: World) -> None:
    for session in world.wire.gateway.connected:
        session.dispatch("CHANNEL_UPDATE", {"id": "one", "type": "text"})


GATEWAY: Mapping[str, During] = MappingProxyType(
    {
        "dropped and resumed": _at_once(lambda world: world.wire.gateway.drop()),
        "reconnect requested": _at_once(lambda world: world.wire.gateway.reconnect()),
        "dropped and not resumed": _at_once(_dropped_and_forgotten),
        "session invalid": _at_once(lambda world: world.wire.gateway.invalidate(resumable=False)),
        "a frame cut in half": _at_once(
            lambda world: world.wire.gateway.garble(b'{"op": 0, "t": "GUILD_')
        ),
        "a malformed event": _at_once(_malformed_event),
    }
)


# --- the song API ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _api_down(gates: FaultGates, length: Length) -> AsyncIterator[None]:
    await gates.relay.down()
    yield
    await gates.relay.up()


def _half(meet: Meet) -> Meet:
    """Every other call, by the dice: where no poll succeeds no place comes free for a submit."""
    return lambda dice, length, call: meet(dice, length, call) if dice.random() < 0.5 else None


def _api_429(dice: random.Random, length: Length, call: ApiCall) -> ApiFault:
    headers = {"Retry-After": f"{max(1, length.fault / 10):.0f}"}
    return ApiFault(429, '{"error": "Too many requests"}', headers)


def _api_500(dice: random.Random, length: Length, call: ApiCall) -> ApiFault | None:
    if dice.random() >= 0.1:
        return None
    return ApiFault(dice.choice(SERVER_ERRORS), HTML, carried_out=dice.random() < 0.5)


def _api_garbage(dice: random.Random, length: Length, call: ApiCall) -> ApiFault:
    body = dice.choice((*NOT_JSON, *MALFORMED))
    return ApiFault(200, body, carried_out=dice.random() < 0.5)


def _api_half_files(dice: random.Random, length: Length, call: ApiCall) -> ApiFault | None:
    return ApiFault(cut="body") if call.path.startswith("/files/") else None


def _api_not_there_yet(dice: random.Random, length: Length, call: ApiCall) -> ApiFault | None:
    """Queues and storage answer like that right after a submit, and right after COMPLETED."""
    if call.path.startswith("/files/"):
        return dice.choice((ApiFault(403), ApiFault(404), ApiFault(200, HTML), ApiFault(200)))
    if call.method != "GET" or "/v2/requests/" not in call.path:
        return None
    missing = ApiFault(404, '{"error": "Unknown request"}')
    if call.path.endswith("/status"):
        return missing
    return dice.choice((missing, ApiFault(200, '{"status": "COMPLETED", "output": null}')))


@contextlib.asynccontextmanager
async def key_refused(gates: FaultGates, length: Length) -> AsyncIterator[None]:
    """It is over once the bot has seen that the key works again."""
    gates.at_api = lambda call: ApiFault(401, '{"error": "Invalid API key"}')
    yield
    await until(lambda: gates.world.rows("SELECT kind FROM incidents"), length.patience)
    gates.at_api = None
    open_incident = "SELECT kind FROM incidents WHERE kind = 'key_refused'"
    await until(lambda: not gates.world.rows(open_incident), length.patience + 60.0)


@contextlib.asynccontextmanager
async def one_song_refused(gates: FaultGates, length: Length) -> AsyncIterator[None]:
    """What stands before the API refuses the text of one song, and of no other."""
    refused: set[int] = set()

    def meet(call: ApiCall) -> ApiFault | None:
        if call.method != "POST":
            return None
        if not refused:
            refused.add(call.body["seed"])
        return ApiFault(403, HTML) if call.body["seed"] in refused else None

    gates.at_api = meet
    yield
    await until(lambda: refused, length.patience)
    gates.at_api = None


API: Mapping[str, During] = MappingProxyType(
    {
        "down": _api_down,
        "down behind a proxy": _api(lambda *_: ApiFault(503, HTML, {"Content-Type": "text/html"})),
        "slow": _api(lambda dice, length, call: ApiFault(delay=length.slow)),
        "cut in the middle": _api(
            _half(lambda dice, *_: ApiFault(cut="body" if dice.random() < 0.5 else "answer"))
        ),
        "429": _api(_api_429),
        "429 without a time": _api(lambda *_: ApiFault(429, '{"error": "Too many requests"}')),
        "500 at random": _api(_api_500, until_met=False),
        "answers lost": _api(_half(lambda *_: ApiFault(cut="answer", carried_out=True))),
        "garbage": _api(_half(_api_garbage)),
        "downloads cut in the middle": _api(_api_half_files),
        "not there yet": _api(_api_not_there_yet),
    }
)

FOR_A_MINUTE = frozenset(
    {"down", "down behind a proxy", "429", "429 before Discord", "429 without a time"}
)
"""What lasts so long in the long form."""
LOSES_SUBMITS = frozenset(
    {"down behind a proxy", "cut in the middle", "500 at random", "answers lost", "garbage"}
)
"""What leaves open whether the API has a song: one that met it twice has failed."""
DEFERS_SUBMITS = frozenset({"429", "429 without a time"})
"""What certainly rejects a submit: it is made again."""
RARE = "500 at random"
"""What meets a tenth of the calls, and in a short time none, perhaps."""
