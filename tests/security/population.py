"""Two servers with people, songs and settings of every kind, and what a client can send them."""

import ast
import contextlib
import inspect
import itertools
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

import discord
import pytest
from discord import ui

from cogs.client.client import Client
from cogs.quota import QuotaCog
from cogs.settings.forms import FORMS
from db import servers
from db.records import Reason, Song, State
from playground.discord import PlaygroundConfig
from playground.song_api import PLAYGROUND_KEY
from services.reports.usage_picture import UsagePicture
from services.songs.completion import SongCompletion
from tests import factories
from tests.wire import (
    Channel,
    Guild,
    Interaction,
    Member,
    Message,
    Permission,
    interactions,
    payloads,
    rules,
)
from tests.wire.interactions import CHANNEL as CHANNEL_OPTION
from tests.wire.interactions import (
    COMMAND,
    COMPONENT,
    GROUP,
    INTEGER,
    MODAL,
    ROLE,
    STRING,
    SUBCOMMAND,
    USER,
    find_command,
    new_interaction,
)
from tests.wire.state import COMPONENTS_V2, EPHEMERAL, Version
from tests.world.direct import Bot, direct_bot

BUTTON, MENU, USER_MENU = 2, 3, 5
COMPONENT_TYPES: dict[type, int] = {
    ui.Button: BUTTON,
    ui.Select: MENU,
    ui.UserSelect: USER_MENU,
    ui.RoleSelect: 6,
    ui.MentionableSelect: 7,
    ui.ChannelSelect: 8,
}
COGS = Path(inspect.getfile(Client)).parent
OPERATOR = 77_000_000_000_000_001


@dataclass(frozen=True, slots=True)
class Leaf:
    """A command that can be called: its path, and its options as they are registered."""

    path: str
    options: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Pressable:
    """A class of buttons or menus: the pattern of its ids, and Discord's type of component."""

    name: str
    pattern: str
    component_type: int


@dataclass(frozen=True, slots=True)
class OpenForm:
    """A form as it was opened: its id, and its fields by their names."""

    custom_id: str
    fields: Mapping[str, Mapping[str, Any]]


def option(name: str, kind: int, value: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "value": value}


@dataclass
class Population:
    """All people and things, and the ids that mean something here."""

    bot: Bot
    one: Guild
    two: Guild
    people: dict[str, Member] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    roles: dict[str, int] = field(default_factory=dict)
    forms: list[OpenForm] = field(default_factory=list)
    drafts: list[int] = field(default_factory=list)
    songs: list[int] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    """Of songs that could not be posted yet."""
    opened_at: set[tuple[str, int]] = field(default_factory=set)
    """Where in the cogs forms were opened from: file and line."""

    @property
    def ids(self) -> list[int]:
        """Of songs, people, channels, roles, drafts and servers."""
        return [
            *self.songs,
            *self.drafts,
            *(who.id for who in self.people.values()),
            *(channel.id for channel in self.channels.values()),
            *self.roles.values(),
            *(self.one.id, self.two.id, self.bot.wire.state.bot.id),
        ]

    def leaves(self) -> list[Leaf]:
        """Return every command, as it was registered with Discord."""
        return [leaf for root in self.bot.wire.state.commands for leaf in _leaves(root, ())]

    def pressables(self) -> list[Pressable]:
        """Return every class of buttons and menus that the bot answers."""
        known = self.bot.client._connection._view_store._dynamic_items
        return [
            Pressable(item.__name__, pattern.pattern, _component_type(item))
            for pattern, item in known.items()
        ]

    # What is sent

    async def command(
        self, who: str, leaf: str, options: list[dict[str, Any]], *, kind: int = COMMAND
    ) -> Interaction:
        """Send a command or, by its `kind`, a completion, with whatever options."""
        root, _, path = find_command(self.bot.wire.state, leaf)
        data = interactions._command_data(root, path, options)
        ids = [str(o.get("value")) for o in options if o.get("type") in (6, 7, 8, 9)]
        data["resolved"] = self._resolved(ids)
        interaction = self._interaction(kind, who, data)
        focused = [option["type"] for option in options if option.get("focused")]
        interaction.focused_type = focused[0] if focused else interaction.focused_type
        return await self.bot.interact(interaction)

    async def press(
        self, who: str, custom_id: str, component_type: int, values: list[str], *, shown: str
    ) -> Interaction:
        """Use a button or a menu, on a message that is `shown` to its member alone, or to all."""
        component: dict[str, Any] = {"type": component_type, "custom_id": custom_id}
        data: dict[str, Any] = {"custom_id": custom_id, "component_type": component_type}
        if component_type == BUTTON:
            component |= {"style": 2, "label": "x"}
        else:
            component |= {"options": []}
            data |= {"values": values, "resolved": self._resolved(values)}
        row = {"type": 1, "components": [component]}
        return await self.bot.interact(self._interaction(COMPONENT, who, data, shown, row))

    async def send_form(
        self, who: str, custom_id: str, fields: list[dict[str, Any]], *, shown: str
    ) -> Interaction:
        """Send a form, opened by a command or from a message."""
        lists = [f["values"] for f in fields if isinstance(f.get("values"), list)]
        chosen = [value for values in lists for value in values if isinstance(value, str)]
        data = {
            "custom_id": custom_id,
            "components": [{"type": 18, "component": one} for one in fields],
            "resolved": self._resolved(chosen),
        }
        return await self.bot.interact(self._interaction(MODAL, who, data, shown))

    def _interaction(
        self, kind: int, who: str, data: dict[str, Any], shown: str = "command", *rows: Any
    ) -> Interaction:
        """By `who`: a name such as `alice`, or `alice@thread`."""
        name, _, where = who.partition("@")
        member, state = self.people[name], self.bot.wire.state
        channel = self.channels[where or ("songs" if member.guild is self.one else "elsewhere")]
        message = None
        if shown != "command":
            flags = {"alone": EPHEMERAL, "alone v2": EPHEMERAL | COMPONENTS_V2, "all": 0}[shown]
            number, at = state.new_id(), state.clock.wall()
            components = rules.completed(list(rows))
            version = Version(number, at, "", [], components, (), loading=False)
            message = Message(number, channel, state.bot, flags, [version])
        return new_interaction(state, kind, member, channel, data, message)

    def _resolved(self, ids: list[str]) -> dict[str, Any]:
        """Return what Discord sends next to ids, only of what exists: it makes this part itself."""
        found: dict[str, dict[str, Any]] = {"users": {}, "members": {}, "roles": {}, "channels": {}}
        state = self.bot.wire.state
        for text in ids:
            number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
            if number in state.users:
                found["users"][text] = payloads.user(state.users[number])
                if number in self.one.members:
                    shown = payloads.interacting_member(self.one.members[number])
                    found["members"][text] = {k: v for k, v in shown.items() if k != "user"}
            if number in self.one.roles:
                found["roles"][text] = payloads.role(self.one.roles[number])
            if number in state.channels:
                channel = payloads.channel(state.channels[number], state.bot)
                found["channels"][text] = channel | {"permissions": "0"}
        return {name: about for name, about in found.items() if about}

    async def begin(self) -> None:
        """Restore the database, the files and the channels."""
        await self.bot.begin()
        for channel in self.channels.values():
            channel.messages.clear()
        for file in self.files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"ID3 a song")


def _leaves(part: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Leaf]:
    here, options = (*path, part["name"]), part.get("options") or []
    if any(option["type"] in (SUBCOMMAND, GROUP) for option in options):
        for option in options:
            yield from _leaves(option, here)
    else:
        yield Leaf(" ".join(here), tuple(options))


def _component_type(item: type[ui.DynamicItem[Any]]) -> int:
    (base,) = (get_args(b)[0] for b in item.__orig_bases__ if get_origin(b) is ui.DynamicItem)  # type: ignore[attr-defined]
    return COMPONENT_TYPES[get_origin(base)]


def places_of_forms() -> set[tuple[str, int, int]]:
    """Return each call in the cogs that opens a form: its file, its first line and its last."""
    return {
        (file.as_posix(), node.lineno, node.end_lineno or node.lineno)
        for file in COGS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "send_modal"
    }


class _Artist:
    """Replaces the process that draws: thousands of pictures would take the night."""

    async def draw(self, picture: UsagePicture) -> bytes:
        picture.to_line()
        return b"\x89PNG"

    async def close(self) -> None:
        """There is nothing to close."""


@contextlib.asynccontextmanager
async def population(folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Population]:
    config = PlaygroundConfig(
        discord_token="wire.bot.token",
        segmind_api_key=PLAYGROUND_KEY,
        segmind_api_url="http://127.0.0.1:9",
        segmind_rpm=10_000,
        database_url=f"sqlite:///{folder / 'songs.db'}",
        data_dir=folder / "data",
        default_cooldown=0,
        member_hourly_refunds=0,
        operator_ids=frozenset({OPERATOR}),
    )
    async with direct_bot(config) as bot:
        here = Population(bot, bot.wire.guild("One"), bot.wire.guild("Two"))
        cog = bot.client.get_cog("QuotaCog")
        assert isinstance(cog, QuotaCog)
        cog.artist = _Artist()  # type: ignore[assignment]
        _note_opened_forms(here, patch)
        await _add_people(here)
        await _add_songs(here)
        await _add_settings(here)
        await _open_forms(here)
        assert await bot.wrong() == []
        await bot.save()
        yield here


async def _add_people(here: Population) -> None:
    wire, one, two = here.bot.wire, here.one, here.two
    patrons = wire.role(one, "patrons")
    managers = wire.role(one, "managers", permissions=Permission.MANAGE_GUILD)
    operator = wire.state.add_user("olga")
    operator.id = OPERATOR
    wire.state.users[OPERATOR] = operator
    here.people = {
        "alice": wire.member(one, "alice"),
        "bob": wire.member(one, "bob", roles=[patrons]),
        "mona": wire.member(one, "mona", roles=[managers]),
        "robot": wire.member(one, wire.state.add_user("robot", bot=True)),
        "stranger": wire.member(two, "stranger"),
        "nora": wire.member(two, "nora", manage_guild=True),
        "olga": wire.member(one, operator, roles=[managers]),
    }
    here.roles = {"patrons": patrons.id, "managers": managers.id, "everyone": one.id}
    songs = wire.channel(one, "songs")
    here.channels = {
        "songs": songs,
        "thread": wire.thread(songs, "a thread"),
        "log": wire.channel(one, "log"),
        "mute": wire.channel(one, "mute", permissions=Permission.VIEW_CHANNEL),
        "elsewhere": wire.channel(two, "elsewhere"),
    }
    for guild in (one, two):
        await here.bot.announce(guild)


async def _add_songs(here: Population) -> None:
    """A song in every state; two of them are alice's own and can still be cancelled."""
    bot, one = here.bot, here.one
    database, known = bot.database, bot.application
    completion = SongCompletion(database, known.credits, clock=known.clock)
    ids = itertools.count(1_000_000_000_000_000_001)
    alice, bob = here.people["alice"].id, here.people["bob"].id

    async def song(state: State, member: int = alice, **fields: Any) -> Song:
        async with database.write() as connection:
            await servers.ensure_server(connection, one.id)
            number = await servers.take_number(connection, one.id)
        made = await factories.add_held_song(
            database,
            known.credits,
            next(ids),
            server_id=one.id,
            member_id=member,
            channel_id=here.channels["songs"].id,
            number=number,
            application_id=bot.wire.application_id,
            requested_at=known.clock(),
            price=1,
            state=state,
            **fields,
        )
        here.songs.append(made.song_id)
        return made

    await song(State.WAITING)
    await song(State.WAITING, bob)
    await song(State.SUBMITTED)
    await completion.complete(await song(State.POSTING), 1_234)
    undelivered = await song(State.POSTING, file="kept.mp3")
    await completion.mark_undelivered(undelivered, Reason.CHANNEL_GONE)
    await completion.fail(await song(State.SUBMITTED), Reason.MODEL_FAILED)
    await completion.cancel(await song(State.WAITING))
    file = bot.application.config.data_dir / "songs" / str(undelivered.song_id) / "kept.mp3"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"ID3 a song")
    here.files.append(file)


async def _add_settings(here: Population) -> None:
    """Some settings of each kind, made by the commands themselves."""
    patrons, log = str(here.roles["patrons"]), str(here.channels["log"].id)
    bob = option("member", USER, str(here.people["bob"].id))
    role, reason = option("role", ROLE, patrons), option("reason", STRING, "thanks")
    for leaf, options in (
        ("server", [option("allowance", INTEGER, 1000)]),
        ("role", [role, option("allowance", INTEGER, 2000)]),
        ("member", [bob, option("allowance", INTEGER, 3000)]),
        ("grant", [option("amount", INTEGER, 50), reason, bob]),
        ("grant", [option("amount", INTEGER, 5), reason, role]),
        ("log", [option("channel", CHANNEL_OPTION, log)]),
    ):
        await here.command("mona", f"quota {leaf}", options)
    everything = [option("what", STRING, "everything")]
    here.drafts.append((await here.command("mona", "quota reset", everything)).id)


async def _open_forms(here: Population) -> None:
    """Open each form there is, as far as the code's own table of them and its commands go."""
    opened = [await here.command("alice", "song", [option("genres", STRING, "funk")])]
    here.drafts.append(opened[0].id)
    subjects = (0, here.people["bob"].id, here.roles["patrons"])
    for name, subject in itertools.product(FORMS, subjects):
        custom_id = f"settings:form:{name}:{subject}:limits:1"
        opened.append(await here.press("mona", custom_id, BUTTON, [], shown="alone v2"))
    for interaction in opened:
        assert interaction.modal is not None, interaction
        named = [c for c in rules.walk(interaction.modal["components"]) if c.get("custom_id")]
        fields = {c["custom_id"]: c for c in named}
        here.forms.append(OpenForm(interaction.modal["custom_id"], fields))


def _note_opened_forms(here: Population, patch: pytest.MonkeyPatch) -> None:
    real = discord.InteractionResponse.send_modal

    def noting(response: Any, modal: ui.Modal, /) -> Any:
        caller = sys._getframe(1)
        here.opened_at.add((Path(caller.f_code.co_filename).as_posix(), caller.f_lineno))
        return real(response, modal)

    patch.setattr(discord.InteractionResponse, "send_modal", noting)
