"""A song's end: its final state and what becomes of its price, in one transaction."""

import logging

from db import songs
from db.connection import Connection
from db.database import Database
from db.records import Fault, Song, State
from services import logs
from services.clock import Clock
from services.credits.credits import Credits

log = logging.getLogger(__name__)


class SongCompletion:
    """Ends songs. Each method returns False where the song had ended already."""

    def __init__(self, database: Database, credits: Credits, *, clock: Clock) -> None:
        self._database = database
        self._credits = credits
        self._clock = clock

    async def complete(self, song: Song, post_id: int) -> bool:
        """It is in the channel as `post_id`. The price is spent; an undelivered song's is already.

        False too where it has left its `state`.
        """
        async with self._database.write() as connection:
            completed = await songs.end(
                connection,
                song.song_id,
                state=State.COMPLETED,
                at=self._clock(),
                expected=song.state,
                post_id=post_id,
            )
            if completed and song.state is not State.UNDELIVERED:
                await self._credits.settle(connection, song)
        if completed:
            _tell(song, f"{song.state} -> completed: posted as {post_id}")
        return completed

    async def mark_undelivered(self, song: Song, reason: str, *, in_doubt: bool = False) -> bool:
        """It was made and could not be posted, or again not. The price is spent.

        `in_doubt`: it may be in the channel all the same.
        """
        again = song.state is State.UNDELIVERED
        async with self._database.write() as connection:
            ended = await songs.end(
                connection,
                song.song_id,
                state=State.UNDELIVERED,
                at=self._clock(),
                expected=State.UNDELIVERED if again else State.POSTING,
                reason=reason,
                in_doubt=in_doubt,
            )
            if ended and not again:
                await self._credits.settle(connection, song)
        if ended:
            _tell(song, f"undelivered: {reason}")
        return ended

    async def fail(
        self,
        song: Song,
        reason: str,
        *,
        fault: Fault = Fault.SERVICE,
        expected: State | None = None,
    ) -> bool:
        """It was not made, for a reason fit for the member. The price goes back.

        `fault` is one of those that a song may fail by.
        False too where its state is not the `expected` one, if one is.
        """
        async with self._database.write() as connection:
            ended = await songs.end(
                connection,
                song.song_id,
                state=State.FAILED,
                at=self._clock(),
                expected=expected,
                reason=reason,
                fault=fault,
            )
            if ended:
                await self._credits.refund(connection, song)
        if ended:
            _tell(song, f"FAILED and refunded: {reason} (fault: {fault})")
        return ended

    async def cancel(self, song: Song, *, fault: Fault = Fault.SERVER) -> bool:
        """It is not wanted any more, by its member or by the server.

        False too where it has been submitted meanwhile.
        """
        async with self._database.write() as connection:
            ended = await self._cancel(connection, song, fault)
        if ended:
            _tell(song, f"CANCELLED and refunded, by the {fault}")
        return ended

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
        ended = await songs.end(
            connection,
            song.song_id,
            state=State.CANCELLED,
            at=self._clock(),
            fault=fault,
        )
        if ended:
            await self._credits.refund(connection, song)
        return ended

    async def hand_over(self, song: Song, *, in_status: bool = False) -> bool:
        """A song that could not be posted was given to its member; `in_status`: see `songs`.

        False too where it was refunded.
        """
        async with self._database.write() as connection:
            delivered = await songs.mark_delivered(
                connection, song.song_id, at=self._clock(), in_status=in_status
            )
        if delivered:
            _tell(song, "handed over to its member")
        return delivered

    async def compensate(self, song: Song) -> bool:
        """The price of a song that could not be delivered goes back, and its file is given up.

        For who is alone with the song (`services/songs/delivery.py`), and knows that it is not in
        the channel, or that nobody can know. False too where it was delivered.
        """
        async with self._database.write() as connection:
            given_back = await songs.mark_refunded(connection, song.song_id, at=self._clock())
            if given_back:
                await self._credits.compensate(connection, song)
        if given_back:
            _tell(song, "not delivered, and refunded")
        return given_back


def _tell(song: Song, text: str) -> None:
    """A line of the song's story, whoever ends it."""
    with logs.context(song.song_id):
        log.info("%s", text)
