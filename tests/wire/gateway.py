"""Gateway v10: https://docs.discord.com/developers/events/gateway

A session outlives its connection: what is dispatched meanwhile waits to be replayed.
"""

import asyncio
import contextlib
import importlib
import json
import secrets
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import WSMsgType, web

from . import payloads
from .rest import Rest
from .state import Guild, State

DISPATCH, HEARTBEAT, IDENTIFY, RESUME = 0, 1, 2, 6
RECONNECT, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 7, 9, 10, 11
UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED = 4001, 4002, 4003, 4004
ALREADY_AUTHENTICATED, INVALID_SHARD = 4005, 4010
DISALLOWED_INTENTS = 4014
PRIVILEGED_INTENTS = 1 << 1 | 1 << 8 | 1 << 15
REPLAYED = 10_000
HEARTBEAT_INTERVAL = 41_250  # ms

Compress = Callable[[bytes], bytes]


def compressor(kind: str | None) -> Compress | None:
    """Return the compression that the URL requests, one stream for the connection.

    Raises ModuleNotFoundError for zstd-stream where no zstd is installed.
    """
    if kind == "zlib-stream":
        stream = zlib.compressobj()
        return lambda data: stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
    if kind == "zstd-stream":
        return _zstd()
    return None


def _zstd() -> Compress:
    # By name: which of the two there is depends on the Python and on what is installed.
    try:
        zstd = importlib.import_module("compression.zstd")
    except ModuleNotFoundError:
        zstandard = importlib.import_module("zstandard")
        piece = zstandard.ZstdCompressor().compressobj()
        block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return lambda data: piece.compress(data) + piece.flush(block)
    stream = zstd.ZstdCompressor()
    return lambda data: stream.compress(data, mode=stream.FLUSH_BLOCK)


class Connection:
    """One websocket. Frames are queued, so that dispatching never waits for the bot."""

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, compress: Compress | None
    ) -> None:
        self.socket = socket
        self.session: Session | None = None
        self._transport = transport
        self._compress = compress
        self._frames: asyncio.Queue[bytes | int] = asyncio.Queue()

    def send(self, frame: bytes) -> None:
        self._frames.put_nowait(frame)

    def send_op(self, op: int, data: Any = None) -> None:
        self.send(_encode({"op": op, "d": data, "s": None, "t": None}))

    def close(self, code: int) -> None:
        """After what is queued."""
        self._frames.put_nowait(code)

    def abort(self) -> None:
        """As a cable that is pulled: no close frame, and what is queued is lost."""
        self._transport.abort()

    async def write(self) -> None:
        while True:
            frame = await self._frames.get()
            if isinstance(frame, int):
                await self.socket.close(code=frame)
                return
            with contextlib.suppress(ConnectionError):  # the reader sees the end
                if self._compress is None:
                    await self.socket.send_str(frame.decode())
                else:
                    await self.socket.send_bytes(self._compress(frame))


class Session:
    def __init__(self, shard: tuple[int, int], intents: int) -> None:
        self.id = secrets.token_hex(16)
        self.shard = shard
        self.intents = intents
        self.sequence = 0
        self.connection: Connection | None = None
        self._sent: deque[tuple[int, bytes]] = deque(maxlen=REPLAYED)

    def serves(self, guild_id: int) -> bool:
        index, count = self.shard
        return (guild_id >> 22) % count == index

    def dispatch(self, event: str, data: Any) -> None:
        self.sequence += 1
        frame = _encode({"op": DISPATCH, "d": data, "s": self.sequence, "t": event})
        self._sent.append((self.sequence, frame))
        if self.connection is not None:
            self.connection.send(frame)

    def resume(self, connection: Connection, seen: int) -> bool:
        """Replay what came after `seen`; False if that is no longer buffered."""
        oldest = self._sent[0][0] if self._sent else self.sequence + 1
        if not oldest - 1 <= seen <= self.sequence:
            return False
        self.connection, connection.session = connection, self
        for sequence, frame in self._sent:
            if sequence > seen:
                connection.send(frame)
        self.dispatch("RESUMED", {"_trace": []})
        return True


def _encode(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()


class Gateway:
    """Counts `identifies` and `resumes`."""

    def __init__(self, state: State, rest: Rest) -> None:
        self.state = state
        self.identifies = self.resumes = 0
        self.sessions: dict[str, Session] = {}
        self._rest = rest
        self._connections: set[Connection] = set()

    @property
    def connected(self) -> list[Session]:
        return [s for s in self.sessions.values() if s.connection is not None]

    def dispatch(self, event: str, data: Any, guild: Guild) -> bool:
        """Whether a session took it; one without a connection keeps it for its resume."""
        takers = [s for s in self.sessions.values() if s.serves(guild.id)]
        for session in takers:
            session.dispatch(event, data)
        return bool(takers)

    # What can happen to connections

    def drop(self) -> None:
        """Cut every connection. The sessions can be resumed."""
        for connection in list(self._connections):
            connection.abort()

    def garble(self, frame: bytes) -> None:
        """Send every bot a frame as it stands, whatever is in it."""
        for connection in list(self._connections):
            connection.send(frame)

    def close(self, code: int) -> None:
        """Close every connection in good order with `code`, such as 1001 or 4000."""
        for connection in list(self._connections):
            connection.close(code)

    def reconnect(self) -> None:
        """Ask every bot to reconnect and resume, as Discord does before maintenance."""
        for connection in list(self._connections):
            connection.send_op(RECONNECT)

    def invalidate(self, *, resumable: bool) -> None:
        """Send every bot that its session is invalid; if not `resumable`, it is forgotten."""
        for connection in list(self._connections):
            connection.send_op(INVALID_SESSION, data=resumable)
        if not resumable:
            self.forget()

    def forget(self) -> None:
        """Forget every session: a resume is refused and the bot has to identify."""
        for session in self.sessions.values():
            session.connection = None
        self.sessions.clear()

    # Serving

    async def serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, autoping=True)
        await socket.prepare(request)
        assert request.transport is not None
        compress = compressor(request.query.get("compress"))
        connection = Connection(socket, request.transport, compress)
        with self._writing(connection):
            connection.send_op(HELLO, {"heartbeat_interval": HEARTBEAT_INTERVAL, "_trace": []})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(connection, message.data)
        return socket

    @contextlib.contextmanager
    def _writing(self, connection: Connection) -> Iterator[None]:
        writer = asyncio.create_task(connection.write(), name="wire-gateway-writer")
        self._connections.add(connection)
        try:
            yield
        finally:
            writer.cancel()
            self._connections.discard(connection)
            session = connection.session
            if session is not None and session.connection is connection:
                session.connection = None
            self.state.changed.notify()

    def _receive(self, connection: Connection, text: str) -> None:
        try:
            payload = json.loads(text)
            op, data = payload["op"], payload.get("d")
        except (ValueError, KeyError, TypeError, AttributeError):
            connection.close(DECODE_ERROR)
            return
        if op == HEARTBEAT:
            connection.send_op(HEARTBEAT_ACK)
        elif op == IDENTIFY:
            self._identify(connection, data)
        elif op == RESUME:
            self._resume(connection, data)
        elif connection.session is None:
            connection.close(NOT_AUTHENTICATED)
        elif op not in {3, 4, 8, 31}:  # presence, voice, members, sounds: nothing follows here
            connection.close(UNKNOWN_OPCODE)
        self.state.changed.notify()

    def _has_access(self, data: dict[str, Any]) -> bool:
        return not self.state.revoked and data.get("token") == self.state.token

    def _identify(self, connection: Connection, data: dict[str, Any]) -> None:
        index, count = data.get("shard") or (0, 1)
        intents = int(data.get("intents") or 0)
        if connection.session is not None:
            connection.close(ALREADY_AUTHENTICATED)
        elif not self._has_access(data):
            connection.close(AUTHENTICATION_FAILED)
        elif not 0 <= index < count:
            connection.close(INVALID_SHARD)
        elif intents & PRIVILEGED_INTENTS:
            connection.close(DISALLOWED_INTENTS)
        else:
            self._begin(connection, Session((index, count), intents))

    def _begin(self, connection: Connection, session: Session) -> None:
        self.identifies += 1
        self._rest.identifies_left -= 1
        # Who identifies again has given up its earlier session.
        self.sessions = {
            i: s
            for i, s in self.sessions.items()
            if s.connection is not None or s.shard != session.shard
        }
        self.sessions[session.id] = session
        session.connection, connection.session = connection, session
        guilds = [g for g in self.state.guilds.values() if g.joined and session.serves(g.id)]
        session.dispatch("READY", self._ready(session, guilds))
        for guild in guilds:
            if guild.available:
                payload = payloads.guild_create(guild, self.state.bot, known=True)
                session.dispatch("GUILD_CREATE", payload)

    def _ready(self, session: Session, guilds: list[Guild]) -> dict[str, Any]:
        return {
            "v": 10,
            "user": payloads.own_user(self.state.bot),
            "guilds": [{"id": str(g.id), "unavailable": True} for g in guilds],
            "session_id": session.id,
            "resume_gateway_url": self._rest.gateway_url,
            "shard": list(session.shard),
            "application": {"id": str(self.state.application_id), "flags": 0},
            "private_channels": [],
            "user_settings": {},
            "relationships": [],
            "presences": [],
            "session_type": "normal",
            "_trace": [],
        }

    def _resume(self, connection: Connection, data: dict[str, Any]) -> None:
        if not self._has_access(data):
            connection.close(AUTHENTICATION_FAILED)
            return
        session = self.sessions.get(str(data.get("session_id")))
        if session is not None and session.resume(connection, int(data.get("seq") or 0)):
            self.resumes += 1
        else:
            connection.send_op(INVALID_SESSION, data=False)
