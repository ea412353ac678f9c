"""A song's end: its final state and what becomes of its price, in one transaction."""

from collections.abc import Awaitable, Callable
from typing import TypedDict, Unpack

from db import songs
from db.connection import Connection
from db.database import Database
from db.records import Fault, Reason, Song, State
from services import logs
from services.clock import Clock
from services.credits.credits import Credits
from services.songs.rows import log_move

Entry = Callable[[Connection, Song], Awaitable[object]]
"""Enters what becomes of a song's price."""


class EndValues(TypedDict, total=False):
    """See `songs.end`."""

    expected: State | None
    reason: Reason
    reason_detail: str | None
    post_id: int
    in_doubt: bool
    fault: Fault


class SongCompletion:
    """Ends songs. Each method returns False, and changes nothing, if the song can't end so."""

    def __init__(self, database: Database, credits: Credits, *, clock: Clock) -> None:
        self._database = database
        self._credits = credits
        self._clock = clock

    async def complete(self, song: Song, post_id: int) -> bool:
        """End a song that is in its channel. The price is spent; an undelivered song's is already.

        `song` must be its row as it is now.
        """
        settle = None if song.state is State.UNDELIVERED else self._credits.settle
        return await self._end(song, State.COMPLETED, settle, expected=song.state, post_id=post_id)

    async def mark_undelivered(
        self, song: Song, reason: Reason, detail: str | None = None, *, in_doubt: bool = False
    ) -> bool:
        """Leave a song that could not be posted, or again not. The price is spent.

        `in_doubt`: it may be in the channel all the same.
        """
        again = song.state is State.UNDELIVERED
        return await self._end(
            song,
            State.UNDELIVERED,
            None if again else self._credits.settle,
            expected=State.UNDELIVERED if again else State.POSTING,
            reason=reason,
            reason_detail=detail,
            in_doubt=in_doubt,
        )

    async def fail(
        self,
        song: Song,
        reason: Reason,
        detail: str | None = None,
        *,
        fault: Fault = Fault.SERVICE,
        expected: State | None = None,
    ) -> bool:
        """Refund a song that was not made. Its member may see the reason and its `detail`.

        `expected`: only if it is in this state.
        """
        return await self._end(
            song,
            State.FAILED,
            self._credits.refund,
            expected=expected,
            reason=reason,
            reason_detail=detail,
            fault=fault,
        )

    async def cancel(self, song: Song, *, fault: Fault = Fault.SERVER) -> bool:
        """Refund a song that its member or the server no longer wants, unless it was submitted."""
        return await self._end(song, State.CANCELLED, self._credits.refund, fault=fault)

    async def hand_over(self, song: Song, *, in_status: bool = False) -> bool:
        """End an undelivered song that was given to its member.

        `in_status`: in its status message, which is not edited any more.
        """
        async with self._database.write() as connection:
            ended = await self._end_in(
                connection, song, State.COMPLETED, None, expected=State.UNDELIVERED
            )
            if ended and in_status and song.token is not None:
                await songs.forget_token(connection, song.song_id, token=song.token)
        if ended:
            with logs.context(song.song_id):
                log_move("handed over")
        return ended

    async def compensate(self, song: Song) -> bool:
        """Refund an undelivered song.

        For who holds the song's lock (`services/songs/poster.py`), and knows that it is not in the
        channel, or that nobody can know.
        """
        return await self._end(
            song, State.REFUNDED, self._credits.compensate, expected=State.UNDELIVERED
        )

    async def cancel_waiting(
        self, connection: Connection, server_id: int, member_id: int
    ) -> list[Song]:
        """Cancel all that a member has waiting in a server, inside a transaction; what it was."""
        waiting = await songs.waiting_of_member(connection, server_id, member_id)
        return [song for song in waiting if await self._cancel(connection, song, Fault.SERVER)]

    async def cancel_waiting_of_server(self, connection: Connection, server_id: int) -> list[Song]:
        """Cancel all that waits in a server, inside a transaction; what it was."""
        waiting = await songs.waiting_of_server(connection, server_id)
        return [song for song in waiting if await self._cancel(connection, song, Fault.SERVER)]

    async def cancel_unwanted(self, connection: Connection, song: Song) -> bool:
        """Cancel a song that waits again, inside a transaction, where it is not wanted any more.

        Its member was blocked, or the bot left its server, while it was submitted.
        """
        unwanted = await songs.is_unwanted(connection, song.song_id, at=self._clock())
        return unwanted and await self._cancel(connection, song, Fault.SERVER)

    async def _cancel(self, connection: Connection, song: Song, fault: Fault) -> bool:
        return await self._end_in(
            connection, song, State.CANCELLED, self._credits.refund, fault=fault
        )

    async def _end(
        self, song: Song, state: State, entry: Entry | None, **values: Unpack[EndValues]
    ) -> bool:
        async with self._database.write() as connection:
            ended = await self._end_in(connection, song, state, entry, **values)
        if ended:
            with logs.context(song.song_id):
                log_move(state, **values)
        return ended

    async def _end_in(
        self,
        connection: Connection,
        song: Song,
        state: State,
        entry: Entry | None,
        **values: Unpack[EndValues],
    ) -> bool:
        ended = await songs.end(connection, song.song_id, state=state, at=self._clock(), **values)
        if ended and entry is not None:
            await entry(connection, song)
        return ended
