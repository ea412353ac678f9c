"""People try what they may not do: others' songs, managers' commands, ids that they made up."""

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
from tests.security.population import (
    BUTTON,
    MENU,
    USER_MENU,
    Leaf,
    OpenForm,
    Population,
    option,
    population,
)
from tests.wire import Interaction
from tests.wire.interactions import BOOLEAN, CHANNEL, INTEGER, ROLE, STRING, USER

SECRETS = ("hushed waltz", "whispered")
"""The genres and lyrics of alice's songs."""
MEMBERS = ("alice", "bob", "stranger")
FOR_MANAGERS = "Only those with the Manage Server permission can do this."


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
                (SECRETS[0], f"[verse]\n{SECRETS[1]}", here.people["alice"].id),
            )
        here.bot.session.sent.clear()
        yield here


def dump(here: Population, *, without: str | None = None) -> list[str]:
    """Return all that the database holds, a line for each row."""
    path = here.bot.application.config.database_path
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if not without or without not in line]


def songs_of_alice(here: Population, where: str = "1") -> list[int]:
    path = here.bot.application.config.database_path
    statement = f"SELECT song_id FROM songs WHERE member_id = ? AND {where}"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(statement, (here.people["alice"].id,))]


def secrets_sent(here: Population) -> list[str]:
    return [text for text in here.bot.session.sent if any(word in text for word in SECRETS)]


def check(here: Population, *interactions: Interaction) -> None:
    """Each was answered, by nothing that Discord refuses, and nothing went wrong."""
    assert here.bot.log.errors == []
    assert here.bot.session.refused == []
    assert all(interaction.callback is not None for interaction in interactions)


# --- others' songs --------------------------------------------------------------------------------


async def test_nobody_else_controls_a_members_song(here: Population) -> None:
    before = dump(here)
    verbs, people = ("cancel", "refresh", "get"), ("bob", "mona", "olga", "stranger", "nora")
    for song, verb, who in itertools.product(songs_of_alice(here), verbs, people):
        check(here, await here.press(who, f"song:{verb}:{song}", BUTTON, [], shown="alone"))
    for song, who in itertools.product(songs_of_alice(here), ("bob", "stranger", "nora")):
        check(here, await here.press(who, "queue:cancel", MENU, [str(song)], shown="alone"))
    assert dump(here) == before
    assert secrets_sent(here) == []


async def test_lyrics_are_shown_to_nobody_else(here: Population) -> None:
    """Until a song is posted, to its member and the managers; in another server, to nobody."""
    closed = songs_of_alice(here, "post_id IS NULL")
    assert closed != songs_of_alice(here)
    alice = str(here.people["alice"].id)
    for who, songs in (("bob", closed), ("stranger", songs_of_alice(here))):
        for song in songs:
            check(here, await here.press(who, "history:open", MENU, [str(song)], shown="alone"))
        if who == "bob":  # everybody who sees the channel may read the song that is posted
            async with here.bot.database.write() as connection:
                await connection.execute(
                    "UPDATE songs SET genres = 'funk', lyrics = '' WHERE post_id IS NOT NULL"
                )
        check(
            here,
            await here.command(who, "queue", []),
            await here.command(who, "history", [option("member", USER, alice)]),
            await here.press(who, f"history:{alice}:1", BUTTON, [], shown="alone"),
            *[
                await here.command(who, "show", [option("song", STRING, str(number))])
                for number in range(1, 9)
            ],
        )
    assert secrets_sent(here) == []
    # The same requests show them to their member.
    for song in closed:
        check(here, await here.press("alice", "history:open", MENU, [str(song)], shown="alone"))
    assert secrets_sent(here)


async def test_drafts_of_others_are_not_used(here: Population) -> None:
    """A form's other options are stored under its number, which is no secret."""
    before = dump(here)
    lyrics = [{"type": 4, "custom_id": "lyrics", "value": "la la"}]
    for draft, who in itertools.product(here.drafts, ("bob", "stranger", "nora")):
        check(here, await here.send_form(who, f"lyrics:{draft}", lyrics, shown="command"))
    assert dump(here) == before


# --- what is for managers -------------------------------------------------------------------------


def _filled(here: Population, leaf: Leaf) -> list[dict[str, Any]]:
    """Every option of a command, with a value that it would accept."""
    by_name: Mapping[str, Any] = {
        "reason": "just so",
        **dict.fromkeys(("until", "expires", "ends"), "7d"),
        "since": "2026-01-01",
        "zone": "UTC",
        "add": "word",
        "remove": "ugly",
        "server": str(here.one.id),
    }
    by_kind: Mapping[int, Any] = {
        INTEGER: 20,
        BOOLEAN: True,
        USER: str(here.people["bob"].id),
        CHANNEL: str(here.channels["log"].id),
        ROLE: str(here.roles["patrons"]),
    }
    return [
        option(
            about["name"],
            about["type"],
            next((choice["value"] for choice in about.get("choices") or ()), None)
            or by_kind.get(about["type"], by_name.get(about["name"], "1")),
        )
        for about in leaf.options
    ]


async def test_managers_commands_do_nothing_for_members(here: Population) -> None:
    """Discord's own check can be changed in a server's settings: the bot does not rely on it."""
    before = dump(here)
    tried = 0
    # Who manages a server is no operator either.
    callers = {"quota": MEMBERS, "operator": (*MEMBERS, "mona", "nora")}
    for leaf in here.leaves():
        filled = _filled(here, leaf)
        subsets = [filled, *([one] for one in filled), []]
        for who, options in itertools.product(callers.get(leaf.path.split()[0], ()), subsets):
            check(here, await here.command(who, leaf.path, options))
            tried += 1
    assert tried > 200
    assert dump(here) == before


def _managers_ids(here: Population) -> list[tuple[str, int]]:
    """Return the id of every button and menu that managers are shown, and its kind."""
    subjects = [0, here.people["bob"].id, here.roles["patrons"]]
    buttons = [
        *(f"settings:act:{act}:{key}:{one}:more:1" for act, key in ACTS for one in subjects),
        *(f"settings:form:{form}:{one}:more:1" for form in FORMS for one in subjects),
        *(f"settings:tab:{page}:1" for page in ("credits", "roles", "members", "limits", "more")),
        "settings:turn:members:2",
        *(
            f"quota:reset:{what}:{draft}"
            for what in ("granted credits", "settings", "everything")
            for draft in here.drafts
        ),
        "changes:page:1",
    ]
    menus = [("changes:undo", MENU), ("settings:member", USER_MENU)]
    return [*((custom_id, BUTTON) for custom_id in buttons), *menus]


async def _press(here: Population, who: str, custom_id: str, kind: int) -> Interaction:
    """Press one of `_managers_ids`, with something chosen where it is a menu."""
    values = {MENU: ["1"], USER_MENU: [str(here.people["bob"].id)]}.get(kind, [])
    shown = "alone v2" if custom_id.startswith("settings") else "alone"
    pressed = await here.press(who, custom_id, kind, values, shown=shown)
    check(here, pressed)
    return pressed


async def _send(here: Population, who: str, form: OpenForm) -> None:
    """Send a form with what it would accept in each of its fields."""
    texts = {"credits": "20", "amount": "5", "reason": "just so", "until": "7d", "expires": "7d"}
    fields = [
        {"type": about["type"], "custom_id": name, "value": texts.get(name, "1")}
        for name, about in form.fields.items()
        if about["type"] == 4
    ]
    check(here, await here.send_form(who, form.custom_id, fields, shown="alone v2"))


async def test_managers_old_buttons_do_nothing_for_members(here: Population) -> None:
    before, sent = dump(here), here.bot.session.sent
    for who, (custom_id, kind) in itertools.product(MEMBERS, _managers_ids(here)):
        assert (await _press(here, who, custom_id, kind)).modal is None, custom_id
    assert all(FOR_MANAGERS in text for text in sent)
    for who, form in itertools.product(MEMBERS, here.forms):
        if not form.custom_id.startswith("lyrics"):
            await _send(here, who, form)
    assert dump(here) == before

    # Each of them is an id of today: it does something for a manager.
    sent.clear()
    effective = set()
    for custom_id, kind in _managers_ids(here):
        before = dump(here)
        pressed = await _press(here, "mona", custom_id, kind)
        if dump(here) != before or pressed.modal is not None:
            effective.add(":".join(custom_id.split(":")[:2]))
    assert not any(FOR_MANAGERS in text for text in sent)
    assert effective >= {"settings:act", "settings:form", "settings:member", "quota:reset"}


async def test_managers_of_another_server_change_nothing_here(here: Population) -> None:
    """Whatever server the ids are of, what is done is done in the presser's own."""
    one, two = str(here.one.id), str(here.two.id)
    before = [line for line in dump(here, without=two) if one in line]
    for custom_id, kind in _managers_ids(here):
        await _press(here, "nora", custom_id, kind)
    for form in here.forms:
        await _send(here, "nora", form)
    for leaf in here.leaves():
        if leaf.path.startswith("quota"):
            check(here, await here.command("nora", leaf.path, _filled(here, leaf)))
    assert [line for line in dump(here, without=two) if one in line] == before


# --- ids that were made up ------------------------------------------------------------------------

FORGED = (
    *("song:cancel:", "song:cancel:x", "song:cancel:-1", "song:cancel:\u0663", "song:cancel:1 "),
    *(f"song:cancel:{'9' * 19}", "song:cancel:8" + "9" * 18, "song:cancel:0", "song:get:1\n"),
    *("song:stop:1", "SONG:CANCEL:1", "song:cancel:1:2", "song", ":", "::::", "queue:cancel:1"),
    *("history:1:-1", f"history:1:{'9' * 7}", f"history:{'9' * 19}:1", "history:0:0", "lyrics:"),
    *("song:cancel:1 OR 1=1", "song:cancel:1'; DROP TABLE songs; --", "song:get:../../songs.db"),
    *("song:refresh:%00", "song:refresh:{0.__class__}", "\x1b[2J", "\ud800", "x" * 100, "\u202e"),
    *("settings:act:__init__:0:more:1", "settings:act:pause:0:nowhere:1"),
    *("settings:form:x:0:more:1", "settings:tab:more:99999999999999999999", "settings:member:1"),
    *("quota:reset:all:1", "quota:reset:everything:0", "changes:undo:1", "changes:page:0"),
    "changes:page:9999999",
)


async def test_made_up_ids_do_nothing(here: Population) -> None:
    """Each is answered once, in a message that only who pressed it sees; also for a manager."""
    before = dump(here)
    people = ("alice", "mona", "stranger")
    for who, custom_id, shown in itertools.product(people, FORGED, ("alone", "all")):
        # Discord itself says what was pressed: what is a button here comes as one.
        known = any(template_of(component).fullmatch(custom_id) for component in COMPONENTS)
        for kind in (BUTTON,) if known else (BUTTON, MENU):
            values = [custom_id] if kind == MENU else []
            check(here, await here.press(who, custom_id, kind, values, shown=shown))
        check(here, await here.send_form(who, custom_id, [], shown=shown))
    menus = ("queue:cancel", "history:open", "changes:undo")
    for who, menu, value in itertools.product(people, menus, FORGED):
        check(here, await here.press(who, menu, MENU, [value], shown="alone"))
    assert dump(here) == before
    assert all(_is_private(json.loads(text)) for text in here.bot.session.sent)


def _is_private(answer: Any) -> bool:
    """Return whether only one person sees it: ephemeral, an edit of such, or a deferral."""
    if not isinstance(answer, dict) or answer.get("type") != 4:
        return True
    return bool(answer["data"].get("flags", 0) & 64)
