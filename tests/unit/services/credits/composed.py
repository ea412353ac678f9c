"""The services that move credits, put together as `bot.py` does, on a real database."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from db import servers
from db import songs as song_rows
from db.database import Database
from db.records import Change, Song
from services.clock import Clock, WatchedClock
from services.credits.budgets import DefaultBudgets, OperatorBudgets, ServerBudget
from services.credits.credits import Credits
from services.credits.transfers import CreditTransfers
from services.operations.incidents import Incidents
from services.providers.registry import PARAMETERS
from services.settings.changelog import Changelog
from services.settings.reader import SettingsReader
from services.settings.server_settings import Manager, ServerSettings
from services.settings.settings import Defaults, Member
from services.songs.completion import SongCompletion
from services.songs.song_request import parse_request
from services.songs.songs import Interaction, Songs
from tests.factories import APPLICATION, CHANNEL, MEMBER, SERVER

MANAGER = 7_000
BY = Manager(SERVER, MANAGER)
WHO = Member(SERVER, MEMBER)


class Nobody:
    """An operator who can't be reached."""

    async def notify(self, text: str, *, detail: str = "") -> bool:
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
    told: list[None] = field(default_factory=list)
    """One for each time that there may be changes to tell."""
    shown: list[int] = field(default_factory=list)
    """Songs whose status message is to be edited."""

    async def ask(self, song_id: int = 1, *, who: Member = WHO, **changes: Any) -> Song:
        """Ask for a song: of 30 s, which costs one credit, unless said otherwise."""
        values: dict[str, Any] = {"genres": "funk", "seconds": 30, "random_seed": lambda: 7}
        request = parse_request(PARAMETERS, **values | changes)
        return await self.songs.ask(requester(song_id, who=who, at=self.clock()), request)

    async def free(self, who: Member = WHO) -> int:
        """What a member has now."""
        return (await self.credits.balance(who)).free

    async def grant(self, amount: int, grant_id: int = 5, *, who: Member = WHO, **k: Any) -> int:
        """Give credits; what the member has then."""
        values: dict[str, Any] = {"actor_id": MANAGER, "reason": "A good song."} | k
        moved = await self.transfers.grant(who, grant_id=grant_id, amount=amount, **values)
        return moved.balance.free

    async def take(self, amount: int, take_id: int = 6, *, who: Member = WHO) -> int:
        """Take credits; how many it were."""
        moved = await self.transfers.take(
            who, take_id=take_id, actor_id=MANAGER, amount=amount, reason="Too many."
        )
        return moved.amount

    async def submit(self, song: Song) -> bool:
        """Count a submit of it, as the runner and the worker do."""
        async with self.database.write() as connection:
            counted = await self.operator.mark_submitting(connection, song)
            if counted:
                await servers.mark_started(
                    connection, song.server_id, song.member_id, at=self.clock()
                )
            return counted

    async def uncount(self, song: Song) -> bool:
        """The submit was certainly not accepted."""
        async with self.database.write() as connection:
            return await self.operator.unmark_submitting(connection, song)

    async def bring_to_posting(self, song: Song) -> None:
        """Its submit was accepted, and its audio is there."""
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

    async def complete(self, song: Song, *, undelivered: str | None = None) -> None:
        """All its way to a good end."""
        assert await self.submit(song)
        await self.bring_to_posting(song)
        if undelivered:
            assert await self.completion.mark_undelivered(song, undelivered)
        else:
            assert await self.completion.complete(song, 9_000 + song.song_id)

    async def changes(self, server_id: int = SERVER) -> list[Change]:
        """All that was done, oldest first."""
        found: list[Change] = []
        page = 1
        while True:
            history = await self.changelog.history(server_id, page=page)
            found += history.changes
            if history.number == history.pages:
                return found[::-1]
            page += 1

    async def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query gives."""
        found = await self.database.reader.execute_fetchall(sql, values)
        return [tuple(row) for row in found]


def compose(
    database: Database,
    clock: Callable[[], datetime],
    *,
    defaults: Defaults = Defaults(),
    budgets: DefaultBudgets = DefaultBudgets(),
) -> Product:
    """All of it on one database."""
    told: list[None] = []
    shown: list[int] = []

    def tell() -> None:
        told.append(None)

    settings_reader = SettingsReader(defaults)
    changelog = Changelog(database, clock=clock, notify=tell)
    budget = ServerBudget(database, settings_reader, changelog)
    operator = OperatorBudgets(database, clock=clock, defaults=budgets)
    credits = Credits(database, settings_reader, budget, clock=clock)
    completion = SongCompletion(database, credits, clock=clock)
    songs = Songs(
        database,
        settings_reader,
        credits,
        budget,
        operator,
        completion,
        Incidents(database, Nobody(), clock=WatchedClock(clock)),
        clock=clock,
        random_seed=lambda: 7,
        wake=lambda: None,
        tell=tell,
    )
    return Product(
        database,
        clock,
        songs,
        completion,
        credits,
        ServerSettings(
            database, settings_reader, changelog, completion, clock=clock, changed=shown.append
        ),
        CreditTransfers(database, settings_reader, credits, changelog, clock=clock),
        changelog,
        budget,
        operator,
        told,
        shown,
    )


def requester(song_id: int, *, who: Member = WHO, at: datetime, **changes: Any) -> Interaction:
    """The interaction that asks for a song."""
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
