"""A song's end: its final state and what becomes of its price, in one transaction."""

import logging

from db import songs
from db.connection import Connection
from db.database import Database
from db.records import Fault, Song, Status, Step
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

    async def complete(
        self,
        song: Song,
        *,
        post_id: int | None = None,
        undelivered: str | None = None,
        in_doubt: bool = False,
        expected: Step = Step.POSTING,
    ) -> bool:
        """It was made: posted as `post_id`, or `undelivered` says why not. The price is spent.

        `in_doubt`: undelivered for all that is known, but it may be in the channel. False too where
        it is not at the step that is `expected`.
        """
        async with self._database.write() as connection:
            ended = await songs.end(
                connection,
                song.song_id,
                status=Status.COMPLETED,
                at=self._clock(),
                expected=expected,
                post_id=post_id,
                undelivered=undelivered,
                in_doubt=in_doubt,
            )
            if ended:
                await self._credits.settle(connection, song)
        if ended:
            where = f"posted as {post_id}" if undelivered is None else "not posted"
            _tell(song, f"COMPLETED and settled, {where}")
        return ended

    async def fail(
        self,
        song: Song,
        reason: str,
        *,
        fault: Fault = Fault.SERVICE,
        expected: Step | None = None,
    ) -> bool:
        """It was not made, for a reason fit for the member. The price goes back.

        `fault` is one of those that a song may fail by.
        False too where it is not at the step that is `expected`, if one is.
        """
        async with self._database.write() as connection:
            ended = await songs.end(
                connection,
                song.song_id,
                status=Status.FAILED,
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
            status=Status.CANCELLED,
            at=self._clock(),
            expected=Step.WAITING,
            fault=fault,
        )
        if ended:
            await self._credits.refund(connection, song)
        return ended

    async def hand_over(self, song: Song, *, in_status: bool = False) -> bool:
        """A song that could not be posted was given to its member; `in_status`: see `songs`.

        False too where its price was given back.
        """
        async with self._database.write() as connection:
            delivered = await songs.mark_delivered(
                connection, song.song_id, at=self._clock(), in_status=in_status
            )
        if delivered:
            _tell(song, "handed over to its member")
        return delivered

    async def post_late(self, song: Song, post_id: int) -> bool:
        """A song that could not be posted is in the channel after all."""
        async with self._database.write() as connection:
            posted = await songs.mark_posted_late(
                connection, song.song_id, post_id=post_id, at=self._clock()
            )
        if posted:
            _tell(song, f"posted late as {post_id}")
        return posted

    async def compensate(self, song: Song) -> bool:
        """The price of a song that could not be delivered goes back, and its file is given up.

        For who is alone with the song (`services/songs/delivery.py`), and knows that it is not in
        the channel, or that nobody can know. False too where it was delivered.
        """
        async with self._database.write() as connection:
            # The file is the claim: whoever forgets it first has given the price back.
            given_back = await songs.forget_file(connection, song.song_id)
            if given_back:
                await self._credits.compensate(connection, song)
        if given_back:
            _tell(song, "not delivered, and its price given back")
        return given_back


def _tell(song: Song, text: str) -> None:
    """A line of the song's story, whoever ends it."""
    with logs.context(song.song_id):
        log.info("%s", text)
