"""The real bot and the real database against a simulated Discord and the song API on loopback."""

import asyncio
import contextlib
import io
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import Context, copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import discord
import simcord
from simcord.backend import serializers
from simcord.enums import InteractionType

import bot
from cogs.client.client import Client
from db import songs as song_rows
from db.records import Song
from playground.discord import PlaygroundConfig
from playground.simcord_internals import dispatch
from playground.song_api import PLAYGROUND_KEY, SongApiServer, Timing, serve
from services.config import Config
from services.errors import Refusal
from services.settings.settings import Member
from tests.databases import write_new
from tests.world.clock import BotClock

SOON = 60.0
"""Seconds after which a test gives up waiting for what it started."""
POLL_INTERVAL = 0.002
"""Seconds."""
SETTLE_TIMEOUT = 20.0
"""Seconds for a command: drawing a picture takes several on a busy machine."""


class Spawner:
    """Runs background tasks in real time, outside the simulation: no command waits for them."""

    LONG = (
        *("runner", "announcer", "audit log", "delivery", "housekeeping", "heartbeat"),
        *("watch the account", "song "),
    )

    def __init__(self) -> None:
        self._context = Context()
        self._tasks: set[asyncio.Task[None]] = set()

    def enter(self) -> None:
        """Call it from the main task, once the simulation is up."""
        self._context = copy_context()

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._context.copy().run(asyncio.create_task, work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def rest(self) -> None:
        """Wait until every edit of a status message is done; raise what one of them raised."""
        while tasks := [t for t in self._tasks if not t.get_name().startswith(self.LONG)]:
            async with asyncio.timeout(SOON):
                await asyncio.gather(*tasks)


def tiny_wav(*, seconds: int, **_: object) -> bytes:
    """Return a small WAV of the requested length."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\x00\x10\x00\xf0" * (seconds * 4000))
    return buffer.getvalue()


class World:
    """One server with a channel, two members, and one who manages it."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.folder = folder
        self._values = values
        self.clock = BotClock(
            datetime(2026, 1, 1, tzinfo=UTC)
        )  # when the simulated Discord's begins
        self.spawner = Spawner()
        self.api = SongApiServer(tiny_wav, timing=lambda _: Timing(0.01, 0.01), rpm=0)
        self.foreseen: list[BaseException] = []
        """Errors that the test expects."""
        self.env: simcord.Env
        self.application: bot.Application
        self._composed = contextlib.AsyncExitStack()

    @property
    def client(self) -> Client:
        return self.application.client

    def settings(self) -> Config:
        return PlaygroundConfig(
            **{
                "discord_token": "playground",
                "segmind_api_key": PLAYGROUND_KEY,
                "segmind_api_url": self.api.root,
                "segmind_mode": "sync",
                "segmind_rpm": 10_000,
                "default_cooldown": 0,
                "member_hourly_refunds": 0,
                "database_url": f"sqlite:///{self.folder / 'songs.db'}",
                "data_dir": self.folder,
                **self._values,
            }
        )

    async def compose(self) -> Client:
        """Put the bot together on this world's database."""
        self.application = await self._composed.enter_async_context(
            bot.composed(
                self.settings(), spawn=self.spawner, prepare=lambda client: client.tree.sync()
            )
        )
        self.client.shard_count = 1
        return self.client

    async def restart(self) -> None:
        """Start another bot on the same database; messages and their buttons stay."""
        await self.spawner.rest()
        await self._composed.aclose()
        await self.env.restart_bot(await self.compose())
        self.spawner.enter()

    async def close(self) -> None:
        await self.spawner.rest()
        await self._composed.aclose()

    def people(self) -> None:
        self.spawner.enter()
        self.guild = self.env.create_guild("One")
        self.channel = self.guild.create_text_channel("songs")
        self.alice = self.member("alice")
        self.bob = self.member("bob")
        server_settings = self.guild.create_role("managers", permissions=discord.Permissions(32))
        self.mona = self.guild.add_member(self.env.create_user("mona"), roles=[server_settings])

    def member(self, name: str) -> simcord.MemberActor:
        return self.guild.add_member(self.env.create_user(name))

    # What people do

    async def song(
        self, member: simcord.MemberActor | None = None, **options: Any
    ) -> simcord.InteractionResult:
        """Send `/song` with everything it needs; wait for its status message."""
        options = {"genres": "funk, pop", "instrumental": True, "seconds": 10, **options}
        options = {name: value for name, value in options.items() if value is not None}
        result = await (member or self.alice).slash(self.channel, "song", **options)
        await self.spawner.rest()
        return result

    async def press(
        self,
        member: simcord.MemberActor,
        message: simcord.ResponseMessage | None,
        custom_id: str,
        *,
        values: list[str] | None = None,
    ) -> simcord.InteractionResult:
        """Press any `custom_id` on a message, as if it had such a button or menu."""
        assert message is not None
        backend = self.env.backend
        stored = backend.get_message(message.channel_id, message.id)
        data: dict[str, Any] = {"custom_id": custom_id, "component_type": 2}
        item: dict[str, Any] = {"type": 2, "style": 2, "label": "x", "custom_id": custom_id}
        if values is not None:
            data |= {"component_type": 3, "values": values}
            item = {"type": 3, "options": [], "custom_id": custom_id}
        shown = dict(serializers.message_payload(backend, stored))
        result = await dispatch(
            member,
            InteractionType.MESSAGE_COMPONENT,
            self.channel,
            data,
            extra={"message": shown | {"components": [{"type": 1, "components": [item]}]}},
            source_message_id=stored.id,
        )
        await self.spawner.rest()
        return result

    async def send_form(
        self, member: simcord.MemberActor, custom_id: str, lyrics: str
    ) -> simcord.InteractionResult:
        """Send any form, whether or not it was opened."""
        typed = {"type": 4, "custom_id": "lyrics", "value": lyrics}
        data = {"custom_id": custom_id, "components": [{"type": 18, "component": typed}]}
        return await dispatch(member, InteractionType.MODAL_SUBMIT, self.channel, data)

    async def raw_slash(
        self, member: simcord.MemberActor, name: str, *options: dict[str, Any]
    ) -> simcord.InteractionResult:
        """Send a command as a Discord would that checks nothing."""
        root = self.env.backend.find_command(name, None)
        assert root is not None
        data = {"id": root["id"], "name": name, "type": 1, "options": list(options)}
        return await dispatch(member, InteractionType.APPLICATION_COMMAND, self.channel, data)

    async def again(self) -> None:
        """Deliver the last interaction again, as Discord does when a session is resumed."""
        (payload,) = [
            p for _, name, p in self.env.backend.transcript if name == "INTERACTION_CREATE"
        ][-1:]
        self.env.backend.emit("INTERACTION_CREATE", payload)
        await self.env.settle()
        await self.spawner.rest()

    # What came of it

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Make songs while the block runs."""
        async with self.application.working(self.spawner):
            yield

    async def row(self, song_id: int) -> Song:
        song = await song_rows.get(self.application.database.reader, song_id)
        assert song is not None
        return song

    async def rows(self) -> list[Song]:
        """Return every song, oldest first."""
        cursor = await self.application.database.reader.execute_fetchall(
            "SELECT song_id FROM songs ORDER BY number"
        )
        return [await self.row(row["song_id"]) for row in cursor]

    async def until(self, condition: Callable[[Song], bool], count: int = 1) -> None:
        """Wait until the condition is true for so many songs."""
        async with asyncio.timeout(SOON):
            while sum(map(condition, await self.rows())) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def ended(self, count: int = 1) -> list[Song]:
        """Wait until so many songs have ended and their messages show it; return all songs."""
        await self.until(lambda song: song.ended, count)
        await self.spawner.rest()
        return await self.rows()

    async def free(self, member: simcord.MemberActor | None = None) -> int:
        """Return a member's credits."""
        who = member or self.alice
        balance = await self.application.credits.balance(Member(self.guild.id, who.id))
        return balance.free

    def errors(self) -> list[BaseException]:
        """Return what commands and listeners raised."""
        return [getattr(error, "original", error) for error in self.env.errors]

    def posts(self, channel: simcord.ChannelHandle | None = None) -> list[discord.Message]:
        """Return what everyone sees in the channel."""
        seen = (channel or self.channel).history()
        return [message for message in seen if not message.flags.ephemeral]

    def file(self, message: simcord.ResponseMessage | discord.Message | None) -> bytes:
        """Return what is attached to a message."""
        assert message is not None
        (attached,) = message.attachments
        content = self.env.backend.cdn.get(attached.url)
        assert content is not None
        return content


class _Env(simcord.Env):
    """Checks more often than every 50 ms whether the bot is idle.

    It does not know the database's threads, each of whose answers takes less than 1 ms.
    """

    async def _settle_internal(self, **how: Any) -> None:
        await super()._settle_internal(**how | {"idle": POLL_INTERVAL})


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """Log the world's bot in."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(serve(world.api))
        stack.push_async_callback(world.close)
        await write_new(world.folder / "songs.db")
        client = await world.compose()
        world.env = _Env(client, settle_timeout=SETTLE_TIMEOUT)
        await world.env.start()
        stack.push_async_callback(world.env.shutdown)
        world.people()
        await world.env.settle()
        yield world
        await world.spawner.rest()
    assert [error for error in world.errors() if not isinstance(error, Refusal)] == world.foreseen


def said(result: simcord.InteractionResult) -> simcord.ResponseMessage:
    """Return the message that answered."""
    assert result.response is not None
    return result.response


def text_of(message: simcord.ResponseMessage | discord.Message | None) -> str:
    """Return all texts of a message, in one string."""
    assert message is not None
    parts = [message.content]
    for embed in message.embeds:
        parts += [embed.title or "", embed.description or "", embed.footer.text or ""]
        parts += [f"{field.name}: {field.value}" for field in embed.fields]
    return "\n".join(filter(None, parts))


def _parts(message: simcord.ResponseMessage | None) -> list[dict[str, Any]]:
    assert message is not None
    return [part for row in message.components for part in row["components"]]


def buttons_of(message: simcord.ResponseMessage | None) -> list[str]:
    """Return the labels of a message's enabled buttons, and its menus' placeholders."""
    enabled = [part for part in _parts(message) if not part.get("disabled")]
    return [part.get("label") or part["placeholder"] for part in enabled]


def custom_id(message: simcord.ResponseMessage | None, label: str) -> str:
    """Return a button's `custom_id`."""
    (found,) = (part["custom_id"] for part in _parts(message) if part.get("label") == label)
    return str(found)
