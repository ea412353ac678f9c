"""Who may spend what. The rules are in "Credits" of docs/architecture.md.

Credits come in lots (a day's allowance, a grant); what expires first is spent first, and a refund
returns to where the credits came from. The methods that take a connection are for use inside one
transaction of their caller, with the change that they belong to.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from aiosqlite import Connection

from db import ledger, servers, songs
from db.database import Database
from db.records import Entry, Lot, Song, to_ms
from services.clock import Clock
from services.errors import InvalidRequest, NotEnoughCredits

DEFAULT_ALLOWANCE = 10
MAX_AMOUNT = 1_000_000
"""The most that one rule or one grant may hold, in credits."""
MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class Prices:
    """What a song costs: one credit for each begun part of its length times that of its steps."""

    seconds: int = 30
    steps: int = 50

    def of(self, seconds: int, steps: int) -> int:
        """The price in credits."""
        return math.ceil(seconds / self.seconds) * math.ceil(steps / self.steps)


@dataclass(frozen=True, slots=True)
class Balance:
    """A member's credits in a server. What is held for unfinished songs counts as spent."""

    free: int
    allowance: int
    lots: Sequence[Lot]
    refills_at: datetime

    @property
    def of_today(self) -> int:
        """What is left of the day's allowance."""
        return sum(lot.remaining for lot in self.lots if lot.kind == "allowance")

    @property
    def granted(self) -> int:
        """What is left of grants and of late refunds."""
        return self.free - self.of_today


class Credits:
    """Balances, holds and what becomes of them."""

    def __init__(
        self, database: Database, *, clock: Clock, default_allowance: int = DEFAULT_ALLOWANCE
    ) -> None:
        self._database = database
        self._clock = clock
        self._default_allowance = default_allowance

    async def balance(self, server_id: int, member_id: int) -> Balance:
        """What a member has now. Looking grants the day's allowance, if nothing else has."""
        async with self._database.write() as connection:
            return await self.balance_in(connection, server_id, member_id)

    async def latest(self, server_id: int, member_id: int, *, limit: int) -> list[Entry]:
        """A member's newest entries, newest first."""
        return await ledger.latest(self._database.reader, server_id, member_id, limit=limit)

    async def held(self, server_id: int, member_id: int) -> int:
        """What is set aside for a member's unfinished songs."""
        return await songs.price_of_unfinished(self._database.reader, server_id, member_id)

    async def allowance(self, server_id: int) -> int:
        """A server's credits a day for each member."""
        return await self._rule(self._database.reader, server_id)

    async def set_allowance(self, server_id: int, allowance: int) -> int:
        """Change a server's daily allowance; what it was before.

        A higher one gives its difference at once, a lower one takes only what is free.

        Raises:
            InvalidRequest: not between 0 and `MAX_AMOUNT`.
        """
        if not 0 <= allowance <= MAX_AMOUNT:
            raise InvalidRequest(f"The allowance must be between 0 and {MAX_AMOUNT:,} credits.")
        async with self._database.write() as connection:
            await servers.ensure_server(connection, server_id)
            before = await self._rule(connection, server_id)
            await servers.set_allowance(connection, server_id, allowance)
            return before

    async def grant(
        self,
        *,
        grant_id: int,
        server_id: int,
        member_id: int,
        actor_id: int,
        amount: int,
        reason: str,
    ) -> Balance:
        """Give a member credits that don't expire; what they have then.

        `grant_id` is the interaction's: the same one delivered twice grants once.

        Raises:
            InvalidRequest: the amount is not between 1 and `MAX_AMOUNT`, or the reason is blank or
                longer than `MAX_REASON` characters.
        """
        if not 1 <= amount <= MAX_AMOUNT:
            raise InvalidRequest(f"The amount must be between 1 and {MAX_AMOUNT:,} credits.")
        if not reason.strip() or len(reason) > MAX_REASON:
            raise InvalidRequest(f"Please give a reason of at most {MAX_REASON} characters.")
        async with self._database.write() as connection:
            await self._open_day(connection, server_id, member_id, at=self._clock())
            await self._put_in(
                connection,
                f"grant:{grant_id}",
                server_id=server_id,
                member_id=member_id,
                amount=amount,
                actor_id=actor_id,
                reason=reason.strip(),
            )
            return await self.balance_in(connection, server_id, member_id)

    # --- inside the transaction of a caller -----------------------------------------------------

    async def balance_in(self, connection: Connection, server_id: int, member_id: int) -> Balance:
        """`balance`, inside a transaction."""
        now = self._clock()
        allowance = await self._open_day(connection, server_id, member_id, at=now)
        lots = await ledger.spendable(connection, server_id, member_id, at=now)
        return Balance(sum(lot.remaining for lot in lots), allowance, lots, day_of(now)[1])

    async def hold(self, connection: Connection, song: Song) -> None:
        """Set the song's price aside.

        Raises:
            NotEnoughCredits: less than the price is free.
        """
        balance = await self.balance_in(connection, song.server_id, song.member_id)
        if balance.free < song.price:
            raise NotEnoughCredits(
                f"This song costs {credits_text(song.price)} and you have {balance.free:,}. "
                f"{balance.allowance:,} a day are yours here; they refill "
                f"<t:{int(balance.refills_at.timestamp())}:R>."
            )
        entry_id = f"hold:{song.song_id}"
        entered = await ledger.insert(
            connection,
            entry_id,
            kind="hold",
            server_id=song.server_id,
            member_id=song.member_id,
            song_id=song.song_id,
            amount=-song.price,
            price=song.price,
            at=self._clock(),
        )
        _must(entered, entry_id)
        owed = song.price
        for lot in balance.lots:
            if part := min(owed, lot.remaining):
                moved = await ledger.move(connection, entry_id, lot.lot_id, amount=-part)
                _must(moved, f"{entry_id}, {lot.lot_id}")
                owed -= part

    async def settle(self, connection: Connection, song: Song) -> None:
        """The song was made: what was held is spent."""
        entry_id = f"settle:{song.song_id}"
        entered = await ledger.insert(
            connection,
            entry_id,
            kind="settle",
            server_id=song.server_id,
            member_id=song.member_id,
            song_id=song.song_id,
            after_id=f"hold:{song.song_id}",
            amount=0,
            price=song.price,
            at=self._clock(),
        )
        _must(entered, entry_id)

    async def refund(self, connection: Connection, song: Song) -> None:
        """The song was not made: what was held returns to where it came from."""
        await self._give_back(connection, song, kind="refund", after="hold")

    async def compensate(self, connection: Connection, song: Song) -> None:
        """The song was made and never delivered: its price returns after all."""
        await self._give_back(connection, song, kind="compensate", after="settle")

    # --- how ------------------------------------------------------------------------------------

    async def _rule(self, connection: Connection, server_id: int) -> int:
        server = await servers.get_server(connection, server_id)
        if server is None or server.allowance is None:
            return self._default_allowance
        return server.allowance

    async def _open_day(
        self, connection: Connection, server_id: int, member_id: int, *, at: datetime
    ) -> int:
        """Close what has expired and bring today's lot to the rule in force; the rule."""
        await servers.ensure_server(connection, server_id)
        await servers.ensure_member(connection, server_id, member_id)
        for lot in await ledger.expired(connection, server_id, member_id, at=at):
            await self._expire(connection, server_id, member_id, lot, at=at)
        rule = await self._rule(connection, server_id)
        start, end = day_of(at)
        lot_id = f"allowance:{server_id}:{member_id}:{to_ms(start)}"
        today = await ledger.get_lot(connection, lot_id)
        if today is None:
            await ledger.insert_lot(
                connection,
                lot_id,
                kind="allowance",
                server_id=server_id,
                member_id=member_id,
                expires_at=end,
            )
            today = Lot(lot_id, "allowance", 0, 0, 0, end)
        used = today.amount - today.remaining
        if by := max(0, rule - used) - today.remaining:
            await self._resize(connection, server_id, member_id, today, by=by, at=at)
        return rule

    async def _expire(
        self, connection: Connection, server_id: int, member_id: int, lot: Lot, *, at: datetime
    ) -> None:
        entry_id = f"expire:{lot.lot_id}:{lot.revision}"
        entered = await ledger.insert(
            connection,
            entry_id,
            kind="expire",
            server_id=server_id,
            member_id=member_id,
            amount=-lot.remaining,
            at=at,
        )
        _must(entered and await ledger.close_lot(connection, entry_id, lot), entry_id)

    async def _resize(
        self,
        connection: Connection,
        server_id: int,
        member_id: int,
        lot: Lot,
        *,
        by: int,
        at: datetime,
    ) -> None:
        entry_id = f"{lot.lot_id}:{lot.revision}"
        entered = await ledger.insert(
            connection,
            entry_id,
            kind="allowance",
            server_id=server_id,
            member_id=member_id,
            amount=by,
            at=at,
        )
        _must(entered, entry_id)
        resized = await ledger.resize_lot(connection, lot.lot_id, by=by, revision=lot.revision)
        _must(resized, lot.lot_id)
        await ledger.add_part(connection, entry_id, lot.lot_id, amount=by)

    async def _put_in(
        self,
        connection: Connection,
        grant_id: str,
        *,
        server_id: int,
        member_id: int,
        amount: int,
        actor_id: int,
        reason: str,
    ) -> None:
        """Credits of their own lot; nothing where the fact is known."""
        if not await ledger.insert(
            connection,
            grant_id,
            kind="grant",
            server_id=server_id,
            member_id=member_id,
            amount=amount,
            actor_id=actor_id,
            reason=reason,
            at=self._clock(),
        ):
            return
        await ledger.insert_lot(
            connection,
            grant_id,
            kind="grant",
            server_id=server_id,
            member_id=member_id,
            expires_at=None,
        )
        resized = await ledger.resize_lot(connection, grant_id, by=amount, revision=0)
        _must(resized, grant_id)
        await ledger.add_part(connection, grant_id, grant_id, amount=amount)

    async def _give_back(
        self, connection: Connection, song: Song, *, kind: str, after: str
    ) -> None:
        now = self._clock()
        entry_id = f"{kind}:{song.song_id}"
        held = await ledger.parts(connection, f"hold:{song.song_id}")
        entered = await ledger.insert(
            connection,
            entry_id,
            kind=kind,
            server_id=song.server_id,
            member_id=song.member_id,
            song_id=song.song_id,
            after_id=f"{after}:{song.song_id}",
            amount=-sum(moved for _, moved in held),
            price=song.price,
            at=now,
        )
        _must(entered, entry_id)
        late = 0
        for lot, moved in held:
            if lot.expires_at is not None and lot.expires_at <= now:
                late -= moved
            else:
                returned = await ledger.move(connection, entry_id, lot.lot_id, amount=-moved)
                _must(returned, f"{entry_id}, {lot.lot_id}")
        if late:
            await self._return_late(connection, song, entry_id, amount=late, at=now)

    async def _return_late(
        self, connection: Connection, song: Song, entry_id: str, *, amount: int, at: datetime
    ) -> None:
        """What has expired meanwhile returns until the end of the running day."""
        lot_id = f"return:{song.song_id}"
        await ledger.insert_lot(
            connection,
            lot_id,
            kind="return",
            server_id=song.server_id,
            member_id=song.member_id,
            expires_at=day_of(at)[1],
        )
        _must(await ledger.resize_lot(connection, lot_id, by=amount, revision=0), lot_id)
        await ledger.add_part(connection, entry_id, lot_id, amount=amount)


def _must(done: bool, what: str) -> None:
    """Give up the transaction where a statement found other rows than those it was decided on.

    Nobody else writes meanwhile: it would be a defect, and half an entry would be worse.
    """
    if not done:
        raise RuntimeError(f"the ledger does not take {what}")


def day_of(moment: datetime) -> tuple[datetime, datetime]:
    """Begin and end of the day, in UTC, that `moment` is in."""
    start = datetime.combine(moment.date(), time(), tzinfo=moment.tzinfo)
    return start, start + timedelta(days=1)


def credits_text(amount: int) -> str:
    """`1 credit`, `2 credits`."""
    return f"{amount:,} credit" if amount == 1 else f"{amount:,} credits"
