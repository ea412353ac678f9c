"""Songs and their fair order. Each function is one statement; none commits.

A song moves only by an UPDATE that is guarded by the table of transitions (`song_transitions`, in
the schema), or by one state. The functions that move one return whether it was there: False is an
answer, not an accident. A trigger writes each move to `song_events`.
"""

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from db.connection import Connection
from db.records import (
    Fault,
    Reason,
    RunTime,
    Song,
    SongEvent,
    State,
    Undelivered,
    from_ms,
    maybe_from_ms,
    maybe_to_ms,
    to_ms,
)

Values = Sequence[object] | Mapping[str, object]


async def insert(connection: Connection, song: Song) -> bool:
    """Write a new song, waiting. False if its interaction has one already."""
    sql = """
        INSERT INTO songs (song_id, server_id, member_id, channel_id, origin_id, parent_id, number,
                           genres, lyrics, seconds, steps, cfg, shift, lyrics_strength, seed,
                           provider, price, state_at, requested_at, application_id, message_id,
                           token, token_until)
        VALUES (:song_id, :server_id, :member_id, :channel_id, :origin_id, :parent_id, :number,
                :genres, :lyrics, :seconds, :steps, :cfg, :shift, :lyrics_strength, :seed,
                :provider, :price, :state_at, :requested_at, :application_id, :message_id,
                :token, :token_until)
        ON CONFLICT (song_id) DO NOTHING
    """
    return await _moved(
        connection,
        sql,
        {
            **dataclasses.asdict(song),
            "state_at": to_ms(song.state_at),
            "requested_at": to_ms(song.requested_at),
            "token_until": maybe_to_ms(song.token_until),
        },
    )


async def move_to_origin(connection: Connection, song_id: int) -> bool:
    """Let a song be posted where it was requested. Return False if it is already."""
    sql = """
        UPDATE songs SET channel_id = origin_id, origin_id = NULL
        WHERE song_id = ? AND origin_id IS NOT NULL AND post_id IS NULL
    """
    return await _moved(connection, sql, (song_id,))


async def get(connection: Connection, song_id: int) -> Song | None:
    """Return one song."""
    rows = await connection.execute_fetchall("SELECT * FROM songs WHERE song_id = ?", (song_id,))
    return next(map(_song, rows), None)


async def by_number(connection: Connection, server_id: int, number: int) -> Song | None:
    """Return a server's song by what people call it."""
    rows = await connection.execute_fetchall(
        "SELECT * FROM songs WHERE server_id = ? AND number = ?", (server_id, number)
    )
    return next(map(_song, rows), None)


async def unfinished(connection: Connection) -> list[Song]:
    """Return the songs whose work has begun and not ended, oldest submit first."""
    sql = """
        SELECT * FROM songs WHERE ended_at IS NULL AND state <> 'waiting'
        ORDER BY submitted_at, song_id
    """
    return await _songs(connection, sql)


async def count_unfinished(connection: Connection, server_id: int, member_id: int) -> int:
    """Count a member's songs that wait or run in a server."""
    sql = """
        SELECT count(*) AS n FROM songs
        WHERE server_id = ? AND member_id = ? AND ended_at IS NULL
    """
    return await _number(connection, sql, (server_id, member_id))


async def count_unfinished_elsewhere(connection: Connection, server_id: int, member_id: int) -> int:
    """Count a member's songs that wait or run in all servers but this one."""
    sql = """
        SELECT count(*) AS n FROM songs
        WHERE member_id = ? AND server_id <> ? AND ended_at IS NULL
    """
    return await _number(connection, sql, (member_id, server_id))


async def price_of_unfinished(connection: Connection, server_id: int, member_id: int) -> int:
    """Sum the prices of a member's songs that wait or run in a server."""
    sql = """
        SELECT coalesce(sum(price), 0) AS total FROM songs
        WHERE server_id = ? AND member_id = ? AND ended_at IS NULL
    """
    return await _number(connection, sql, (server_id, member_id))


async def last_requested(connection: Connection, server_id: int, member_id: int) -> datetime | None:
    """Return when a member requested their newest song that was not refunded; None if never.

    Only the newest ten count: after ten refunds there is no cooldown.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT max(requested_at) AS newest FROM (
            SELECT requested_at, state FROM songs WHERE server_id = ? AND member_id = ?
            ORDER BY song_id DESC LIMIT 10
        ) AS latest WHERE state NOT IN ('failed', 'cancelled')
        """,
        (server_id, member_id),
    )
    return next((maybe_from_ms(row["newest"]) for row in rows), None)


async def requested_in_channel(
    connection: Connection, server_id: int, channel_id: int, *, since: datetime, limit: int
) -> list[datetime]:
    """Return when songs were requested in a channel or its threads after `since`, newest first.

    Those that failed, were cancelled or could not be delivered don't count.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT requested_at FROM songs
        WHERE server_id = :server_id AND requested_at > :since
            AND state NOT IN ('failed', 'cancelled', 'refunded')
            AND coalesce(parent_id, origin_id, channel_id) = :channel_id
        ORDER BY requested_at DESC LIMIT :limit
        """,
        {
            "server_id": server_id,
            "channel_id": channel_id,
            "since": to_ms(since),
            "limit": limit,
        },
    )
    return [from_ms(row["requested_at"]) for row in rows]


async def ends_by_choice(
    connection: Connection, member_id: int, *, since: datetime, until: datetime, limit: int
) -> list[datetime]:
    """Return when songs of a member, in any server, were cancelled by them or failed for what they
    requested; the newest `limit` of them, newest first.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT ended_at FROM songs
        WHERE member_id = ? AND fault IN ('member', 'request') AND ended_at > ? AND ended_at <= ?
        ORDER BY ended_at DESC LIMIT ?
        """,
        (member_id, to_ms(since), to_ms(until), limit),
    )
    return [from_ms(row["ended_at"]) for row in rows]


async def price_of_completed(
    connection: Connection, server_id: int, member_id: int, *, since: datetime
) -> int:
    """Return the sum of the prices of a member's songs since then that were made, less refunds."""
    sql = """
        SELECT coalesce(sum(hold.price), 0) AS total
        FROM ledger AS hold JOIN songs USING (song_id)
        WHERE hold.server_id = ? AND hold.member_id = ? AND hold.at >= ? AND hold.kind = 'hold'
              AND songs.state IN ('undelivered', 'completed')
    """
    return await _number(connection, sql, (server_id, member_id, to_ms(since)))


async def count_waiting(connection: Connection) -> int:
    """Count the songs that wait to be submitted."""
    sql = "SELECT count(*) AS n FROM songs WHERE state = 'waiting'"
    return await _number(connection, sql)


async def unfinished_of_server(connection: Connection, server_id: int) -> list[Song]:
    """Return what runs and waits in a server, oldest first."""
    sql = """
        SELECT * FROM songs WHERE server_id = ? AND ended_at IS NULL
        ORDER BY requested_at, song_id
    """
    return await _songs(connection, sql, (server_id,))


async def of_member(
    connection: Connection, server_id: int, member_id: int, *, limit: int, offset: int
) -> list[Song]:
    """Return a member's songs in a server, newest first."""
    sql = """
        SELECT * FROM songs WHERE server_id = ? AND member_id = ?
        ORDER BY song_id DESC LIMIT ? OFFSET ?
    """
    return await _songs(connection, sql, (server_id, member_id, limit, offset))


async def undelivered_of_member(
    connection: Connection, server_id: int, member_id: int
) -> list[Song]:
    """Return a member's undelivered songs in a server, newest first."""
    sql = """
        SELECT * FROM songs
        WHERE server_id = ? AND member_id = ? AND state = 'undelivered'
        ORDER BY song_id DESC
    """
    return await _songs(connection, sql, (server_id, member_id))


async def count_of_member(connection: Connection, server_id: int, member_id: int) -> int:
    """Count a member's requests in a server."""
    sql = "SELECT count(*) AS n FROM songs WHERE server_id = ? AND member_id = ?"
    return await _number(connection, sql, (server_id, member_id))


async def genres_of_member(
    connection: Connection, server_id: int, member_id: int, *, limit: int
) -> list[str]:
    """Return the genres of a member's newest songs, newest first."""
    rows = await connection.execute_fetchall(
        """
        SELECT genres FROM songs WHERE server_id = ? AND member_id = ?
        ORDER BY song_id DESC LIMIT ?
        """,
        (server_id, member_id, limit),
    )
    return [row["genres"] for row in rows]


async def genres_of_server(connection: Connection, server_id: int, *, limit: int) -> list[str]:
    """Return the genres of a server's newest songs, newest first."""
    rows = await connection.execute_fetchall(
        "SELECT genres FROM songs WHERE server_id = ? ORDER BY number DESC LIMIT ?",
        (server_id, limit),
    )
    return [row["genres"] for row in rows]


async def any_submitted(connection: Connection) -> bool:
    """Return whether the song API was ever called for a song."""
    sql = "SELECT EXISTS (SELECT 1 FROM songs WHERE submits > 0) AS called"
    return bool(await _number(connection, sql))


async def run_times(connection: Connection, *, limit: int) -> list[RunTime]:
    """Return how long the latest songs took at the API, in the order in which they were submitted.

    Without those whose interval a clock set back has turned round.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT seconds, steps, run_low, run_high FROM (
            SELECT seconds, steps, run_low, run_high, submitted_at FROM songs
            WHERE run_high > 0 AND run_low <= run_high AND ended_at IS NOT NULL
            ORDER BY ended_at DESC LIMIT ?
        ) AS latest ORDER BY submitted_at
        """,
        (limit,),
    )
    return [RunTime(r["seconds"], r["steps"], r["run_low"], r["run_high"]) for r in rows]


# --- Fair order ---------------------------------------------------------------------------------
# Next is the server whose last start is longest ago, within it the member likewise, then the oldest
# song. Since every start moves its server and its member to the end, the whole order to come goes
# round by round: each member's first songs before anybody's second, each server's first before any
# server's second. All rounds are in the order of the first one, which the oldest songs decide where
# nobody has started yet.


async def waiting_in_order(connection: Connection) -> list[int]:
    """Return every waiting song's id, in the order in which they will be started."""
    rows = await connection.execute_fetchall(
        """
        WITH of_member AS (
            SELECT song_id, server_id, coalesce(members.last_start_at, 0) AS member_start,
                   row_number() OVER own AS member_round,
                   first_value(requested_at) OVER own AS first_requested,
                   first_value(song_id) OVER own AS first_song
            FROM songs JOIN members USING (server_id, member_id)
            WHERE state = 'waiting'
            WINDOW own AS (PARTITION BY server_id, member_id ORDER BY requested_at, song_id)
        ), of_server AS (
            SELECT song_id, coalesce(servers.last_start_at, 0) AS server_start,
                   row_number() OVER own AS server_round,
                   first_value(first_requested) OVER own AS server_requested,
                   first_value(first_song) OVER own AS server_song
            FROM of_member JOIN servers USING (server_id)
            WINDOW own AS (PARTITION BY server_id
                           ORDER BY member_round, member_start, first_requested, first_song)
        )
        SELECT song_id FROM of_server
        ORDER BY server_round, server_start, server_requested, server_song
        """
    )
    return [row["song_id"] for row in rows]


async def next_waiting(
    connection: Connection, *, day: datetime, all_songs: int | None, each_songs: int | None
) -> Song | None:
    """Return the song to start next of those that the operator's budgets of the day leave room for.

    `all_songs`, `each_songs`: the budgets where `operator_budgets` has no row for that scope.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT songs.* FROM songs
        JOIN servers USING (server_id)
        JOIN members USING (server_id, member_id)
        LEFT JOIN operator_budgets AS of_all ON of_all.scope = 'all' AND of_all.server_id = 0
        LEFT JOIN operator_budgets AS of_each ON of_each.scope = 'each' AND of_each.server_id = 0
        LEFT JOIN operator_budgets AS own
               ON own.scope = 'server' AND own.server_id = songs.server_id
        LEFT JOIN submits AS total ON total.day = :day AND total.server_id = 0
        LEFT JOIN submits AS today ON today.day = :day AND today.server_id = songs.server_id
        WHERE songs.state = 'waiting'
              -- A budget that is NULL is none, and refuses nothing.
              AND (coalesce(total.credits, 0) + songs.price > of_all.credits) IS NOT TRUE
              AND (coalesce(total.songs, 0) + 1 >
                   CASE WHEN of_all.scope IS NULL THEN :all_songs ELSE of_all.songs END) IS NOT TRUE
              AND (coalesce(today.credits, 0) + songs.price >
                   CASE WHEN own.scope IS NULL THEN of_each.credits
                        ELSE own.credits END) IS NOT TRUE
              AND (coalesce(today.songs, 0) + 1 >
                   CASE WHEN own.scope IS NOT NULL THEN own.songs
                        WHEN of_each.scope IS NOT NULL THEN of_each.songs
                        ELSE :each_songs END) IS NOT TRUE
        ORDER BY coalesce(servers.last_start_at, 0), coalesce(members.last_start_at, 0),
                 songs.requested_at, songs.song_id
        LIMIT 1
        """,
        {"day": to_ms(day), "all_songs": all_songs, "each_songs": each_songs},
    )
    return next(map(_song, rows), None)


async def waiting_since_before(connection: Connection, moment: datetime) -> list[Song]:
    """Return the songs that have waited here since before `moment`."""
    sql = "SELECT * FROM songs WHERE state = 'waiting' AND requested_at < ? ORDER BY requested_at"
    return await _songs(connection, sql, (to_ms(moment),))


async def waiting_of_server(connection: Connection, server_id: int) -> list[Song]:
    """Return a server's waiting songs."""
    sql = "SELECT * FROM songs WHERE state = 'waiting' AND server_id = ? ORDER BY requested_at"
    return await _songs(connection, sql, (server_id,))


async def waiting_of_member(connection: Connection, server_id: int, member_id: int) -> list[Song]:
    """Return a member's waiting songs in a server."""
    sql = """
        SELECT * FROM songs WHERE state = 'waiting' AND server_id = ? AND member_id = ?
        ORDER BY requested_at, song_id
    """
    return await _songs(connection, sql, (server_id, member_id))


async def is_unwanted(connection: Connection, song_id: int, *, at: datetime) -> bool:
    """Return whether a song's member is blocked at that moment, or the bot has left its server."""
    sql = """
        SELECT EXISTS (
            SELECT 1 FROM songs JOIN servers USING (server_id)
            WHERE song_id = :song_id AND (left_at IS NOT NULL OR EXISTS (
                SELECT 1 FROM settings
                WHERE settings.server_id = songs.server_id AND name = 'block'
                      AND subject_id = songs.member_id
                      AND coalesce(json_extract(value, '$.until') > :at, TRUE)
            ))
        ) AS n
    """
    return bool(await _number(connection, sql, {"song_id": song_id, "at": to_ms(at)}))


# --- A song's way -------------------------------------------------------------------------------


async def mark_submitting(connection: Connection, song_id: int, *, at: datetime) -> bool:
    """Mark it as being submitted: the attempt is counted before it is made, two at most."""
    sql = """
        UPDATE songs SET state = 'submitting', state_at = :at, submits = submits + 1,
                         counted_at = :at
        WHERE song_id = :song_id AND submits < 2
              AND state IN (SELECT from_state FROM song_transitions WHERE to_state = 'submitting')
    """
    return await _moved(connection, sql, {"song_id": song_id, "at": to_ms(at)})


async def unmark_submitting(
    connection: Connection, song_id: int, *, at: datetime
) -> datetime | None:
    """Let a song wait again whose submit was not accepted; return when that was counted.

    None if it was not counted. A song whose earlier answer was lost may be at
    the API, so that it stays.
    """
    rows = await connection.execute_fetchall(
        """
        UPDATE songs SET state = CASE submits WHEN 1 THEN 'waiting' ELSE 'submitting' END,
                         state_at = ?, submits = submits - 1, processing = 0
        WHERE song_id = ? AND state = 'submitting' AND submits > 0
        RETURNING counted_at
        """,
        (to_ms(at), song_id),
    )
    return next((from_ms(row["counted_at"]) for row in rows), None)


async def mark_submitted(
    connection: Connection, song_id: int, *, request_id: str | None, at: datetime
) -> bool:
    """Note that the API has accepted it."""
    sql = """
        UPDATE songs SET state = 'submitted', state_at = :at, request_id = :request_id,
                         submitted_at = :at
        WHERE song_id = :song_id
              AND state IN (SELECT from_state FROM song_transitions WHERE to_state = 'submitted')
    """
    return await _moved(
        connection, sql, {"song_id": song_id, "request_id": request_id, "at": to_ms(at)}
    )


async def mark_processing(connection: Connection, song_id: int) -> bool:
    """Note that the API is making it. False if that was known."""
    sql = """
        UPDATE songs SET processing = 1
        WHERE song_id = ? AND processing = 0 AND state IN ('submitting', 'submitted')
    """
    return await _moved(connection, sql, (song_id,))


async def mark_downloaded(
    connection: Connection,
    song_id: int,
    *,
    submitted_at: datetime,
    at: datetime,
    run_low: int | None,
    run_high: int | None,
) -> bool:
    """Mark that its audio is in the data folder. `run_low`, `run_high`: see the schema."""
    sql = """
        UPDATE songs SET state = 'downloaded', state_at = :at,
                         submitted_at = coalesce(submitted_at, :submitted_at),
                         run_low = :run_low, run_high = :run_high
        WHERE song_id = :song_id
              AND state IN (SELECT from_state FROM song_transitions WHERE to_state = 'downloaded')
    """
    return await _moved(
        connection,
        sql,
        {
            "song_id": song_id,
            "submitted_at": to_ms(submitted_at),
            "at": to_ms(at),
            "run_low": run_low,
            "run_high": run_high,
        },
    )


async def begin_large_read(connection: Connection, song_id: int) -> bool:
    """Count the reading of its large answer. False if that ended three processes."""
    sql = """
        UPDATE songs SET large_reads = large_reads + 1
        WHERE song_id = ? AND state IN ('submitting', 'submitted') AND large_reads < 3
    """
    return await _moved(connection, sql, (song_id,))


async def end_large_read(connection: Connection, song_id: int) -> bool:
    """Note that the process has outlived it. False if none was begun."""
    sql = "UPDATE songs SET large_reads = large_reads - 1 WHERE song_id = ? AND large_reads > 0"
    return await _moved(connection, sql, (song_id,))


async def mark_ready(connection: Connection, song_id: int, *, file: str, at: datetime) -> bool:
    """Mark that it can be posted. From `posting` too, if Discord refused its size."""
    sql = """
        UPDATE songs SET state = 'ready', state_at = ?, file = ?
        WHERE song_id = ?
              AND state IN (SELECT from_state FROM song_transitions WHERE to_state = 'ready')
    """
    return await _moved(connection, sql, (to_ms(at), file, song_id))


async def mark_posting(connection: Connection, song_id: int, *, at: datetime) -> bool:
    """Mark it as being sent. The first mark's time stays: every post of it is younger."""
    sql = """
        UPDATE songs SET state = 'posting', state_at = :at, posting_at = coalesce(posting_at, :at)
        WHERE song_id = :song_id
              AND state IN (SELECT from_state FROM song_transitions WHERE to_state = 'posting')
    """
    return await _moved(connection, sql, {"song_id": song_id, "at": to_ms(at)})


async def end(
    connection: Connection,
    song_id: int,
    *,
    state: State,
    at: datetime,
    expected: State | None = None,
    reason: Reason | None = None,
    reason_detail: str | None = None,
    post_id: int | None = None,
    in_doubt: bool = False,
    fault: Fault | None = None,
) -> bool:
    """Move it to `state`, in which it is made, failed or cancelled; from `expected`, if given.

    A `reason` stays until the song is posted, its file only while it is undelivered. A post without
    a mark of it, which was found in the channel, was sent at some time after the request. The
    lyrics of a cancelled song go at once.
    """
    sql = """
        UPDATE songs SET state = :state, state_at = :at, ended_at = coalesce(ended_at, :at),
                         reason = CASE WHEN :post_id IS NULL THEN coalesce(:reason, reason) END,
                         reason_detail = CASE WHEN :post_id IS NOT NULL THEN NULL
                                              WHEN :reason IS NULL THEN reason_detail
                                              ELSE :reason_detail END,
                         post_id = :post_id, in_doubt = :in_doubt, fault = :fault,
                         lyrics = CASE :state WHEN 'cancelled' THEN '' ELSE lyrics END,
                         posting_at = CASE WHEN :post_id IS NULL THEN posting_at
                                           ELSE coalesce(posting_at, requested_at) END,
                         file = CASE :state WHEN 'undelivered' THEN file END,
                         next_attempt_at = CASE :state WHEN 'undelivered'
                                           THEN coalesce(next_attempt_at, :at) END
        WHERE song_id = :song_id AND (:expected IS NULL OR state = :expected)
              AND state IN (SELECT from_state FROM song_transitions WHERE to_state = :state)
    """
    return await _moved(
        connection,
        sql,
        {
            "song_id": song_id,
            "state": state,
            "at": to_ms(at),
            "reason": reason,
            "reason_detail": reason_detail,
            "post_id": post_id,
            "in_doubt": in_doubt,
            "fault": fault,
            "expected": expected,
        },
    )


# --- What could not be posted -------------------------------------------------------------------


async def undelivered(connection: Connection) -> list[Song]:
    """Return the undelivered songs, oldest end first."""
    sql = "SELECT * FROM songs WHERE state = 'undelivered' ORDER BY ended_at, song_id"
    return await _songs(connection, sql)


async def count_undelivered(connection: Connection, server_id: int) -> Counter[int]:
    """Count a server's undelivered songs by member."""
    # Grouped here: for GROUP BY, SQLite would go through all of the server's songs in order.
    rows = await connection.execute_fetchall(
        """
        SELECT member_id FROM songs WHERE server_id = ? AND state = 'undelivered'
        """,
        (server_id,),
    )
    return Counter(row["member_id"] for row in rows)


async def undelivered_by_reason(connection: Connection) -> list[Undelivered]:
    """Count the undelivered songs for each reason, the most first."""
    rows = await connection.execute_fetchall(
        """
        SELECT reason, count(*) AS songs, min(ended_at) AS oldest FROM songs
        WHERE state = 'undelivered' GROUP BY reason ORDER BY songs DESC, oldest, reason
        """
    )
    return [Undelivered(Reason(r["reason"]), r["songs"], from_ms(r["oldest"])) for r in rows]


async def mark_posting_late(connection: Connection, song_id: int, *, at: datetime) -> bool:
    """Mark an undelivered song, which is not in its channel, as being sent.

    A post of it can only be younger than `posting_at` from then on.
    """
    sql = """
        UPDATE songs SET posting_at = ?, in_doubt = 1
        WHERE song_id = ? AND state = 'undelivered'
    """
    return await _moved(connection, sql, (to_ms(at), song_id))


async def postpone(
    connection: Connection, song_id: int, *, at: datetime, next_attempt_at: datetime
) -> bool:
    """Count a late attempt that failed. False if it waits no more."""
    sql = """
        UPDATE songs SET attempts = attempts + 1, state_at = ?, next_attempt_at = ?
        WHERE song_id = ? AND state = 'undelivered'
    """
    return await _moved(connection, sql, (to_ms(at), to_ms(next_attempt_at), song_id))


async def expedite(
    connection: Connection, server_id: int, *, channel_id: int | None, pause: float
) -> int:
    """Let a server's undelivered songs, or a channel's, be due earlier; return how many are.

    `pause`: seconds after each was last tried.
    """
    sql = """
        UPDATE songs SET next_attempt_at = state_at + :pause
        WHERE server_id = :server_id AND state = 'undelivered'
              AND channel_id = coalesce(:channel_id, channel_id)
              AND next_attempt_at > state_at + :pause
    """
    return await _changed(
        connection,
        sql,
        {
            "server_id": server_id,
            "channel_id": channel_id,
            "pause": round(pause * 1000),
        },
    )


async def set_file(connection: Connection, song_id: int, *, file: str) -> bool:
    """Store the name of a file that was transcoded again."""
    sql = "UPDATE songs SET file = ? WHERE song_id = ? AND state IN ('ready', 'undelivered')"
    return await _moved(connection, sql, (file, song_id))


async def needing_files(connection: Connection) -> set[int]:
    """Return the songs whose files are still needed: unfinished, or not delivered yet."""
    rows = await connection.execute_fetchall(
        """
        SELECT song_id FROM songs WHERE ended_at IS NULL
        UNION SELECT song_id FROM songs WHERE state = 'undelivered'
        """
    )
    return {row["song_id"] for row in rows}


async def stored_files(connection: Connection) -> dict[int, str]:
    """Return the files that wait to be posted or handed over, by their songs."""
    rows = await connection.execute_fetchall(
        "SELECT song_id, file FROM songs WHERE file IS NOT NULL"
    )
    return {row["song_id"]: row["file"] for row in rows}


# --- Events -------------------------------------------------------------------------------------


async def events(connection: Connection, song_id: int) -> list[SongEvent]:
    """Return a song's transitions in their order, as far as they are still stored."""
    rows = await connection.execute_fetchall(
        """
        SELECT at, from_state, to_state, detail FROM song_events
        WHERE song_id = ? ORDER BY event_id
        """,
        (song_id,),
    )
    return [
        SongEvent(from_ms(r["at"]), State(r["from_state"]), State(r["to_state"]), r["detail"])
        for r in rows
    ]


async def delete_events_before(connection: Connection, moment: datetime) -> int:
    """Delete the events of songs that have none since then; return how many there were."""
    sql = """
        DELETE FROM song_events AS old WHERE at < :moment AND NOT EXISTS (
            SELECT 1 FROM song_events WHERE song_id = old.song_id AND at >= :moment)
    """
    return await _changed(connection, sql, {"moment": to_ms(moment)})


# --- The status message -------------------------------------------------------------------------


async def set_token(
    connection: Connection, song_id: int, *, message_id: int | None, token: str, until: datetime
) -> bool:
    """Let a newer interaction's token edit the status message from now on.

    False where nothing will be shown any more: it has ended, and does not wait to be delivered.
    """
    sql = """
        UPDATE songs SET message_id = coalesce(?, message_id), token = ?, token_until = ?
        WHERE song_id = ? AND (ended_at IS NULL OR state = 'undelivered')
    """
    return await _moved(connection, sql, (message_id, token, to_ms(until), song_id))


async def forget_token(connection: Connection, song_id: int, *, token: str) -> bool:
    """Forget `token`, which works no longer or is needed no longer."""
    sql = "UPDATE songs SET token = NULL, token_until = NULL WHERE song_id = ? AND token = ?"
    return await _moved(connection, sql, (song_id, token))


async def forget_tokens_until(connection: Connection, moment: datetime) -> int:
    """Forget every token whose time is over; how many there were."""
    sql = "UPDATE songs SET token = NULL, token_until = NULL WHERE token_until <= ?"
    return await _changed(connection, sql, (to_ms(moment),))


async def forget_lyrics_of_failed(connection: Connection, *, ended_before: datetime) -> int:
    """Drop the lyrics of songs that failed before then; how many there were."""
    sql = "UPDATE songs SET lyrics = '' WHERE state = 'failed' AND lyrics <> '' AND ended_at < ?"
    return await _changed(connection, sql, (to_ms(ended_before),))


async def with_token(connection: Connection, *, ended: bool) -> list[Song]:
    """Return songs whose status message can still be edited."""
    sql = """
        SELECT * FROM songs WHERE token_until IS NOT NULL AND (ended_at IS NOT NULL) = ?
        ORDER BY song_id
    """
    return await _songs(connection, sql, (ended,))


# --- A server that is gone ----------------------------------------------------------------------


async def forget_text_of_server(connection: Connection, server_id: int) -> int:
    """Drop the genres and lyrics of a server's songs; numbers and prices stay."""
    sql = """
        UPDATE songs SET genres = '', lyrics = '' WHERE server_id = ? AND ended_at IS NOT NULL
        AND (genres <> '' OR lyrics <> '')
    """
    return await _changed(connection, sql, (server_id,))


_TIMES = (
    "state_at",
    "requested_at",
    "submitted_at",
    "posting_at",
    "ended_at",
    "token_until",
    "counted_at",
    "next_attempt_at",
)


def _song(row: sqlite3.Row) -> Song:
    values = dict(row)
    values |= {name: maybe_from_ms(values[name]) for name in _TIMES}
    values |= {name: bool(values[name]) for name in ("in_doubt", "processing")}
    values["state"] = State(values["state"])
    values["fault"] = None if values["fault"] is None else Fault(values["fault"])
    values["reason"] = None if values["reason"] is None else Reason(values["reason"])
    return Song(**values)


async def _songs(connection: Connection, sql: str, values: Values = ()) -> list[Song]:
    return [_song(row) for row in await connection.execute_fetchall(sql, values)]


async def _number(connection: Connection, sql: str, values: Values = ()) -> int:
    """Return the only value of a query."""
    (row,) = await connection.execute_fetchall(sql, values)
    return int(row[0])


async def _moved(connection: Connection, sql: str, values: Values) -> bool:
    """Return whether an update of one row has changed it."""
    return await _changed(connection, sql, values) == 1


async def _changed(connection: Connection, sql: str, values: Values) -> int:
    """Return how many rows an update has changed."""
    return (await connection.execute(sql, values)).rowcount
