"""The services that move credits, composed as in `bot.py`, on a real database."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from db import changes, servers
from db import songs as song_rows
from db.database import Database
from db.records import Change, Reason, Server, Song, State
from services.clock import Clock, WatchedClock
from services.credits.budgets import DefaultBudgets, OperatorBudgets, ServerBudget
from services.credits.credits import Credits
from services.credits.transfers import CreditTransfers
from services.operations.incidents import Incidents, Kind
from services.providers.registry import PARAMETERS
from services.settings.changelog import Changelog
from services.settings.reader import SettingsReader
from services.settings.server_settings import Manager, ServerSettings
from services.settings.settings import Defaults, Member
from services.songs.completion import SongCompletion
from services.songs.song_request import Interaction, parse_request
from services.songs.songs import Songs
from tests.factories import APPLICATION, CHANNEL, MEMBER, SERVER

MANAGER = 7_000
BY = Manager(SERVER, MANAGER)
WHO = Member(SERVER, MEMBER)


class UnreachableOwner:
    """An operator who can't be notified."""

    async def incident_began(self, kind: Kind, detail: str) -> bool:
        return False

    async def incident_ended(self, kind: Kind) -> bool:
        return False

    async def bot_added(self, servers: Sequence[Server], *, allowed: bool) -> bool:
        return False


@dataclass
class Product:
    """What members, managers and the operator can do about credits."""

    database: Database
    clock: Clock
    songs: Songs
    completion: SongCompletion
    credits: Credits
    server_settings: ServerSettings
    transfers: CreditTransfers
    changelog: Changelog
    budget: ServerBudget
    operator: OperatorBudgets
    notified: list[None]
    """One for each notification of the audit log."""
    redrawn: list[int]
    """Songs whose status message is to be edited."""
    incidents: Incidents
    wakes: list[None]
    """One for each time that the scheduler was woken."""

    async def create(self, song_id: int = 1, *, who: Member = WHO, **options: Any) -> Song:
        """Request a song: of 30 s, which costs one credit, by default."""
        values: dict[str, Any] = {"genres": "funk", "seconds": 30, "random_seed": lambda: 7}
        request = parse_request(PARAMETERS, **values | options)
        return await self.songs.create(requester(song_id, who=who, at=self.clock()), request)

    async def free(self, who: Member = WHO) -> int:
        """Return what a member has now."""
        return (await self.credits.balance(who)).free

    async def grant(self, amount: int, grant_id: int = 5, *, who: Member = WHO, **k: Any) -> int:
        """Grant credits; return what the member has then."""
        values: dict[str, Any] = {"actor_id": MANAGER, "reason": "A good song."} | k
        moved = await self.transfers.grant(who, grant_id=grant_id, amount=amount, **values)
        return moved.balance.free

    async def take(
        self, amount: int, take_id: int = 6, *, who: Member = WHO, actor_id: int = MANAGER
    ) -> int:
        """Take credits; return how many."""
        moved = await self.transfers.take(
            who, take_id=take_id, actor_id=actor_id, amount=amount, reason="Too many."
        )
        return moved.amount

    async def submit(self, song: Song) -> bool:
        """Count a submit of a song, as scheduler and pipeline do."""
        async with self.database.write() as connection:
            counted = await self.operator.mark_submitting(connection, song)
            if counted:
                await servers.mark_started(
                    connection, song.server_id, song.member_id, at=self.clock()
                )
            return counted

    async def uncount(self, song: Song) -> bool:
        """Uncount a submit that was not accepted."""
        async with self.database.write() as connection:
            return await self.operator.unmark_submitting(connection, song)

    async def bring_to_posting(self, song: Song) -> Song:
        """Have its submit accepted and its audio ready; return its row then."""
        now, song_id = self.clock(), song.song_id
        async with self.database.write() as connection:
            for done in (
                await song_rows.mark_submitted(connection, song_id, request_id="r", at=now),
                await song_rows.mark_downloaded(
                    connection, song_id, submitted_at=now, at=now, run_low=1, run_high=2
                ),
                await song_rows.mark_ready(connection, song_id, file="x.mp3", at=now),
                await song_rows.mark_posting(connection, song_id, at=now),
            ):
                assert done
        return replace(song, state=State.POSTING)

    async def complete(self, song: Song, *, undelivered: bool = False) -> None:
        """Run a song to its end: posted, or undelivered."""
        assert await self.submit(song)
        song = await self.bring_to_posting(song)
        if undelivered:
            assert await self.completion.mark_undelivered(song, Reason.CHANNEL_GONE)
        else:
            assert await self.completion.complete(song, 9_000 + song.song_id)

    async def changes(self, server_id: int = SERVER) -> list[Change]:
        """Return the history, oldest first."""
        return (await changes.of_server(self.database.reader, server_id, limit=1_000, offset=0))[
            ::-1
        ]

    async def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        found = await self.database.reader.execute_fetchall(sql, values)
        return [tuple(row) for row in found]


def compose(
    database: Database,
    clock: Callable[[], datetime],
    *,
    defaults: Defaults = Defaults(),
    budgets: DefaultBudgets = DefaultBudgets(),
    allowed_servers: Collection[int] = (),
) -> Product:
    """Compose all services on one database."""
    notified: list[None] = []
    redrawn: list[int] = []
    wakes: list[None] = []

    def notify() -> None:
        notified.append(None)

    settings_reader = SettingsReader(defaults)
    changelog = Changelog(database, clock=clock, notify=notify)
    budget = ServerBudget(database, settings_reader, changelog)
    operator = OperatorBudgets(database, clock=clock, defaults=budgets)
    credits = Credits(database, settings_reader, budget, clock=clock)
    completion = SongCompletion(database, credits, clock=clock)
    incidents = Incidents(database, UnreachableOwner(), clock=WatchedClock(clock))
    songs = Songs(
        database,
        settings_reader,
        credits,
        budget,
        operator,
        completion,
        incidents,
        clock=clock,
        random_seed=lambda: 7,
        wake=lambda: wakes.append(None),
        notify=notify,
        allowed_servers=allowed_servers,
    )
    return Product(
        database,
        clock,
        songs,
        completion,
        credits,
        ServerSettings(
            database,
            settings_reader,
            changelog,
            completion.cancel_waiting,
            clock=clock,
            changed=redrawn.append,
        ),
        CreditTransfers(database, settings_reader, credits, changelog, clock=clock),
        changelog,
        budget,
        operator,
        notified,
        redrawn,
        incidents,
        wakes,
    )


def requester(song_id: int, *, who: Member = WHO, at: datetime, **changes: Any) -> Interaction:
    """The interaction that requests a song."""
    values: dict[str, Any] = {
        "interaction_id": song_id,
        "application_id": APPLICATION,
        "server_id": who.server_id,
        "channel_id": CHANNEL,
        "member_id": who.member_id,
        "token": "token",
        "received_at": at,
        "roles": who.roles or frozenset(),
    }
    return Interaction(**values | changes)


def member(member_id: int, *roles: int, server_id: int = SERVER) -> Member:
    """A member of the server, with roles."""
    return Member(server_id, member_id, frozenset(roles))
