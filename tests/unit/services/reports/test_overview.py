"""Every server with its use."""

from dataclasses import replace

from db import servers
from db.database import Database
from db.records import Reason, State
from services.credits.budgets import OperatorBudgets
from services.credits.credits import Credits
from services.reports.overview import Overview, as_lines, as_table
from services.settings.catalogue import BUDGET
from services.settings.server_settings import Manager
from services.songs.completion import SongCompletion
from tests.factories import SERVER, SettableClock, add_held_song, add_song, make_server_settings


async def test_servers_are_listed_with_their_usage(
    database: Database, credits: Credits, clock: SettableClock
) -> None:
    overview = Overview(database, credits._settings_reader, clock=clock)
    budgets = OperatorBudgets(database, clock=clock)
    await make_server_settings(database, credits).set(Manager(SERVER, 1), BUDGET, 50)
    song = await add_held_song(database, credits, 1, price=8)
    await add_song(database, 2, server_id=SERVER + 1)
    async with database.write() as connection:
        assert await budgets.mark_submitting(connection, song)
        await servers.set_name(connection, SERVER, "One\x1b[31m")
        await servers.mark_left(connection, SERVER + 1, at=clock())
    one, two = await overview.servers()
    assert (one.server.server_id, one.used, one.budget) == (SERVER, 8, 50)
    assert (one.today.songs, one.today.credits, one.server.members) == (1, 8, 1)
    assert (two.today.songs, two.used, two.budget) == (0, 0, None)
    await SongCompletion(database, credits, clock=clock).fail(replace(song), Reason.MODEL_FAILED)
    one, _ = await overview.servers()
    assert (one.used, one.today.songs) == (0, 1), "the operator paid for it all the same"


async def test_table_is_safe_in_a_terminal(
    database: Database, credits: Credits, clock: SettableClock
) -> None:
    overview = Overview(database, credits._settings_reader, clock=clock)
    assert as_table(await overview.servers()).startswith("server  name")
    await make_server_settings(database, credits).set(Manager(SERVER, 1), BUDGET, 50)
    async with database.write() as connection:
        await servers.set_name(connection, SERVER, "One\x1b[31m\nTwo")
        await servers.mark_left(connection, SERVER, at=clock())
    table = as_table(await overview.servers())
    assert "\x1b" not in table
    heading, line = table.splitlines()
    assert "0 of 50 until 2026-03-15 00:00 UTC" in line
    assert line.endswith("left 2026-03-14")
    assert heading.index("members") == line.index("0      ")


async def test_undelivered_songs_are_counted_by_reason(
    database: Database, credits: Credits, clock: SettableClock
) -> None:
    overview = Overview(database, credits._settings_reader, clock=clock)
    assert await overview.undelivered() == []
    completion = SongCompletion(database, credits, clock=clock)
    for song_id, server_id in ((1, SERVER), (2, SERVER + 1), (3, SERVER)):
        song = await add_held_song(
            database, credits, song_id, server_id=server_id, price=1, state=State.POSTING
        )
        reason = Reason.CHANNEL_GONE if song_id < 3 else Reason.NO_PERMISSION
        assert await completion.mark_undelivered(song, reason)
        clock.advance(hours=1)
    assert as_lines(await overview.undelivered()).splitlines() == [
        "Could not be posted yet: 3",
        "  2 since 2026-03-14 12:00 UTC: channel_gone",
        "  1 since 2026-03-14 14:00 UTC: no_permission",
    ]
    assert await completion.hand_over(song)
    assert [each.songs for each in await overview.undelivered()] == [2]
