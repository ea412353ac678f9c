"""Songs, rows and a clock for tests: defaults that are valid, so that a test says what matters."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from db import servers
from db.database import Database
from db.records import Lot, LotSums, Reason, Song, State, to_ms
from services.clock import Clock, WatchedClock
from services.credits.budgets import ServerBudget
from services.credits.credits import Credits
from services.credits.transfers import CreditTransfers
from services.settings.changelog import Changelog
from services.settings.reader import SettingsReader
from services.settings.server_settings import ServerSettings
from services.settings.settings import Defaults, Member
from services.songs.completion import SongCompletion

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
SERVER, CHANNEL, MEMBER, APPLICATION = 1_000, 2_000, 3_000, 4_000

_SUBMITTED = (State.SUBMITTED, State.DOWNLOADED, State.READY, State.POSTING)
_MADE = (State.UNDELIVERED, State.COMPLETED, State.REFUNDED)
_REASONS = {
    State.UNDELIVERED: Reason.CHANNEL_GONE,
    State.REFUNDED: Reason.CHANNEL_GONE,
    State.FAILED: Reason.MODEL_FAILED,
}


class SettableClock(WatchedClock):
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self._jumped = timedelta()
        super().__init__(lambda: self.now, self._elapsed)

    def _elapsed(self) -> float:
        return (self.now - self._jumped - NOON).total_seconds()

    def jump(self, **by: float) -> datetime:
        """Somebody sets it, and no time passes."""
        self.now += timedelta(**by)
        self._jumped += timedelta(**by)
        return self()

    def restarted(self) -> WatchedClock:
        """The clock of a process that begins now."""
        return WatchedClock(lambda: self.now, self._elapsed)

    def advance(self, **by: float) -> datetime:
        """Move by a `timedelta(**by)`; back, where it is negative."""
        self.now += timedelta(**by)
        return self.now


def make_song(song_id: int = 1, **fields: Any) -> Song:
    """A valid song: waiting, or in the `state` that is given, with all that it needs."""
    state = State(fields.get("state", State.WAITING))
    submitted = state in (*_SUBMITTED, *_MADE)
    in_channel = state is State.COMPLETED and not fields.get("reason")
    values: dict[str, Any] = {
        "song_id": song_id,
        "server_id": SERVER,
        "member_id": MEMBER,
        "channel_id": CHANNEL,
        "number": song_id,
        "provider": "segmind",
        "genres": "funk, pop",
        "lyrics": "[chorus]\nMidnight train",
        "seconds": 60,
        "steps": 50,
        "cfg": 4.0,
        "shift": 4.0,
        "lyrics_strength": 1.0,
        "seed": 7,
        "price": 2,
        "state": state,
        "state_at": NOON,
        "processing": state in (State.DOWNLOADED, State.READY, State.POSTING),
        "submits": int(submitted or state is State.SUBMITTING),
        "request_id": f"request-{song_id}" if submitted else None,
        "reason": _REASONS.get(state),
        "file": (
            f"{song_id}.mp3" if state in (State.READY, State.POSTING, State.UNDELIVERED) else None
        ),
        "requested_at": NOON,
        "submitted_at": NOON if submitted else None,
        "posting_at": NOON if state in (State.POSTING, *_MADE) else None,
        "ended_at": NOON if state in (*_MADE, State.FAILED, State.CANCELLED) else None,
        "run_low": None,
        "run_high": None,
        "application_id": APPLICATION,
        "message_id": None,
        "token": None,
        "token_until": None,
        "post_id": 9_000 + song_id if in_channel else None,
        "counted_at": NOON if submitted or state is State.SUBMITTING else None,
        "in_doubt": False,
        "fault": None,
        "large_reads": 0,
        "next_attempt_at": NOON if state is State.UNDELIVERED else None,
    }
    if state is State.CANCELLED:
        values["lyrics"] = ""
    return Song(**values | fields)


async def add_song(database: Database, song_id: int = 1, **fields: Any) -> Song:
    """`make_song`, as a row. Nothing is held for it: see `add_held_song`."""
    song = make_song(song_id, **fields)
    async with database.write() as connection:
        await servers.ensure_server(connection, song.server_id)
        await servers.ensure_member(connection, song.server_id, song.member_id)
        await connection.execute(_INSERT, _row(song))
    return song


async def add_held_song(
    database: Database, credits: Credits, song_id: int = 1, **fields: Any
) -> Song:
    """`add_song`, with its price held."""
    song = await add_song(database, song_id, **fields)
    await hold(database, credits, song)
    return song


async def hold(
    database: Database, credits: Credits, song: Song, *, roles: frozenset[int] = frozenset()
) -> None:
    """Hold a song's price, as requesting it does."""
    member = Member(song.server_id, song.member_id, roles)
    async with database.write() as connection:
        settings = await credits._settings_reader.read(connection, song.server_id, song.member_id)
        opened = await credits.open(connection, member, settings, at=credits._clock())
        await credits.hold(connection, song, opened, settings)


def sums_of(lots: Iterable[Lot]) -> LotSums:
    """Sum these lots up, as the database does."""
    lots = list(lots)
    own = [lot for lot in lots if lot.kind == "allowance"]
    others = [lot for lot in lots if lot.kind != "allowance"]
    return LotSums(
        lots=len(lots),
        granted_lots=len(others),
        allowance=sum(lot.remaining for lot in own),
        granted=sum(lot.remaining for lot in others),
        granted_amount=sum(lot.amount for lot in others),
    )


def make_credits(database: Database, clock: Clock, *, defaults: Defaults = Defaults()) -> Credits:
    """Make credits with all that they need; nobody is notified."""
    settings_reader = SettingsReader(defaults)
    changelog = Changelog(database, clock=clock, notify=lambda: None)
    budget = ServerBudget(database, settings_reader, changelog)
    return Credits(database, settings_reader, budget, clock=clock)


def make_server_settings(database: Database, credits: Credits) -> ServerSettings:
    """Make a server's settings for those credits."""
    changelog = credits._budget._changelog
    return ServerSettings(
        database,
        credits._settings_reader,
        changelog,
        SongCompletion(database, credits, clock=credits._clock).cancel_waiting,
        clock=credits._clock,
        changed=lambda _: None,
    )


def make_giving(database: Database, credits: Credits) -> CreditTransfers:
    """Make grants and gifts for those credits."""
    changelog = credits._budget._changelog
    return CreditTransfers(
        database, credits._settings_reader, credits, changelog, clock=credits._clock
    )


def _row(song: Song) -> dict[str, Any]:
    return {
        name: to_ms(value) if isinstance(value, datetime) else value
        for name, value in asdict(song).items()
    }


_COLUMNS = tuple(Song.__dataclass_fields__)
_INSERT = (
    f"INSERT INTO songs ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join(f':{column}' for column in _COLUMNS)})"
)
