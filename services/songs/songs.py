"""Members' songs: request, cancel, find."""

import logging
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import datetime

from db import drafts, servers, songs
from db.connection import Connection
from db.database import Database
from db.records import Draft, Fault, Song, SongRequest, State
from services import logs
from services.amounts import Prices
from services.clock import Clock
from services.credits.budgets import OperatorBudgets, ServerBudget, ServerBudgetExceeded
from services.credits.credits import Credits
from services.errors import NotPermitted, ServerNotAllowed
from services.operations.incidents import Incidents
from services.providers import registry
from services.settings.catalogue import POST_IN
from services.settings.reader import Settings, SettingsReader
from services.songs import admission
from services.songs.completion import SongCompletion
from services.songs.refusals import FormExpired, NotYourSong, TooLateToCancel, UnknownSong
from services.songs.song_request import Interaction

log = logging.getLogger(__name__)

PAGE = 10
SEARCHED = 100
"""How many of a member's newest songs are searched for a typed text."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a member's songs, newest first. Pages count from 1."""

    songs: list[Song]
    number: int
    pages: int
    total: int


class Songs:
    """Creates, cancels and finds members' songs."""

    def __init__(
        self,
        database: Database,
        settings_reader: SettingsReader,
        credits: Credits,
        budget: ServerBudget,
        operator_budgets: OperatorBudgets,
        completion: SongCompletion,
        incidents: Incidents,
        *,
        clock: Clock,
        random_seed: Callable[[], int],
        wake: Callable[[], None],
        notify: Callable[[], None],
        allowed_servers: Collection[int] = (),
    ) -> None:
        self._database = database
        self._settings_reader = settings_reader
        self._credits = credits
        self._budget = budget
        self._operator_budgets = operator_budgets
        self._completion = completion
        self._incidents = incidents
        self._clock = clock
        self._wake = wake
        self._notify = notify
        self._allowed_servers = allowed_servers
        self.random_seed = random_seed

    @property
    def prices(self) -> Prices:
        """The prices of songs."""
        return self._settings_reader.defaults.prices

    async def check(self, requester: Interaction, request: SongRequest) -> None:
        """Check, before a form for lyrics opens, all that doesn't change while they are typed.

        Raises:
            ServerNotAllowed, SongsPaused, TooManyUndelivered, DeniedBySettings, NotPermitted: see
                `create`.
        """
        settings = await self._check(self._database.reader, requester, request, at=self._clock())
        self._post_in(requester, settings)

    async def _check(
        self,
        connection: Connection,
        requester: Interaction,
        request: SongRequest,
        *,
        at: datetime,
    ) -> Settings:
        if self._allowed_servers and requester.server_id not in self._allowed_servers:
            raise ServerNotAllowed(requester.server_id)
        self._incidents.check_not_paused()
        await admission.check_undelivered(connection, requester)
        settings = await self._settings_reader.read(
            connection, requester.server_id, requester.member_id
        )
        admission.check_settings(settings, requester, request, at=at)
        return settings

    def _post_in(self, requester: Interaction, settings: Settings) -> int:
        """Return the channel to post in. Not in a transaction, whose thread may not use Discord's.

        Raises:
            NotPermitted: see `Interaction.may_post_in`.
        """
        channel_id = settings[POST_IN]
        if channel_id is None or not requester.may_post_in(channel_id):
            return requester.channel_id
        return channel_id

    async def create(self, requester: Interaction, request: SongRequest) -> Song:
        """Create a song: in one transaction the checks, the hold and the row.

        The same interaction delivered twice is the same song, held once.

        Raises:
            ServerNotAllowed, SongsPaused, TooManyUndelivered, DeniedBySettings, TooManySongs,
                BudgetExceeded, NotEnoughCredits, NotPermitted: nothing was spent.
        """
        settings = await self._settings_reader.read(self._database.reader, requester.server_id)
        try:
            channel_id = self._post_in(requester, settings)
        except NotPermitted:
            if existing := await songs.get(self._database.reader, requester.interaction_id):
                return existing  # the interaction was delivered again
            raise

        try:
            song, warned = await self._database.transact(
                lambda connection: self._create(connection, requester, request, channel_id)
            )
        except ServerBudgetExceeded as reached:
            await self._budget.refused(reached)
            raise
        with logs.context(song.song_id):
            log.info(
                "requested: song %d of server %d, by member %d in channel %d, %d s in %d steps, "
                "price %d",
                song.number,
                song.server_id,
                song.member_id,
                requester.channel_id,
                song.seconds,
                song.steps,
                song.price,
            )
        if warned:
            self._notify()
        self._wake()
        return song

    async def _create(
        self, connection: Connection, requester: Interaction, request: SongRequest, channel_id: int
    ) -> tuple[Song, bool]:
        """Return the song, and whether a warning of the server's budget was written with it."""
        if existing := await songs.get(connection, requester.interaction_id):
            return existing, False
        now, server_id = self._clock(), requester.server_id
        settings = await self._check(connection, requester, request, at=now)
        refunds = self._settings_reader.defaults.hourly_refunds
        await admission.check_refunds(connection, requester, refunds, at=now)
        await admission.check_pace(connection, settings, requester, at=now)
        price = self.prices.of(request.seconds, request.steps)
        await self._operator_budgets.check(connection, server_id, price)
        opened = await self._credits.open(connection, requester.member, settings, at=now)
        song = Song(
            **asdict(request),
            song_id=requester.interaction_id,
            server_id=server_id,
            member_id=requester.member_id,
            channel_id=channel_id,
            origin_id=None if channel_id == requester.channel_id else requester.channel_id,
            parent_id=requester.parent_id,
            number=await servers.take_number(connection, server_id),
            provider=registry.DEFAULT,
            price=price,
            state_at=now,
            requested_at=now,
            application_id=requester.application_id,
            message_id=requester.message_id,
            token=requester.token,
            token_until=requester.token_until,
        )
        await songs.insert(connection, song)
        return song, await self._credits.hold(connection, song, opened, settings)

    async def cancel(self, song_id: int, *, server_id: int, member_id: int, manager: bool) -> Song:
        """Cancel a song that has not been submitted, and refund it.

        Raises:
            NotYourSong: it is somebody else's, and `manager` is false.
            UnknownSong: it is not of this server.
            TooLateToCancel: it has been submitted, or has ended.
        """
        song = await self.get(song_id, server_id=server_id)
        if song.member_id != member_id and not manager:
            raise NotYourSong
        fault = Fault.MEMBER if song.member_id == member_id else Fault.SERVER
        if not await self._completion.cancel(song, fault=fault):
            song = await self.get(song_id, server_id=server_id)
            raise TooLateToCancel(song.number, song.status)
        return await self.get(song_id, server_id=server_id)

    async def get(self, song_id: int, *, server_id: int) -> Song:
        """Return a song of a server.

        Raises:
            UnknownSong: there is none.
        """
        song = await songs.get(self._database.reader, song_id)
        if song is None or song.server_id != server_id:
            raise UnknownSong
        return song

    async def by_number(self, number: int, *, server_id: int) -> Song:
        """Return a song of a server by its number.

        Raises:
            UnknownSong: there is none.
        """
        song = await songs.by_number(self._database.reader, server_id, number)
        if song is None:
            raise UnknownSong(number)
        return song

    async def own(self, server_id: int, member_id: int) -> list[Song]:
        """Return a member's undelivered songs, then their newest, to be suggested."""
        reader = self._database.reader
        waiting = await songs.undelivered_of_member(reader, server_id, member_id)
        newest = await songs.of_member(reader, server_id, member_id, limit=SEARCHED, offset=0)
        return waiting + [song for song in newest if song.state is not State.UNDELIVERED]

    async def save_draft(self, draft: Draft) -> None:
        """Store the options of a form that is about to open."""
        async with self._database.write() as connection:
            await drafts.insert(connection, draft, at=self._clock())

    async def draft(self, draft_id: int, *, server_id: int, member_id: int) -> Draft:
        """Return the options of a submitted form.

        Raises:
            FormExpired: they were deleted after an hour, or are somebody else's.
        """
        draft = await drafts.get(self._database.reader, draft_id)
        if draft is None or (draft.server_id, draft.member_id) != (server_id, member_id):
            raise FormExpired
        return draft

    async def renew_token(self, song_id: int, button: Interaction) -> bool:
        """Use the token of a pressed button to edit the status message from now on.

        The caller has checked that the song's own member pressed it. Return False if the song has
        ended and is not undelivered: its message is not edited any more.
        """
        async with self._database.write() as connection:
            return await songs.set_token(
                connection,
                song_id,
                message_id=button.message_id,
                token=button.token,
                until=button.token_until,
            )

    async def history(self, server_id: int, member_id: int, *, page: int) -> Page:
        """Return a page of a member's songs; the nearest one if `page` is out of bounds."""
        reader = self._database.reader
        total = await songs.count_of_member(reader, server_id, member_id)
        pages = max(1, -(-total // PAGE))
        number = min(max(1, page), pages)
        found = await songs.of_member(
            reader, server_id, member_id, limit=PAGE, offset=(number - 1) * PAGE
        )
        return Page(found, number, pages, total)

    async def genres_used(self, server_id: int, member_id: int) -> list[str]:
        """Return genres requested lately by the member, then in the server, to be suggested."""
        reader = self._database.reader
        mine = await songs.genres_of_member(reader, server_id, member_id, limit=20)
        return mine + await songs.genres_of_server(reader, server_id, limit=50)
