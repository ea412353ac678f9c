"""A song's end: its final state and what becomes of its price, in one transaction."""

import logging
from datetime import timedelta

from db import songs
from db.database import Database
from db.records import Song, Status, Step
from services import logs
from services.clock import Clock
from services.quota.credits import Credits

log = logging.getLogger(__name__)

COMPENSATE_AFTER = timedelta(hours=24)
"""How long a song that could not be posted is kept for its member; then its price goes back."""


class Ending:
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
        expected: Step = Step.POSTING,
    ) -> bool:
        """It was made: posted as `post_id`, or `undelivered` says why not. The price is spent.

        False too where it is not at the step that is `expected`.
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
            )
            if ended:
                await self._credits.settle(connection, song)
        if ended:
            where = f"posted as {post_id}" if undelivered is None else "not posted"
            _tell(song, f"COMPLETED and settled, {where}")
        return ended

    async def fail(self, song: Song, reason: str, *, expected: Step | None = None) -> bool:
        """It was not made, for a reason fit for the member. The price goes back.

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
            )
            if ended:
                await self._credits.refund(connection, song)
        if ended:
            _tell(song, f"FAILED and refunded: {reason}")
        return ended

    async def cancel(self, song: Song) -> bool:
        """It is not wanted any more. False too where it has been submitted meanwhile."""
        async with self._database.write() as connection:
            ended = await songs.end(
                connection,
                song.song_id,
                status=Status.CANCELLED,
                at=self._clock(),
                expected=Step.WAITING,
            )
            if ended:
                await self._credits.refund(connection, song)
        if ended:
            _tell(song, "CANCELLED and refunded")
        return ended

    async def hand_over(self, song: Song) -> bool:
        """A song that could not be posted has reached its member another way."""
        async with self._database.write() as connection:
            delivered = await songs.mark_delivered(connection, song.song_id, at=self._clock())
        if delivered:
            _tell(song, "handed over to its member")
        return delivered

    async def compensate_overdue(self) -> list[Song]:
        """Give back the price of what could not be delivered for a day; the songs it was."""
        overdue = await songs.undelivered_before(
            self._database.reader, self._clock() - COMPENSATE_AFTER
        )
        compensated = []
        for song in overdue:
            async with self._database.write() as connection:
                # The file is the claim: whoever forgets it first has given the price back.
                if await songs.forget_file(connection, song.song_id):
                    await self._credits.compensate(connection, song)
                    compensated.append(song)
        return compensated


def _tell(song: Song, text: str) -> None:
    """A line of the song's story, whoever ends it."""
    with logs.about(song.song_id):
        log.info("%s", text)
