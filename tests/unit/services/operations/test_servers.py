"""Servers that the bot joins and leaves."""

import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from db import ledger, songs
from db import servers as server_rows
from db.database import Database
from db.errors import DiskFullError
from db.records import Reason, Song, State, Status
from services.calendar import Every
from services.credits.credits import Credits
from services.operations.servers import (
    NOTIFIED_WITHIN,
    RETENTION,
    Servers,
    Shard,
)
from services.settings.catalogue import ALLOWANCE, BLOCK, CALENDAR, ROLE_ALLOWANCE
from services.settings.server_settings import Manager
from services.settings.settings import Block, Member
from services.songs.completion import SongCompletion
from tests.factories import (
    MEMBER,
    NOON,
    SERVER,
    SettableClock,
    add_held_song,
    make_giving,
    make_server_settings,
)
from tests.unit.services.operations.conftest import FakeOperator

OTHER = SERVER + 1
ALL = Shard(0, 1)


@pytest.fixture
def completion(database: Database, credits: Credits, clock: SettableClock) -> SongCompletion:
    return SongCompletion(database, credits, clock=clock)


@pytest.fixture
def servers(
    database: Database, completion: SongCompletion, operator: FakeOperator, clock: SettableClock
) -> Servers:
    return Servers(database, completion, operator, clock=clock)


async def read(database: Database, song_id: int) -> Song:
    song = await songs.get(database.reader, song_id)
    assert song is not None
    return song


async def test_greeting_is_due_once(servers: Servers) -> None:
    assert await servers.join(SERVER, "Synths")
    assert not await servers.join(SERVER, "Synths")
    await servers.leave(SERVER)
    assert not await servers.join(SERVER, "Synths")
    assert await servers.join(OTHER, "Strings")


async def test_leaving_cancels_waiting_songs_only(
    servers: Servers, database: Database, credits: Credits, completion: SongCompletion
) -> None:
    await servers.join(SERVER, "Synths")
    await add_held_song(database, credits, 1)
    running = await add_held_song(database, credits, 2, state=State.POSTING)
    await add_held_song(database, credits, 3, server_id=OTHER)
    await servers.leave(SERVER)
    assert (await read(database, 1)).status is Status.CANCELLED
    assert await songs.price_of_unfinished(database.reader, SERVER, MEMBER) == running.price
    assert await completion.mark_undelivered(running, Reason.CHANNEL_GONE)
    assert (await read(database, 3)).state is State.WAITING
    assert set(await server_rows.names_present(database.reader)) == {OTHER}


async def test_song_that_waits_again_during_the_leave_is_cancelled(
    servers: Servers, database: Database, credits: Credits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its submit was refused between the query of waiting songs and the mark of the server."""
    await servers.join(SERVER, "Synths")
    await add_held_song(database, credits, 1)
    song = await add_held_song(database, credits, 2, state=State.SUBMITTING)
    cancel = SongCompletion.cancel

    async def cancel_late(self: SongCompletion, waiting: Song) -> bool:
        async with database.write() as connection:
            await songs.unmark_submitting(connection, song.song_id, at=NOON)
        return await cancel(self, waiting)

    monkeypatch.setattr(SongCompletion, "cancel", cancel_late)
    assert [found.song_id for found in await servers.leave(SERVER)] == [1, 2]
    for song_id in (1, 2):
        assert (await read(database, song_id)).status is Status.CANCELLED
    assert (await credits.balance(Member(SERVER, MEMBER))).free == 10


async def test_leaving_twice_does_not_prolong_retention(
    servers: Servers, database: Database, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await servers.join(SERVER, "Synths")
    await servers.leave(SERVER)
    clock.advance(days=20)
    await servers.leave(SERVER)
    await servers.leave(404)
    server = await server_rows.get_server(database.reader, SERVER)
    assert server is not None
    assert server.left_at == NOON
    assert await server_rows.get_server(database.reader, 404) is None
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"joined server {SERVER}", f"left server {SERVER}"]


async def test_server_gone_during_an_absence_is_left(
    servers: Servers, database: Database, credits: Credits
) -> None:
    for server_id in (SERVER, OTHER):
        await servers.join(server_id, "Synths")
        await add_held_song(database, credits, server_id, server_id=server_id, number=1)
    (cancelled,) = await servers.reconcile(ALL, {OTHER})
    assert cancelled.song_id == SERVER
    assert (await read(database, SERVER)).status is Status.CANCELLED
    assert (await read(database, OTHER)).state is State.WAITING
    assert set(await server_rows.names_present(database.reader)) == {OTHER}


async def test_shard_leaves_only_its_own_servers(servers: Servers, database: Database) -> None:
    theirs = {shard << 22 | n: Shard(shard, 2) for shard in (0, 1) for n in (1, 2)}
    for server_id, shard in theirs.items():
        await servers.join(server_id, "Synths")
        assert shard.serves(server_id)
        assert not Shard(1 - shard.number, 2).serves(server_id)
    await servers.reconcile(Shard(1, 2), {1 << 22 | 2})
    assert set(await server_rows.names_present(database.reader)) == set(theirs) - {1 << 22 | 1}


async def test_interrupted_leave_is_repeated(
    servers: Servers, database: Database, credits: Credits, monkeypatch: pytest.MonkeyPatch
) -> None:
    await servers.join(SERVER, "Synths")
    for song_id in (1, 2):
        await add_held_song(database, credits, song_id)
    cancel = SongCompletion.cancel

    async def cut_short(self: SongCompletion, song: Song) -> bool:
        if song.song_id == 2:
            raise OSError("killed")
        return await cancel(self, song)

    with monkeypatch.context() as patch:
        patch.setattr(SongCompletion, "cancel", cut_short)
        with pytest.raises(OSError, match="killed"):
            await servers.leave(SERVER)
    await servers.reconcile(ALL, set())
    assert [(await read(database, song_id)).status for song_id in (1, 2)] == ["CANCELLED"] * 2
    assert (await credits.balance(Member(SERVER, MEMBER))).free == 10


async def grant(database: Database, credits: Credits) -> None:
    await make_giving(database, credits).grant(
        Member(SERVER, MEMBER),
        grant_id=5,
        actor_id=6,
        amount=3,
        reason="Anna sang so well.",
    )


async def texts(database: Database) -> tuple[str, str, list[str | None]]:
    song = await read(database, 1)
    entries = await ledger.latest(database.reader, Member(SERVER, MEMBER), limit=10)
    return song.genres, song.lyrics, [e.reason for e in entries if e.kind == "grant"]


async def test_texts_and_settings_are_deleted_after_thirty_days_and_the_ledger_stays(
    servers: Servers, database: Database, credits: Credits, clock: SettableClock
) -> None:
    await servers.join(SERVER, "Synths")
    await make_server_settings(database, credits).set(Manager(SERVER, 1), ALLOWANCE, 50)
    await grant(database, credits)
    await add_held_song(database, credits, 1)
    await servers.leave(SERVER)
    before = await texts(database)
    entries = await ledger.latest(database.reader, Member(SERVER, MEMBER), limit=10)

    clock.now += RETENTION
    await servers.forget_old()
    assert await texts(database) == before
    assert (await credits.settings(SERVER)).allowance.credits == 50

    clock.now += timedelta(milliseconds=1)
    for _ in range(2):
        await servers.forget_old()
        assert await texts(database) == ("", "", [None])
        assert (await credits.settings(SERVER)).allowance.credits == 10
    after = await ledger.latest(database.reader, Member(SERVER, MEMBER), limit=10)
    assert [(e.entry_id, e.amount) for e in after] == [(e.entry_id, e.amount) for e in entries]
    assert (await read(database, 1)).price == 2
    assert await servers.join(SERVER, "Synths")  # like one that was never seen


async def test_server_joined_again_in_time_keeps_its_data(
    servers: Servers, database: Database, credits: Credits, clock: SettableClock
) -> None:
    await servers.join(SERVER, "Synths")
    await make_server_settings(database, credits).set(Manager(SERVER, 1), ALLOWANCE, 50)
    await grant(database, credits)
    await add_held_song(database, credits, 1)
    await servers.leave(SERVER)
    before = await texts(database)
    clock.advance(days=29)
    await servers.join(SERVER, "Synths")
    clock.advance(days=29)
    await servers.forget_old()
    assert await texts(database) == before
    assert (await credits.settings(SERVER)).allowance.credits == 50


async def test_server_joined_again_during_the_deletion_keeps_its_data(
    servers: Servers,
    database: Database,
    credits: Credits,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await servers.join(SERVER, "Synths")
    await make_server_settings(database, credits).set(Manager(SERVER, 1), ALLOWANCE, 50)
    await servers.leave(SERVER)
    clock.advance(days=31)
    old = server_rows.servers_left_before

    async def and_then(*arguments: object) -> list[int]:
        found = await old(*arguments)  # type: ignore[arg-type]
        await servers.join(SERVER, "Synths")
        return found

    monkeypatch.setattr(server_rows, "servers_left_before", and_then)
    await servers.forget_old()
    assert (await credits.settings(SERVER)).allowance.credits == 50


# --- What a server is called, and what it has decided ---------------------------------------------


async def test_last_name_of_a_server_is_stored(servers: Servers, database: Database) -> None:
    await servers.join(SERVER, "Synths")
    await servers.join(OTHER, "Strings")
    await servers.rename(SERVER, "Synths & Sons")
    await servers.rename(404, "Nobody's")
    names = {SERVER: "Synths & Sons", OTHER: "Strings"}
    assert await server_rows.names_present(database.reader) == names
    # Renamed while the bot was away; the other is unavailable for now.
    await servers.note_names(ALL, {SERVER: "Drums"})
    assert await server_rows.names_present(database.reader) == names | {SERVER: "Drums"}


async def test_all_decisions_of_a_server_are_deleted_with_it(
    servers: Servers, database: Database, credits: Credits, clock: SettableClock
) -> None:
    server_settings, transfers = (
        make_server_settings(database, credits),
        make_giving(database, credits),
    )
    for server_id in (SERVER, OTHER):
        by = Manager(server_id, 1)
        await servers.join(server_id, "Synths")
        first = await server_settings.set(by, ROLE_ALLOWANCE, 20, 7)
        assert first is not None
        await server_settings.update(by, CALENDAR, lambda c: replace(c, every=Every.WEEK))
        await server_settings.set(by, BLOCK, Block("Far too loud."), MEMBER)
        await server_settings.undo(by, first.number)
        await transfers.role_grant(
            by, 7, role_grant_id=server_id, kind="grant", amount=5, reason="For all."
        )
    await servers.leave(SERVER)
    clock.now += RETENTION + timedelta(milliseconds=1)
    await servers.forget_old()

    async def left(table: str) -> set[int]:
        found = await database.reader.execute_fetchall(f"SELECT server_id FROM {table}")
        return {row[0] for row in found}

    for table in ("settings", "calendars", "changes", "role_grants"):
        assert await left(table) == {OTHER}, table
    server = await server_rows.get_server(database.reader, SERVER)
    assert server is not None
    assert server.name is None


# --- the operator is notified of new servers ------------------------------------------------------


async def test_the_operator_is_notified_of_each_join_once(
    servers: Servers, operator: FakeOperator
) -> None:
    await servers.join(SERVER, "Synths")
    for _ in range(2):
        await servers.notify_operator()
    assert operator.received == ["allowed: Synths"]
    await servers.join(SERVER, "Synths")  # the gateway says it again
    await servers.notify_operator()
    assert len(operator.received) == 1
    await servers.leave(SERVER)
    await servers.join(SERVER, "Synthesisers")
    await servers.notify_operator()
    assert operator.received[1:] == ["allowed: Synthesisers"]


async def test_message_is_sent_once_while_the_disk_is_full(
    servers: Servers, operator: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round comes each minute, and a disk may be full for hours."""

    async def no_room(*_: object) -> bool:
        raise DiskFullError(Path("songs.db"))

    await servers.join(SERVER, "Synths")
    with monkeypatch.context() as patch:
        patch.setattr(server_rows, "mark_notified", no_room)
        for _ in range(2):
            with pytest.raises(DiskFullError):
                await servers.notify_operator()
    for _ in range(2):
        await servers.notify_operator()
    assert len(operator.received) == 1
    await servers.leave(SERVER)
    await servers.join(SERVER, "Synths")
    await servers.notify_operator()
    assert len(operator.received) == 2


async def test_unsent_message_is_retried_for_a_day(
    servers: Servers, operator: FakeOperator, clock: SettableClock
) -> None:
    operator.reachable = False
    await servers.join(SERVER, "Synths")
    await servers.notify_operator()
    operator.reachable = True
    clock.now += NOTIFIED_WITHIN
    await servers.notify_operator()
    assert len(operator.received) == 1
    operator.reachable = False
    await servers.join(OTHER, "Strings")
    clock.now += NOTIFIED_WITHIN + timedelta(milliseconds=1)
    operator.reachable = True
    await servers.notify_operator()
    assert len(operator.received) == 1


async def test_servers_joined_while_the_bot_was_away_are_in_one_notice(
    servers: Servers, operator: FakeOperator
) -> None:
    other = Shard(1, 2)
    # The first start: whoever starts it knows. The shards come one after the other.
    for shard, server_id in ((Shard(0, 2), SERVER), (other, OTHER)):
        await servers.reconcile(shard, set())
        await servers.note_names(shard, {server_id: "Synths"})
    await servers.notify_operator()
    assert operator.received == []
    away = {404 + n: f"New {n}" for n in range(3)}
    await servers.note_names(other, {OTHER: "Synths", **away})
    await servers.notify_operator()
    assert operator.received == ["allowed: New 0, New 1, New 2"]


async def test_message_says_that_songs_are_refused(
    database: Database, completion: SongCompletion, operator: FakeOperator, clock: SettableClock
) -> None:
    servers = Servers(database, completion, operator, clock=clock, allowed=frozenset({SERVER}))
    assert (servers.allows(SERVER), servers.allows(OTHER)) == (True, False)
    await servers.join(OTHER, "Strings")
    await servers.join(SERVER, "Synths")
    await servers.notify_operator()
    assert operator.received == ["allowed: Synths", "refused: Strings"]
