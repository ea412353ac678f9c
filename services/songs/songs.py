"""What a person does: ask for a song, cancel it, look at what was made."""

import logging
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from db import drafts, servers, songs
from db.connection import Connection
from db.database import Database
from db.records import TOKEN_LIFETIME, Draft, Fault, Song, SongRequest, State
from services import logs
from services.amounts import Prices
from services.clock import Clock
from services.credits.budgets import OperatorBudgets, ServerBudget, ServerBudgetExceeded
from services.credits.credits import Credits
from services.operations.incidents import Incidents
from services.providers import registry
from services.settings.catalogue import HOURLY_IN_CHANNEL, POST_IN
from services.settings.reader import Settings, SettingsReader
from services.settings.settings import Member
from services.songs import admission
from services.songs.admission import Place, SettingLimitReached
from services.songs.completion import SongCompletion
from services.songs.refusals import FormExpired, NotYourSong, TooLateToCancel, UnknownSong

log = logging.getLogger(__name__)

PAGE = 10
SEARCHED = 100
"""A member's newest songs, among which a typed text is looked for."""

HOUR = timedelta(hours=1)


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
    parent_id: int | None = None
    """The channel that the thread is in, where it is one."""
    roles: frozenset[int] = frozenset()
    """The member's, as they came with the interaction."""
    may_post_in: Callable[[int], bool] = lambda _: False
    """Return whether the song may be posted in another channel than it is requested in.

    Raises NotPermitted where that channel lacks a permission for the bot.
    """

    @property
    def member(self) -> Member:
        """Whose credits are spent."""
        return Member(self.server_id, self.member_id, self.roles)

    @property
    def place(self) -> Place:
        """Where it is asked."""
        return Place(self.channel_id, self.parent_id)

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
        tell: Callable[[], None],
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
        self._tell = tell
        self._allowed_servers = allowed_servers
        self.random_seed = random_seed

    @property
    def prices(self) -> Prices:
        """What songs cost."""
        return self._settings_reader.defaults.prices

    async def check(self, requester: Interaction, request: SongRequest) -> None:
        """Whether `ask` would be refused already, before its words have been typed.

        Raises:
            ServerNotAllowed, SongsPaused, TooManyUndelivered, DeniedBySettings, NotPermitted: see
                `ask`.
        """
        await self._check(self._database.reader, requester, request, at=self._clock())
        await self._post_in(requester)

    async def _check(
        self,
        connection: Connection,
        requester: Interaction,
        request: SongRequest,
        *,
        at: datetime,
    ) -> Settings:
        """Check all that doesn't change while lyrics are typed; return the server's settings."""
        server_id, member_id = requester.server_id, requester.member_id
        admission.check_server(self._allowed_servers, server_id)
        self._incidents.check_not_paused()
        undelivered = await songs.count_undelivered(connection, server_id)
        admission.check_undelivered(undelivered, member_id)
        settings = await self._settings_reader.read(connection, server_id, member_id)
        admission.check_member(settings, requester.place, at=at)
        admission.check_size(settings, request.seconds, request.steps)
        admission.check_blocked_words(settings, request)
        return settings

    async def _post_in(self, requester: Interaction) -> int:
        """Return the channel to post in. Not in a transaction, whose thread may not use Discord's.

        Raises:
            NotPermitted: see `Interaction.may_post_in`.
        """
        settings = await self._settings_reader.read(self._database.reader, requester.server_id)
        channel_id = settings[POST_IN]
        if channel_id is None or not requester.may_post_in(channel_id):
            return requester.channel_id
        return channel_id

    async def ask(self, requester: Interaction, request: SongRequest) -> Song:
        """Take the request in: in one transaction the settings, the limits, the hold and the row.

        The same interaction delivered twice is the same song, held once.

        Raises:
            ServerNotAllowed, SongsPaused, TooManyUndelivered, DeniedBySettings, TooManySongs,
                BudgetExceeded, NotEnoughCredits, NotPermitted: nothing was spent.
        """
        post_in = await self._post_in(requester)

        async def decide(connection: Connection) -> tuple[Song, bool]:
            if known := await songs.get(connection, requester.interaction_id):
                return known, False
            return await self._take_in(connection, requester, request, post_in)

        try:
            song, warned = await self._database.transact(decide)
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
            self._tell()
        self._wake()
        return song

    async def _take_in(
        self, connection: Connection, requester: Interaction, request: SongRequest, post_in: int
    ) -> tuple[Song, bool]:
        """The new song, and whether there is a warning of the server's budget to tell."""
        now, server_id = self._clock(), requester.server_id
        settings = await self._check(connection, requester, request, at=now)
        await self._check_pace(connection, requester, settings, at=now)
        price = self.prices.of(request.seconds, request.steps)
        await self._operator_budgets.check(connection, server_id, price)
        opened = await self._credits.open(connection, requester.member, settings, at=now)
        number = await servers.take_number(connection, server_id)
        song = self._new(requester, request, number, now, post_in)
        await songs.insert(connection, song)
        return song, await self._credits.hold(connection, song, opened, settings)

    async def _check_pace(
        self, connection: Connection, requester: Interaction, settings: Settings, *, at: datetime
    ) -> None:
        server_id, member_id = requester.server_id, requester.member_id
        if limit := self._settings_reader.defaults.hourly_refunds:
            ends = await songs.ends_by_choice(
                connection,
                member_id,
                since=at - admission.REFUNDS_COUNT_FOR,
                until=at,
                limit=limit,
            )
            elsewhere = await songs.count_unfinished_elsewhere(connection, server_id, member_id)
            admission.check_refunds(ends, limit, elsewhere=elsewhere)
        if per_hour := settings[HOURLY_IN_CHANNEL]:
            channel_id = requester.parent_id or requester.channel_id
            requested = await songs.requested_in_channel(
                connection, server_id, channel_id, since=at - HOUR, limit=per_hour
            )
            if len(requested) == per_hour:
                again_at = requested[-1] + HOUR
                raise SettingLimitReached(HOURLY_IN_CHANNEL.label, per_hour, again_at)
        admission.check_pace(
            settings,
            unfinished=await songs.count_unfinished(connection, server_id, member_id),
            last_requested=await songs.last_requested(connection, server_id, member_id)
            if settings.limits.cooldown
            else None,
            at=at,
        )

    def _new(
        self,
        requester: Interaction,
        request: SongRequest,
        number: int,
        at: datetime,
        post_in: int,
    ) -> Song:
        return Song(
            **asdict(request),
            song_id=requester.interaction_id,
            server_id=requester.server_id,
            member_id=requester.member_id,
            channel_id=post_in,
            origin_id=None if post_in == requester.channel_id else requester.channel_id,
            parent_id=requester.parent_id,
            number=number,
            provider=registry.DEFAULT,
            price=self.prices.of(request.seconds, request.steps),
            state=State.WAITING,
            state_at=at,
            processing=False,
            submits=0,
            request_id=None,
            reason=None,
            file=None,
            requested_at=at,
            submitted_at=None,
            posting_at=None,
            ended_at=None,
            run_low=None,
            run_high=None,
            application_id=requester.application_id,
            message_id=requester.message_id,
            token=requester.token,
            token_until=requester.token_until,
            post_id=None,
            counted_at=None,
            in_doubt=False,
            fault=None,
            large_reads=0,
        )

    async def cancel(self, song_id: int, *, server_id: int, member_id: int, manager: bool) -> Song:
        """Cancel a song that has not been submitted; its price goes back.

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
        """One song of a server.

        Raises:
            UnknownSong: there is none.
        """
        song = await songs.get(self._database.reader, song_id)
        if song is None or song.server_id != server_id:
            raise UnknownSong
        return song

    async def by_number(self, number: int, *, server_id: int) -> Song:
        """One song of a server, by what people call it.

        Raises:
            UnknownSong: there is none.
        """
        song = await songs.by_number(self._database.reader, server_id, number)
        if song is None:
            raise UnknownSong(number)
        return song

    async def own(self, server_id: int, member_id: int) -> list[Song]:
        """A member's songs that wait to be delivered, then their newest: for completion."""
        reader = self._database.reader
        waiting = await songs.undelivered_of_member(reader, server_id, member_id)
        newest = await songs.of_member(reader, server_id, member_id, limit=SEARCHED, offset=0)
        return waiting + [song for song in newest if song.state is not State.UNDELIVERED]

    async def keep_draft(self, draft: Draft) -> None:
        """Keep the options of a form that is about to open."""
        async with self._database.write() as connection:
            await drafts.insert(connection, draft, at=self._clock())

    async def draft(self, draft_id: int, *, server_id: int, member_id: int) -> Draft:
        """The options of a form that was sent.

        Raises:
            FormExpired: they are gone (after an hour), or are somebody else's.
        """
        draft = await drafts.get(self._database.reader, draft_id)
        if draft is None or (draft.server_id, draft.member_id) != (server_id, member_id):
            raise FormExpired
        return draft

    async def renew_token(self, song_id: int, button: Interaction) -> bool:
        """A button on the status message brought a new token: it is used from now on.

        False: the song is over by now (one that waits to be delivered is not), and nobody will edit
        its message any more.

        The caller has checked that it was pressed by the song's own member.
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
