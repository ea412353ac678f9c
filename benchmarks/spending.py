"""What deciding and spending takes in a file of 100,000 members and 1,000,000 ledger rows.

Next to an empty file of the same schema, in one run: what grows with the file shows as a ratio.
"""

import asyncio
import contextlib
import itertools
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from db import database as database_module
from db.connection import Connection
from db.database import Database
from db.records import to_ms
from services.calendar import Every
from services.clock import utc_now
from services.credits.credits import Move
from services.providers.registry import PARAMETERS
from services.settings.catalogue import BLOCKED_WORDS, BUDGET, CALENDAR, CHANNELS, ROLE_ALLOWANCE
from services.settings.server_settings import Manager
from services.settings.settings import Defaults, Limits, Member
from services.songs.song_request import parse_request
from tests.processes import percentile
from tests.unit.services.credits.composed import Product, compose, requester

SERVERS = 20
MEMBERS = 100_000
DAYS = 3
"""Each member made a song on each of them: four entries a day, less one on the last."""
MEASURED = 1_000
GIFTS = 1_000
"""Lots of one member, in the full file; in the empty one they have a single one."""
ROLES = 40
ROLE_RULES = 25


async def _give(product: Product, lots: int) -> None:
    """Give one member credits in so many lots."""
    async with product.database.write() as connection:
        await product.credits.balance_in(connection, GIFTED)
        for number in range(lots):
            move = Move(f"grant:gifted:{number}", "grant", 100_000 // lots, 1, "thanks")
            await product.credits.apply(connection, GIFTED, move)


async def _decide(product: Product) -> None:
    """Give every server settings, as a well managed one has."""
    settings = product.server_settings
    for server_id in range(1, SERVERS + 1):
        by = Manager(server_id, 1)
        await settings.update(
            by, CALENDAR, lambda c: replace(c, every=Every.WEEK, hour=4, zone="Europe/Berlin")
        )
        await settings.set(by, BUDGET, 10_000_000)
        await settings.set(by, BLOCKED_WORDS, [f"unwanted{n}" for n in range(200)])
        await settings.set(by, CHANNELS, list(range(1, 11)))
        for role in range(ROLE_RULES):
            await settings.set(by, ROLE_ALLOWANCE, 10 + role, 1_000 + role)


GIFTED = Member(1, MEMBERS + 1)


def main() -> None:
    """Print what was measured, as Markdown."""
    print("\n".join(asyncio.run(_measured())))


async def _measured() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="songwright-bench-") as folder:
        small, large = Path(folder, "small.db"), Path(folder, "large.db")
        async with _opened(small) as empty, _opened(large) as full:
            began = time.perf_counter()
            entries, size = await asyncio.to_thread(_fill, large)
            filled = time.perf_counter() - began
            for product, lots in ((empty, 1), (full, GIFTS)):
                await _decide(product)
                await _give(product, lots)
            works = {
                "one entry and its commit": _one_entry,
                "requesting a song": _request,
                f"the same, of a member with {GIFTS:,} lots (empty: 1)": _request_gifted,
                "`/credits`, `/quota show @member`": _statement,
                "`/quota show`": _settings,
                "first page of `/history`": _history,
            }
            lines = [
                "## Deciding and spending",
                "",
                (
                    f"{MEMBERS:,} members in {SERVERS} servers, {entries:,} ledger rows "
                    f"({size / 2**20:,.0f} MiB, filled in {filled:.0f} s). Each "
                    f"server has {ROLE_RULES} role settings, 200 blocked words, a budget, ten "
                    f"channels and weekly periods. Medians of {MEASURED:,}, by members in turn."
                ),
                "",
                "| | empty file | full file | ratio | p99, full |",
                "|---|---|---|---|---|",
            ]
            for name, work in works.items():
                with _timed_transactions() as inside:
                    before, after = await _alternating(work, empty, full)
                lines.append(_row(name, before, after))
                if work is _request:
                    # The files take turns, and a request is one transaction.
                    lines.append(
                        _row("its transaction, begin to commit", inside[::2], inside[1::2])
                    )
            return lines


def _row(name: str, before: list[float], after: list[float]) -> str:
    small, large = statistics.median(before), statistics.median(after)
    p99 = _ms(percentile(after, 99))
    return f"| {name} | {_ms(small)} | {_ms(large)} | {large / small:.2f} | {p99} |"


@contextlib.contextmanager
def _timed_transactions() -> Iterator[list[float]]:
    """Seconds that each transaction in one trip takes, without the trip."""
    took: list[float] = []
    run: Any = database_module._run_transaction  # noqa: SLF001 - the transaction without its trip

    def timed(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return run(*arguments)
        finally:
            took.append(time.perf_counter() - began)

    database_module._run_transaction = timed  # type: ignore[assignment]  # noqa: SLF001
    try:
        yield took
    finally:
        database_module._run_transaction = run  # noqa: SLF001


@contextlib.asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[Product]:
    database = await Database.open(path)
    try:
        yield compose(database, utc_now, defaults=Defaults(limits=Limits(unfinished=MEASURED)))
    finally:
        await database.close()


Work = Callable[[Product, Member], Awaitable[object]]


async def _alternating(work: Work, *products: Product) -> list[list[float]]:
    """Seconds of each call, the files in turn, so that what disturbs one disturbs the other."""
    took: list[list[float]] = [[] for _ in products]
    for member in itertools.islice(_members(), MEASURED):
        for product, seconds in zip(products, took, strict=True):
            began = time.perf_counter()
            await work(product, member)
            seconds.append(time.perf_counter() - began)
    return took


def _members() -> Iterator[Member]:
    """Members from all over the file."""
    roles = frozenset(range(1_000, 1_000 + ROLES))
    for number in itertools.count():
        member_id = 1 + number * 7_919 % MEMBERS
        yield Member(1 + member_id % SERVERS, member_id, roles)


_next_id = itertools.count(10**18)
REQUEST = parse_request(
    PARAMETERS,
    genres="funk, pop, female vocals, energetic, 105 BPM",
    lyrics="[verse]\n" + "One more night on the midnight train, one more mile in the rain\n" * 20,
    random_seed=lambda: 1,
)


async def _request(product: Product, member: Member) -> None:
    interaction = requester(next(_next_id), who=member, at=utc_now(), channel_id=1)
    await product.songs.create(interaction, REQUEST)


async def _request_gifted(product: Product, _: Member) -> None:
    await _request(product, GIFTED)


async def _statement(product: Product, member: Member) -> None:
    await product.credits.statement(member, entries=8)


async def _settings(product: Product, member: Member) -> None:
    await product.server_settings.read(member.server_id)


async def _history(product: Product, member: Member) -> None:
    await product.songs.history(member.server_id, member.member_id, page=1)


async def _one_entry(product: Product, _: Member) -> None:
    """What no transaction can be quicker than: one trip, one row, one commit."""

    async def work(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO drafts (draft_id, server_id, member_id, options, created_at) "
            "VALUES (?, 1, 1, '{}', 0)",
            (next(_next_id),),
        )

    await product.database.transact(work)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


# --- filling -------------------------------------------------------------------------------------


def _fill(path: Path) -> tuple[int, int]:
    """Rows as the services write them, in bulk; those of the ledger, and the file's bytes."""
    connection = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO servers (server_id, last_number) VALUES (?, ?)",
            [(server, MEMBERS * DAYS) for server in range(1, SERVERS + 1)],
        )
        people = [(1 + member % SERVERS, member) for member in range(1, MEMBERS + 1)]
        connection.executemany("INSERT INTO members (server_id, member_id) VALUES (?, ?)", people)
        today = datetime.combine(utc_now().date(), datetime.min.time(), tzinfo=UTC)
        for ago in range(DAYS, 0, -1):
            _fill_day(
                connection, people, today - timedelta(days=ago), offset=(DAYS - ago) * MEMBERS
            )
        grants = [(f"grant:{member}", server, member) for server, member in people]
        connection.executemany(
            "INSERT INTO ledger (entry_id, kind, server_id, member_id, amount, actor_id, reason, "
            "at) VALUES (?, 'grant', ?, ?, 50, 1, 'welcome', 1)",
            grants,
        )
        connection.executemany(
            "INSERT INTO lots (lot_id, kind, server_id, member_id, amount, remaining) "
            "VALUES (?, 'grant', ?, ?, 50, 50)",
            grants,
        )
        connection.executemany(
            "INSERT INTO ledger_parts (entry_id, lot_id, amount) VALUES (?, ?, 50)",
            [(entry, entry) for entry, _, _ in grants],
        )
        connection.execute("COMMIT")
        (count,) = connection.execute("SELECT count(*) FROM ledger").fetchone()
        return int(count), path.stat().st_size


def _fill_day(
    connection: sqlite3.Connection, people: list[tuple[int, int]], day: datetime, *, offset: int
) -> None:
    """A song of each member, out of the day's allowance, of which nothing is left."""
    start, end = to_ms(day), to_ms(day + timedelta(days=1))
    songs = [(offset + member, server, member) for server, member in people]
    connection.executemany(
        "INSERT INTO songs (song_id, server_id, member_id, channel_id, number, genres, lyrics, "
        "seconds, steps, cfg, shift, lyrics_strength, seed, price, state, state_at, submits, "
        "requested_at, submitted_at, posting_at, ended_at, application_id, post_id) "
        "VALUES (?1, ?2, ?3, 1, ?1, 'funk, pop', '[verse]', 60, 50, 4, 4, 1, 1, 2, 'completed', "
        f"{start}, 1, {start}, {start}, {start}, {start}, 1, ?1)",
        songs,
    )
    connection.executemany(
        "INSERT INTO lots (lot_id, kind, server_id, member_id, amount, remaining, expires_at) "
        f"VALUES (?, 'allowance', ?, ?, 2, 0, {end})",
        [(f"allowance:{server}:{member}:{start}", server, member) for _, server, member in songs],
    )
    for kind, amount, after in (("allowance", 2, None), ("hold", -2, None), ("settle", 0, "hold")):
        rows = []
        for song, server, member in songs:
            own = kind == "allowance"
            rows.append(
                (
                    f"allowance:{server}:{member}:{start}:0" if own else f"{kind}:{song}",
                    *(kind, server, member, None if own else song),
                    *(f"{after}:{song}" if after else None, amount, None if own else 2),
                    *(start if kind == "hold" else None, start),
                )
            )
        connection.executemany(
            "INSERT INTO ledger (entry_id, kind, server_id, member_id, song_id, after_id, amount, "
            "price, period_at, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        if kind != "settle":
            connection.executemany(
                "INSERT INTO ledger_parts (entry_id, lot_id, amount) VALUES (?, ?, ?)",
                [
                    (row[0], f"allowance:{server}:{member}:{start}", amount)
                    for row, (_, server, member) in zip(rows, songs, strict=True)
                ],
            )


if __name__ == "__main__":
    main()
