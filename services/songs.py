"""What a person does: ask for a song, cancel it, look at what was made."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiosqlite import Connection

from db import drafts, servers, songs
from db.database import Database
from db.records import Draft, Song, Status, Step
from services.clock import Clock
from services.ending import Ending
from services.errors import NotPermitted, NotPossible, TooManySongs
from services.incidents import Incidents
from services.quota.credits import Credits, Prices
from services.requests import SongRequest

TOKEN_LIFETIME = timedelta(minutes=15)
"""How long an interaction's token works (Discord, "Receiving and Responding")."""

PAGE = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What one member may have at once in one server."""

    unfinished: int = 3


@dataclass(frozen=True, slots=True)
class Interaction:
    """Who asks, and where: what is known of the interaction that asks."""

    interaction_id: int
    application_id: int
    server_id: int
    channel_id: int
    member_id: int
    token: str
    received_at: datetime
    message_id: int | None = None

    @property
    def token_until(self) -> datetime:
        """When its token stops working, counted from its receipt by our own clock."""
        return self.received_at + TOKEN_LIFETIME


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a member's songs, newest first. Pages count from 1."""

    songs: list[Song]
    number: int
    pages: int
    total: int


class Songs:
    """The members' side of the product."""

    def __init__(
        self,
        database: Database,
        credits: Credits,
        ending: Ending,
        incidents: Incidents,
        *,
        clock: Clock,
        random_seed: Callable[[], int],
        prices: Prices,
        limits: Limits,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._credits = credits
        self._ending = ending
        self._incidents = incidents
        self._clock = clock
        self._limits = limits
        self._wake = wake
        self.random_seed = random_seed
        self.prices = prices

    async def ask(self, asker: Interaction, request: SongRequest) -> Song:
        """Take the request in: in one transaction the limits, the hold and the row.

        The same interaction delivered twice is the same song, held once.

        Raises:
            SongsPaused, TooManySongs, NotEnoughCredits: nothing was spent.
        """
        async with self._database.write() as connection:
            known = await songs.get(connection, asker.interaction_id)
            song = known or await self._take_in(connection, asker, request)
        self._wake()
        return song

    async def _take_in(
        self, connection: Connection, asker: Interaction, request: SongRequest
    ) -> Song:
        self._incidents.check_not_paused()
        await servers.ensure_server(connection, asker.server_id)
        await servers.ensure_member(connection, asker.server_id, asker.member_id)
        unfinished = await songs.count_unfinished(connection, asker.server_id, asker.member_id)
        if unfinished >= self._limits.unfinished:
            raise TooManySongs(
                f"You have {unfinished} songs under way here, and {self._limits.unfinished} is the "
                "most at once. Please wait for one to end, or cancel one in `/queue`."
            )
        song = self._new(asker, request, await servers.take_number(connection, asker.server_id))
        await songs.insert(connection, song)
        await self._credits.hold(connection, song)
        return song

    def _new(self, asker: Interaction, request: SongRequest, number: int) -> Song:
        return Song(
            song_id=asker.interaction_id,
            server_id=asker.server_id,
            member_id=asker.member_id,
            channel_id=asker.channel_id,
            number=number,
            genres=request.genres,
            lyrics=request.lyrics,
            seconds=request.seconds,
            steps=request.steps,
            cfg=request.cfg,
            shift=request.shift,
            lyrics_strength=request.lyrics_strength,
            seed=request.seed,
            price=self.prices.of(request.seconds, request.steps),
            status=Status.QUEUED,
            step=Step.WAITING,
            submits=0,
            request_id=None,
            reason=None,
            file=None,
            asked_at=self._clock(),
            submitted_at=None,
            posting_at=None,
            ended_at=None,
            run_low=None,
            run_high=None,
            application_id=asker.application_id,
            message_id=asker.message_id,
            token=asker.token,
            token_until=asker.token_until,
            post_id=None,
            undelivered=None,
            delivered_at=None,
        )

    async def cancel(self, song_id: int, *, server_id: int, member_id: int, manager: bool) -> Song:
        """Cancel a song that has not been submitted; its price goes back.

        Raises:
            NotPermitted: it is somebody else's, and `manager` is false.
            NotPossible: it is not of this server, has been submitted, or is over.
        """
        song = await self.get(song_id, server_id=server_id)
        if song.member_id != member_id and not manager:
            raise NotPermitted("Only the member who asked for this song can cancel it.")
        if not await self._ending.cancel(song):
            song = await self.get(song_id, server_id=server_id)
            raise NotPossible(
                f"Song #{song.number} is {song.status} and can't be cancelled any more."
                if song.ended
                else f"Song #{song.number} is being made already and can't be cancelled any more."
            )
        return await self.get(song_id, server_id=server_id)

    async def get(self, song_id: int, *, server_id: int) -> Song:
        """One song of a server.

        Raises:
            NotPossible: there is none.
        """
        song = await songs.get(self._database.reader, song_id)
        if song is None or song.server_id != server_id:
            raise NotPossible("There is no such song in this server.")
        return song

    async def keep_draft(self, draft: Draft) -> None:
        """Keep the options of a form that is about to open."""
        async with self._database.write() as connection:
            await drafts.insert(connection, draft, at=self._clock())

    async def draft(self, draft_id: int, *, server_id: int, member_id: int) -> Draft:
        """The options of a form that was sent.

        Raises:
            NotPossible: they are gone (after an hour), or are somebody else's.
        """
        draft = await drafts.get(self._database.reader, draft_id)
        if draft is None or (draft.server_id, draft.member_id) != (server_id, member_id):
            raise NotPossible("This form is too old to be sent. Please use `/song` once more.")
        return draft

    async def renew_token(self, song_id: int, button: Interaction) -> None:
        """A button on the status message brought a new token: it is used from now on.

        The caller has checked that it was pressed by the song's own member.
        """
        async with self._database.write() as connection:
            await songs.set_token(
                connection,
                song_id,
                message_id=button.message_id,
                token=button.token,
                until=button.token_until,
            )

    async def history(self, server_id: int, member_id: int, *, page: int) -> Page:
        """A page of a member's songs; the nearest one where `page` is out of bounds."""
        reader = self._database.reader
        total = await songs.count_of_member(reader, server_id, member_id)
        pages = max(1, -(-total // PAGE))
        number = min(max(1, page), pages)
        found = await songs.of_member(
            reader, server_id, member_id, limit=PAGE, offset=(number - 1) * PAGE
        )
        return Page(found, number, pages, total)

    async def genres_used(self, server_id: int, member_id: int) -> list[str]:
        """Genres that the member, then the server, asked for lately: for completion."""
        reader = self._database.reader
        mine = await songs.genres_of_member(reader, server_id, member_id, limit=20)
        return mine + await songs.genres_of_server(reader, server_id, limit=50)
