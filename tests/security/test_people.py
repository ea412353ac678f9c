"""People reach for what is not theirs: others' songs, managers' commands, ids that they made up."""

import contextlib
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bot import COMPONENTS
from cogs.client.discord_internals import template_of
from cogs.settings.components import ACTS
from cogs.settings.forms import FORMS
from tests.security.population import Leaf, Population, population
from tests.wire import Interaction

WORDS = ("hushed waltz", "whispered")
"""What alice's songs were asked for with."""
MEMBERS = ("alice", "bob", "stranger")
USER, CHANNEL, ROLE = 6, 7, 8
BUTTON, MENU, USER_MENU = 2, 3, 5


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Population]:
    async with population(tmp_path, monkeypatch) as here:
        async with here.bot.database.write() as connection:
            await connection.execute(
                """
                UPDATE songs SET genres = ?1, lyrics = CASE state WHEN 'cancelled' THEN ''
                                                                   ELSE ?2 END
                WHERE member_id = ?3
                """,
                (WORDS[0], f"[verse]\n{WORDS[1]}", here.people["alice"].id),
            )
        here.bot.door.said.clear()
        yield here


def kept(here: Population, *, but: str = "") -> list[str]:
    """All that the database holds, a line for each row; without those that name `but`."""
    path = here.bot.application.config.database_path
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if not but or but not in line]


def songs_of(here: Population, name: str, where: str = "1") -> list[int]:
    path = here.bot.application.config.database_path
    statement = f"SELECT song_id FROM songs WHERE member_id = ? AND {where}"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(statement, (here.people[name].id,))]


def judge(here: Population, *interactions: Interaction) -> None:
    """Each was answered, by nothing that Discord refuses, and nothing went wrong."""
    assert here.bot.errors.told == []
    assert here.bot.door.refused == []
    assert all(interaction.callback is not None for interaction in interactions)


# --- others' songs --------------------------------------------------------------------------------


async def test_a_song_obeys_its_member_alone(here: Population) -> None:
    before = kept(here)
    verbs, people = ("cancel", "refresh", "get"), ("bob", "mona", "olga", "stranger", "nora")
    for song, verb, who in itertools.product(songs_of(here, "alice"), verbs, people):
        custom_id = f"song:{verb}:{song}"
        judge(here, await here.press(who, custom_id, BUTTON, [], shown="alone"))
    for song, who in itertools.product(songs_of(here, "alice"), ("bob", "stranger", "nora")):
        judge(here, await here.press(who, "queue:cancel", MENU, [str(song)], shown="alone"))
    assert kept(here) == before
    assert not [text for text in here.bot.door.said if any(word in text for word in WORDS)]


async def test_a_songs_words_are_for_whom_they_are_meant(here: Population) -> None:
    """Until it is posted, for its member and those who manage the server; elsewhere, for nobody."""
    closed = songs_of(here, "alice", "post_id IS NULL")
    assert closed != songs_of(here, "alice")
    alice = str(here.people["alice"].id)
    for who, songs in (("bob", closed), ("stranger", songs_of(here, "alice"))):
        for song in songs:
            judge(here, await here.press(who, "history:open", MENU, [str(song)], shown="alone"))
        if who == "bob":  # the one that is posted is everyone's who can see the channel
            async with here.bot.database.write() as connection:
                await connection.execute(
                    "UPDATE songs SET genres = 'funk', lyrics = '' WHERE post_id IS NOT NULL"
                )
        asked = [
            await here.command(who, "queue", []),
            await here.command(who, "history", [_option("member", USER, alice)]),
            await here.press(who, f"history:{alice}:1", BUTTON, [], shown="alone"),
            *[await here.command(who, "show", [_option("song", 3, str(n))]) for n in range(1, 9)],
        ]
        judge(here, *asked)
    assert not [text for text in here.bot.door.said if any(word in text for word in WORDS)]
    # That they could be told is shown by telling them to their member.
    for song in closed:
        judge(here, await here.press("alice", "history:open", MENU, [str(song)], shown="alone"))
    assert any(WORDS[0] in text for text in here.bot.door.said)


async def test_what_another_typed_beside_a_form_is_not_had(here: Population) -> None:
    """A form's other options wait under its number, which is no secret."""
    before = kept(here)
    lyrics = [{"type": 4, "custom_id": "lyrics", "value": "la la"}]
    for draft, who in itertools.product(here.drafts, ("bob", "stranger", "nora")):
        custom_id = f"lyrics:{draft}"
        judge(here, await here.send_form(who, custom_id, lyrics, shown="command"))
    assert kept(here) == before


# --- what is for managers -------------------------------------------------------------------------


FOR_MANAGERS = "Only those with the Manage Server permission can do this."


def _option(name: str, kind: int, value: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "value": value}


def _filled(here: Population, leaf: Leaf) -> list[dict[str, Any]]:
    """Every option of a command, with something that it would take."""
    likely: Mapping[str, Any] = {
        "reason": "just so",
        "until": "7d",
        "expires": "7d",
        "ends": "7d",
        "since": "2026-01-01",
        "zone": "UTC",
        "add": "word",
        "remove": "ugly",
        "server": str(here.one.id),
    }
    by_kind: Mapping[int, Any] = {
        4: 20,
        5: True,
        USER: str(here.people["bob"].id),
        CHANNEL: str(here.channels["log"].id),
        ROLE: str(here.roles["patrons"]),
    }
    return [
        _option(
            option["name"],
            option["type"],
            next((choice["value"] for choice in option.get("choices") or ()), None)
            or by_kind.get(option["type"], likely.get(option["name"], "1")),
        )
        for option in leaf.options
    ]


async def test_a_members_hand_on_a_managers_command_moves_nothing(here: Population) -> None:
    """Discord's own check can be changed in a server's settings, and is not asked here."""
    before = kept(here)
    tried = 0
    for leaf in here.leaves():
        room = leaf.path.split()[0]
        # Who manages a server is no operator either.
        people = {"quota": MEMBERS, "operator": (*MEMBERS, "mona", "nora")}.get(room, ())
        filled = _filled(here, leaf)
        subsets = [filled, *([option] for option in filled), []]
        for who, options in itertools.product(people, subsets):
            judge(here, await here.command(who, leaf.path, options))
            tried += 1
    assert tried > 200
    assert kept(here) == before


def _managers_ids(here: Population) -> list[tuple[str, int]]:
    """The id of every button and menu that managers are shown, and its kind."""
    whom = [0, here.people["bob"].id, here.roles["patrons"]]
    settings = [
        *(f"settings:act:{act}:{key}:{one}:more:1" for act, key in ACTS for one in whom),
        *(f"settings:form:{form}:{one}:more:1" for form in FORMS for one in whom),
        *(f"settings:tab:{page}:1" for page in ("credits", "roles", "members", "limits", "more")),
        "settings:turn:members:2",
    ]
    resets = [
        f"quota:reset:{what}:{draft}"
        for what in ("granted credits", "settings", "everything")
        for draft in here.drafts
    ]
    return [
        *((custom_id, BUTTON) for custom_id in [*settings, *resets, "changes:page:1"]),
        ("changes:undo", MENU),
        ("settings:member", USER_MENU),
    ]


async def test_an_old_button_of_a_managers_does_not_obey_a_member(here: Population) -> None:
    before, said = kept(here), len(here.bot.door.said)
    for who, (custom_id, kind) in itertools.product(MEMBERS, _managers_ids(here)):
        pressed = await _press(here, who, custom_id, kind)
        judge(here, pressed)
        assert pressed.modal is None, custom_id
    assert all(FOR_MANAGERS in text for text in here.bot.door.said[said:])
    for who, sheet in itertools.product(MEMBERS, here.sheets):
        if not sheet.custom_id.startswith("lyrics"):
            judge(here, await here.send_form(who, sheet.custom_id, _typed(sheet), shown="alone v2"))
    assert kept(here) == before

    # That each of them is an id of today, and does something, is shown by a manager's hand.
    obeyed = set()
    for custom_id, kind in _managers_ids(here):
        before, said = kept(here), len(here.bot.door.said)
        pressed = await _press(here, "mona", custom_id, kind)
        judge(here, pressed)
        assert not any(FOR_MANAGERS in text for text in here.bot.door.said[said:])
        if kept(here) != before or pressed.modal is not None:
            obeyed.add(":".join(custom_id.split(":")[:2]))
    assert obeyed >= {
        "settings:act",
        "settings:form",
        "settings:member",
        "quota:reset",
    }


async def _press(here: Population, who: str, custom_id: str, kind: int) -> Any:
    """One of `_managers_ids`, with something chosen where it is a menu."""
    some = {MENU: ["1"], USER_MENU: [str(here.people["bob"].id)]}
    shown = "alone v2" if custom_id.startswith("settings") else "alone"
    return await here.press(who, custom_id, kind, some.get(kind, []), shown=shown)


def _typed(sheet: Any) -> list[dict[str, Any]]:
    """What a form would take in each of its fields."""
    texts = {"credits": "20", "amount": "5", "reason": "just so", "until": "7d", "expires": "7d"}
    return [
        {"type": about["type"], "custom_id": name, "value": texts.get(name, "1")}
        for name, about in sheet.fields.items()
        if about["type"] == 4
    ]


async def test_a_manager_of_another_server_moves_nothing_here(here: Population) -> None:
    """Whatever server the ids are of, what is done is done in the presser's own."""
    one, two = str(here.one.id), str(here.two.id)
    before = [line for line in kept(here, but=two) if one in line]
    for custom_id, kind in _managers_ids(here):
        judge(here, await _press(here, "nora", custom_id, kind))
    for sheet in here.sheets:
        judge(here, await here.send_form("nora", sheet.custom_id, _typed(sheet), shown="alone v2"))
    for leaf in here.leaves():
        if leaf.path.startswith("quota"):
            judge(here, await here.command("nora", leaf.path, _filled(here, leaf)))
    assert [line for line in kept(here, but=two) if one in line] == before


# --- ids that were made up ------------------------------------------------------------------------

FORGED = (
    *("song:cancel:", "song:cancel:x", "song:cancel:-1", "song:cancel:\u0663", "song:cancel:1 "),
    *(f"song:cancel:{'9' * 19}", "song:cancel:8" + "9" * 18, "song:cancel:0", "song:get:1\n"),
    *("song:stop:1", "SONG:CANCEL:1", "song:cancel:1:2", "song", ":", "::::", "queue:cancel:1"),
    *("history:1:-1", f"history:1:{'9' * 7}", f"history:{'9' * 19}:1", "history:0:0", "lyrics:"),
    *("song:cancel:1 OR 1=1", "song:cancel:1'; DROP TABLE songs; --", "song:get:../../songs.db"),
    *("song:refresh:%00", "song:refresh:{0.__class__}", "\x1b[2J", "\ud800", "x" * 100, "\u202e"),
    *(
        "settings:act:__init__:0:more:1",
        "settings:act:pause:0:nowhere:1",
        "settings:form:x:0:more:1",
    ),
    *("settings:tab:more:99999999999999999999", "quota:reset:all:1", "quota:reset:everything:0"),
    *("changes:page:0", "changes:page:9999999", "changes:undo:1", "settings:member:1"),
)


def is_component(custom_id: str) -> bool:
    return any(template_of(component).fullmatch(custom_id) for component in COMPONENTS)


async def test_an_id_that_was_made_up_does_nothing(here: Population) -> None:
    """Answered once each, in words that only who pressed it sees; even where a manager does."""
    before = kept(here)
    cases = itertools.product(("alice", "mona", "stranger"), FORGED, ("alone", "all"))
    for who, custom_id, shown in cases:
        # Discord itself says what was pressed: what is a button here comes as one.
        for kind in (BUTTON,) if is_component(custom_id) else (BUTTON, MENU):
            values = [custom_id] if kind == MENU else []
            judge(here, await here.press(who, custom_id, kind, values, shown=shown))
        judge(here, await here.send_form(who, custom_id, [], shown=shown))
    for who, menu, value in itertools.product(
        ("alice", "mona", "stranger"), ("queue:cancel", "history:open", "changes:undo"), FORGED
    ):
        judge(here, await here.press(who, menu, MENU, [value], shown="alone"))
    assert kept(here) == before
    answered = [json.loads(text) for text in here.bot.door.said]
    assert all(_is_private(answer) for answer in answered)


def _is_private(answer: Any) -> bool:
    """An answer that only one person sees, an edit of one, or a deferral of either."""
    if not isinstance(answer, dict) or answer.get("type") != 4:
        return True
    return bool(answer["data"].get("flags", 0) & 64)
