"""What can break on either side of the bot, by name, and a door for each side to let it in."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from playground.song_api import Call as ApiCall
from playground.song_api import Fault as ApiFault
from tests.wire import Call, Fault
from tests.wire.server import listening
from tests.world.sockets import World, until

SEED = 20_260_314
MESSAGES = "/channels/{channel_id}/messages"
CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"
YEARS = 99_999_999
HTML = b"<html><body><h1>Just a moment...</h1></body></html>"
NOT_JSON = (HTML, b'{"id": "123", "request_id": "abc", "status": "COM', b"")
MALFORMED = (
    b"{}",
    b"null",
    b"[]",
    b'"ok"',
    b"7",
    b'{"id": {"a": 1}, "request_id": 7, "status": ["COMPLETED"], "output": {"url": 3}}',
    b'{"id": "many", "author": 3, "request_id": "", "status": "MAYBE", "retry_after": "soon"}',
    b'{"status": "COMPLETED", "output": [], "channel_id": "x", "interaction": 1, "resource": []}',
)


class Relay:
    """A separate port before a server: it can be down, as a server is that is being replaced."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def root(self) -> str:
        assert self._socket is not None
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        # Bound by hand, so that the port stays ours while nobody listens at it.
        self._socket = listening()
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()
        assert self._socket is not None
        self._socket.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def up(self) -> None:
        assert self._socket is not None
        self._server = await asyncio.start_server(self._serve, sock=self._socket.dup())

    async def down(self) -> None:
        """Cut every connection, and (on Linux) refuse new ones, keeping the port for `up`."""
        assert self._socket is not None
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
    """Between the bot and either side of its world. Songs are held back before their posts until
    `release`, so that a fault finds some that are being posted.
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
        """Let go of the posts that were held back."""
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
    """FaultGates on both sides of a bot that is started within; every one is open to begin with."""
    async with Relay(int(world.api.root.rpartition(":")[2])) as relay:
        world.settings["SEGMIND_API_URL"] = relay.root
        opened = FaultGates(world, relay)
        yield opened
        opened.release()


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


# --- Discord --------------------------------------------------------------------------------------


def _at_discord(
    answer: Callable[[random.Random, Length, Call], Fault | None], *, until_met: bool = True
) -> During:
    """`until_met`: it lasts until it has met a call, on a machine that is slow to make one."""

    @contextlib.asynccontextmanager
    async def during(door: FaultGates, length: Length) -> AsyncIterator[None]:
        dice = random.Random(SEED)
        door.at_discord = lambda call: answer(dice, length, call)
        yield
        await until(lambda: door.faults_met or not until_met, length.patience)
        door.at_discord = None

    return during


@contextlib.asynccontextmanager
async def _discord_down(door: FaultGates, length: Length) -> AsyncIterator[None]:
    await door.world.wire.down()
    yield
    await door.world.wire.up()


def _slow(dice: random.Random, length: Length, call: Call) -> Fault:
    """On the way there or on the way back."""
    there = dice.random() < 0.5
    return Fault(delay=length.slow) if there else Fault(answer_delay=length.slow)


def _cut(dice: random.Random, length: Length, call: Call) -> Fault:
    return Fault(cut="midway" if dice.random() < 0.5 else "before")


def _too_many(dice: random.Random, length: Length, call: Call) -> Fault:
    """As Discord says it, up to a tenth of the time at once, so that it has to say it again."""
    wait = max(0.05, length.fault / 10)
    body = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
    headers = {"Retry-After": "1", "X-RateLimit-Scope": "shared"}
    return Fault(status=429, body=body, headers=headers)


def _banned(dice: random.Random, length: Length, call: Call) -> Fault:
    """Not Discord's own word but that of what stands before it: no `Via`, and no JSON."""
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
    status = dice.choice((500, 502, 503, 504))
    return Fault(status=status, body=body, carried_out=dice.random() < 0.5)


def _lost(dice: random.Random, length: Length, call: Call) -> Fault:
    return Fault(cut="after")


def _garbage(dice: random.Random, length: Length, call: Call) -> Fault:
    body = dice.choice((*NOT_JSON, *MALFORMED))
    kind = "text/html" if body is HTML else "application/json"
    # An error's code does not save an answer from being garbage.
    status = dice.choice((200, 200, 200, 400, 429, 500)) if call.route != CALLBACK else 200
    return Fault(
        status=status,
        body=body,
        headers={"Content-Type": kind},
        carried_out=dice.random() < 0.5,
    )


DISCORD: Mapping[str, During] = MappingProxyType(
    {
        "down": _discord_down,
        "slow": _at_discord(_slow),
        "cut in the middle": _at_discord(_cut),
        "429": _at_discord(_too_many),
        "429 before Discord": _at_discord(_banned),
        "429 for years": _at_discord(_years),
        "500 at random": _at_discord(_sometimes_500, until_met=False),
        "answers lost": _at_discord(_lost),
        "garbage": _at_discord(_garbage),
    }
)
"""What Discord's REST can do to a bot; `down` takes the gateway with it."""


# --- the gateway ----------------------------------------------------------------------------------


def _at_once(strike: Callable[[World], None]) -> During:
    @contextlib.asynccontextmanager
    async def during(door: FaultGates, length: Length) -> AsyncIterator[None]:
        strike(door.world)
        yield

    return during


def _dropped_and_forgotten(world: World) -> None:
    """What happened meanwhile is told to nobody."""
    world.wire.gateway.drop()
    world.wire.gateway.forget()


def _garbled(world: World) -> None:
    """A frame that is no JSON; what was missed meanwhile is asked for again."""
    world.wire.gateway.garble(b'{"op": 0, "t": "GUILD_')


def _malformed_event(world: World) -> None:
    """An event whose data are not what its name says."""
    for session in world.wire.gateway.connected:
        session.dispatch("CHANNEL_UPDATE", {"id": "one", "type": "text"})


GATEWAY: Mapping[str, During] = MappingProxyType(
    {
        "dropped and resumed": _at_once(lambda world: world.wire.gateway.drop()),
        "asked to reconnect": _at_once(lambda world: world.wire.gateway.reconnect()),
        "dropped and not resumed": _at_once(_dropped_and_forgotten),
        "session invalid": _at_once(lambda world: world.wire.gateway.invalidate(resumable=False)),
        "a frame cut in half": _at_once(_garbled),
        "an event that makes no sense": _at_once(_malformed_event),
    }
)


# --- the song API ---------------------------------------------------------------------------------

ApiAnswer = Callable[[random.Random, Length, ApiCall], ApiFault | None]


def _half(answer: ApiAnswer) -> ApiAnswer:
    """Every other call, by the dice: where no look succeeds no place comes free for a submit."""
    return lambda dice, length, call: answer(dice, length, call) if dice.random() < 0.5 else None


def _at_api(answer: ApiAnswer, *, until_met: bool = True) -> During:
    """`until_met`: as at Discord."""

    @contextlib.asynccontextmanager
    async def during(door: FaultGates, length: Length) -> AsyncIterator[None]:
        dice = random.Random(SEED)
        door.at_api = lambda call: answer(dice, length, call)
        yield
        await until(lambda: door.faults_met or not until_met, length.patience)
        door.at_api = None

    return during


@contextlib.asynccontextmanager
async def _api_down(door: FaultGates, length: Length) -> AsyncIterator[None]:
    await door.relay.down()
    yield
    await door.relay.up()


def _api_slow(dice: random.Random, length: Length, call: ApiCall) -> ApiFault:
    return ApiFault(delay=length.slow)


def _api_cut(dice: random.Random, length: Length, call: ApiCall) -> ApiFault:
    return ApiFault(cut="body") if dice.random() < 0.5 else ApiFault(cut="answer")


def _api_429(told: Callable[[float], Mapping[str, str]]) -> During:
    return _at_api(
        lambda dice, length, call: ApiFault(
            429, '{"error": "Too many requests"}', told(length.fault)
        )
    )


def _api_500(dice: random.Random, length: Length, call: ApiCall) -> ApiFault | None:
    if dice.random() >= 0.1:
        return None
    status = dice.choice((500, 502, 503, 504))
    return ApiFault(status, HTML, carried_out=dice.random() < 0.5)


def _api_down_behind_a_proxy(dice: random.Random, length: Length, call: ApiCall) -> ApiFault:
    return ApiFault(503, HTML, {"Content-Type": "text/html"})


def _api_lost(dice: random.Random, length: Length, call: ApiCall) -> ApiFault:
    return ApiFault(cut="answer", carried_out=True)


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
async def key_refused(door: FaultGates, length: Length) -> AsyncIterator[None]:
    """It is over once the bot has seen that the key works again."""
    door.at_api = lambda call: ApiFault(401, '{"error": "Invalid API key"}')
    yield
    await until(lambda: bool(door.world.rows("SELECT kind FROM incidents")), length.patience)
    door.at_api = None
    await until(
        lambda: not door.world.rows("SELECT kind FROM incidents WHERE kind = 'key_refused'"),
        length.patience + 60.0,
    )


@contextlib.asynccontextmanager
async def one_song_refused(door: FaultGates, length: Length) -> AsyncIterator[None]:
    """What stands before the API dislikes the words of one song, and of no other."""
    disliked: set[int] = set()

    def answer(call: ApiCall) -> ApiFault | None:
        if call.method != "POST":
            return None
        seed = call.body["seed"]
        if not disliked:
            disliked.add(seed)
        return ApiFault(403, HTML) if seed in disliked else None

    door.at_api = answer
    yield
    await until(lambda: bool(disliked), length.patience)
    door.at_api = None


API: Mapping[str, During] = MappingProxyType(
    {
        "down": _api_down,
        "down behind a proxy": _at_api(_api_down_behind_a_proxy),
        "slow": _at_api(_api_slow),
        "cut in the middle": _at_api(_half(_api_cut)),
        "429": _api_429(lambda seconds: {"Retry-After": f"{max(1, seconds / 10):.0f}"}),
        "429 without a time": _api_429(lambda _: {}),
        "500 at random": _at_api(_api_500, until_met=False),
        "answers lost": _at_api(_half(_api_lost)),
        "garbage": _at_api(_half(_api_garbage)),
        "downloads cut in the middle": _at_api(_api_half_files),
        "not there yet": _at_api(_api_not_there_yet),
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
"""What certainly rejects a song: it comes to the door again."""
SELDOM = "500 at random"
"""What meets a tenth of the calls, and in a short time none, perhaps."""
