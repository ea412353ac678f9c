"""Two servers with people, songs and rules of every kind, and what a client can send about them."""

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
from db.records import Song, State
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
from tests.wire.interactions import (
    COMMAND,
    COMPONENT,
    GROUP,
    MODAL,
    SUBCOMMAND,
    USER,
    find_command,
    new_interaction,
)
from tests.wire.state import COMPONENTS_V2, EPHEMERAL, Version
from tests.world.direct import Bot, bot_at_hand, tell

ROLE, CHANNEL_OPTION = 8, 7
COMPONENT_TYPES: dict[type, int] = {
    ui.Button: 2,
    ui.Select: 3,
    ui.UserSelect: 5,
    ui.RoleSelect: 6,
    ui.MentionableSelect: 7,
    ui.ChannelSelect: 8,
}
COGS = Path(inspect.getfile(Client)).parent


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
class Sheet:
    """A form as it was opened: its id, and its fields' types by their names."""

    custom_id: str
    fields: Mapping[str, Mapping[str, Any]]


@dataclass
class Population:
    """Everybody and everything, and the ids that mean something here."""

    bot: Bot
    one: Guild
    two: Guild
    people: dict[str, Member] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    roles: dict[str, int] = field(default_factory=dict)
    sheets: list[Sheet] = field(default_factory=list)
    drafts: list[int] = field(default_factory=list)
    songs: list[int] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
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

    # What is found in the bot itself

    def leaves(self) -> list[Leaf]:
        """Every command, as it was registered with Discord."""
        return [leaf for root in self.bot.wire.state.commands for leaf in _leaves(root, ())]

    def pressables(self) -> list[Pressable]:
        """Every class of buttons and menus that the bot answers, with the pattern of its ids."""
        known = self.bot.client._connection._view_store._dynamic_items
        return [
            Pressable(item.__name__, pattern.pattern, _component_type(item))
            for pattern, item in known.items()
        ]

    # What is sent

    async def command(
        self, who: str, leaf: str, options: list[dict[str, Any]], *, kind: int = COMMAND
    ) -> Interaction:
        """A command or, by its `kind`, a completion, with whatever options."""
        member, channel = self.place(who)
        root, _, path = find_command(self.bot.wire.state, leaf)
        data = interactions._command_data(root, path, options)
        data["resolved"] = self.resolved(options)
        interaction = new_interaction(self.bot.wire.state, kind, member, channel, data)
        focused = [option["type"] for option in options if option.get("focused")]
        interaction.focused_type = focused[0] if focused else interaction.focused_type
        return await self.bot.hear_of(interaction)

    async def press(
        self, who: str, custom_id: str, component_type: int, values: list[str], *, shown: str
    ) -> Interaction:
        """A button or a menu, on a message that is `shown` to its member alone, or to all."""
        member, channel = self.place(who)
        component: dict[str, Any] = {"type": component_type, "custom_id": custom_id}
        component |= {"style": 2, "label": "x"} if component_type == 2 else {"options": []}
        message = self._message(channel, shown, [{"type": 1, "components": [component]}])
        data: dict[str, Any] = {"custom_id": custom_id, "component_type": component_type}
        if component_type != 2:
            data |= {"values": values, "resolved": self._resolved(values)}
        return await self.bot.hear_of(
            new_interaction(self.bot.wire.state, COMPONENT, member, channel, data, message)
        )

    async def send_form(
        self, who: str, custom_id: str, fields: list[dict[str, Any]], *, shown: str
    ) -> Interaction:
        """A form, opened by a command or from a message."""
        member, channel = self.place(who)
        message = None if shown == "command" else self._message(channel, shown, [])
        lists = [f["values"] for f in fields if isinstance(f.get("values"), list)]
        chosen = [value for values in lists for value in values if isinstance(value, str)]
        data = {
            "custom_id": custom_id,
            "components": [{"type": 18, "component": one} for one in fields],
            "resolved": self._resolved(chosen),
        }
        return await self.bot.hear_of(
            new_interaction(self.bot.wire.state, MODAL, member, channel, data, message)
        )

    def place(self, who: str) -> tuple[Member, Channel]:
        """Somebody, and where they are: `alice`, or `alice@thread`."""
        name, _, where = who.partition("@")
        member = self.people[name]
        default = "songs" if member.guild is self.one else "elsewhere"
        return member, self.channels[where or default]

    def resolved(self, options: list[dict[str, Any]]) -> dict[str, Any]:
        """What Discord sends beside options that are ids."""
        ids = [str(o.get("value")) for o in options if o.get("type") in (6, 7, 8, 9)]
        return self._resolved(ids)

    def _resolved(self, ids: list[str]) -> dict[str, Any]:
        """Only of what exists: Discord makes this part itself."""
        found: dict[str, dict[str, Any]] = {"users": {}, "members": {}, "roles": {}, "channels": {}}
        wire = self.bot.wire.state
        for text in ids:
            number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
            if number in wire.users:
                found["users"][text] = payloads.user(wire.users[number])
                if number in self.one.members:
                    shown = payloads.interacting_member(self.one.members[number])
                    found["members"][text] = {k: v for k, v in shown.items() if k != "user"}
            if number in self.one.roles:
                found["roles"][text] = payloads.role(self.one.roles[number])
            if number in wire.channels:
                whole = payloads.channel(wire.channels[number], wire.bot)
                found["channels"][text] = whole | {"permissions": "0"}
        return {name: about for name, about in found.items() if about}

    def _message(self, channel: Channel, shown: str, components: list[dict[str, Any]]) -> Message:
        state = self.bot.wire.state
        flags = {"alone": EPHEMERAL, "alone v2": EPHEMERAL | COMPONENTS_V2, "all": 0}[shown]
        message_id = state.new_id()
        version = Version(
            message_id, state.clock.wall(), "", [], rules.completed(components), (), loading=False
        )
        return Message(message_id, channel, state.bot, flags, [version])

    async def begin(self) -> None:
        """As it was in the beginning: the database, the files, the channels."""
        await self.bot.begin()
        for channel in self.channels.values():
            channel.messages.clear()
        for file in self.kept:
            if not file.exists():
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
    """Each call in the cogs that opens a form: its file, its first line and its last."""
    return {
        (file.as_posix(), node.lineno, node.end_lineno or node.lineno)
        for file in COGS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "send_modal"
    }


class _Artist:
    """In place of the process that draws: thousands of pictures would take the night."""

    async def draw(self, picture: UsagePicture) -> bytes:
        picture.to_line()
        return b"\x89PNG"

    async def close(self) -> None:
        """There is none."""


@contextlib.asynccontextmanager
async def population(folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Population]:
    """Everybody, and something of every kind."""
    settings = PlaygroundConfig(
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
    async with bot_at_hand(folder, settings) as bot:
        all_of_it = Population(bot, bot.wire.guild("One"), bot.wire.guild("Two"))
        cog = bot.client.get_cog("QuotaCog")
        assert isinstance(cog, QuotaCog)
        cog.artist = _Artist()  # type: ignore[assignment]
        _note_opened_forms(all_of_it, patch)
        await _people(all_of_it)
        await _songs(all_of_it)
        await _rules(all_of_it)
        await _forms(all_of_it)
        assert await bot.wrong() == []
        await bot.keep()
        yield all_of_it


OPERATOR = 77_000_000_000_000_001


async def _people(all_of_it: Population) -> None:
    wire, one, two = all_of_it.bot.wire, all_of_it.one, all_of_it.two
    patrons = wire.role(one, "patrons")
    managers = wire.role(one, "managers", permissions=Permission.MANAGE_GUILD)
    everyone = {
        "alice": wire.member(one, "alice"),
        "bob": wire.member(one, "bob", roles=[patrons]),
        "mona": wire.member(one, "mona", roles=[managers]),
        "robot": wire.member(one, wire.state.add_user("robot", bot=True)),
        "stranger": wire.member(two, "stranger"),
        "nora": wire.member(two, "nora", manage_guild=True),
    }
    operator = wire.state.add_user("olga")
    operator.id = OPERATOR
    wire.state.users[OPERATOR] = operator
    everyone["olga"] = wire.member(one, operator, roles=[managers])
    all_of_it.people = everyone
    all_of_it.roles = {"patrons": patrons.id, "managers": managers.id, "everyone": one.id}
    songs = wire.channel(one, "songs")
    all_of_it.channels = {
        "songs": songs,
        "thread": wire.thread(songs, "a thread"),
        "log": wire.channel(one, "log"),
        "mute": wire.channel(one, "mute", permissions=Permission.VIEW_CHANNEL),
        "elsewhere": wire.channel(two, "elsewhere"),
    }
    for guild in (one, two):
        await tell(all_of_it.bot, guild)


async def _songs(all_of_it: Population) -> None:
    """A song in every state; two of them are alice's own and can still be cancelled."""
    bot, one = all_of_it.bot, all_of_it.one
    database, known = bot.database, bot.application
    completion = SongCompletion(database, known.credits, clock=known.clock)
    ids = itertools.count(1_000_000_000_000_000_001)
    alice, bob = all_of_it.people["alice"].id, all_of_it.people["bob"].id

    async def song(state: State, member: int = alice, **fields: Any) -> Song:
        async with database.write() as connection:
            await servers.ensure_server(connection, one.id)
            number = await servers.take_number(connection, one.id)
        made = await factories.add_song(
            database,
            next(ids),
            server_id=one.id,
            member_id=member,
            channel_id=all_of_it.channels["songs"].id,
            number=number,
            application_id=bot.wire.application_id,
            requested_at=known.clock(),
            price=1,
            state=state,
            **fields,
        )
        await factories.hold(database, known.credits, made)
        all_of_it.songs.append(made.song_id)
        return made

    await song(State.WAITING)
    await song(State.WAITING, bob)
    await song(State.SUBMITTED)
    await completion.complete(await song(State.POSTING), 1_234)
    undelivered = await song(State.POSTING, file="kept.mp3")
    await completion.mark_undelivered(undelivered, "The channel is gone.")
    await completion.fail(await song(State.SUBMITTED), "The model failed.")
    await completion.cancel(await song(State.WAITING))
    kept = bot.application.config.data_dir / "songs" / str(undelivered.song_id) / "kept.mp3"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"ID3 a song")
    all_of_it.kept.append(kept)


async def _rules(all_of_it: Population) -> None:
    """Some of each rule, made by the commands themselves."""
    people, roles = all_of_it.people, all_of_it.roles
    patrons, log = str(roles["patrons"]), str(all_of_it.channels["log"].id)
    bob = str(people["bob"].id)
    made: list[tuple[str, list[tuple[str, int, Any]]]] = [
        ("quota server", [("allowance", 4, 1000)]),
        ("quota role", [("role", ROLE, patrons), ("allowance", 4, 2000)]),
        ("quota member", [("member", USER, bob), ("allowance", 4, 3000)]),
        ("quota grant", [("amount", 4, 50), ("reason", 3, "thanks"), ("member", USER, bob)]),
        ("quota grant", [("amount", 4, 5), ("reason", 3, "thanks"), ("role", ROLE, patrons)]),
        ("quota log", [("channel", CHANNEL_OPTION, log)]),
    ]
    for leaf, options in made:
        given = [{"name": n, "type": t, "value": v} for n, t, v in options]
        await all_of_it.command("mona", leaf, given)
    reset = await all_of_it.command(
        "mona", "quota reset", [{"name": "what", "type": 3, "value": "everything"}]
    )
    all_of_it.drafts.append(reset.id)


async def _forms(all_of_it: Population) -> None:
    """Open each form there is, as far as the code's own table of them and its commands go."""
    genres = [{"name": "genres", "type": 3, "value": "funk"}]
    opened = [await all_of_it.command("alice", "song", genres)]
    all_of_it.drafts.append(opened[0].id)
    subjects = (0, all_of_it.people["bob"].id, all_of_it.roles["patrons"])
    for name, subject in itertools.product(FORMS, subjects):
        custom_id = f"settings:form:{name}:{subject}:limits:1"
        opened.append(await all_of_it.press("mona", custom_id, 2, [], shown="alone v2"))
    for interaction in opened:
        assert interaction.modal is not None, interaction
        named = [c for c in rules.walk(interaction.modal["components"]) if c.get("custom_id")]
        fields = {c["custom_id"]: c for c in named}
        all_of_it.sheets.append(Sheet(interaction.modal["custom_id"], fields))


def _note_opened_forms(all_of_it: Population, patch: pytest.MonkeyPatch) -> None:
    real = discord.InteractionResponse.send_modal

    def noting(response: Any, modal: ui.Modal, /) -> Any:
        caller = sys._getframe(1)
        all_of_it.opened_at.add((Path(caller.f_code.co_filename).as_posix(), caller.f_lineno))
        return real(response, modal)

    patch.setattr(discord.InteractionResponse, "send_modal", noting)
