"""Balances and holds: see "Credits" of docs/architecture.md.

Credits come in lots (a period's allowance, a grant); what expires first is spent first, and a
refund returns to where the credits came from. The methods that take a connection are for use inside
one transaction of their caller, with the change that they belong to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from db import budgets, ledger, role_grants, servers, songs
from db.connection import Connection
from db.database import Database
from db.records import Entry, Lot, LotSums, Song, to_ms
from services.calendar import Every, Period
from services.clock import Clock
from services.credits.budgets import ServerBudget
from services.errors import NotEnoughCredits
from services.settings.reader import Settings, SettingsReader
from services.settings.settings import Allowance, Member


@dataclass(frozen=True, slots=True)
class Opened:
    """A member's allowance and period, once their lots are up to date."""

    allowance: Allowance
    period: Period
    every: Every
    at: datetime

    @property
    def unlimited(self) -> bool:
        """Return whether songs cost this member nothing."""
        return self.allowance.credits is None


@dataclass(frozen=True, slots=True)
class Balance(Opened):
    """A member's credits in a server. What is held for unfinished songs counts as spent.

    `lots` are the first that expire, `ledger.MOST_LOTS` at most; `sums` are of all.
    """

    lots: Sequence[Lot]
    sums: LotSums

    @property
    def free(self) -> int:
        """Return what can be spent, taken or given away, also by an unlimited member."""
        return self.sums.allowance + self.sums.granted


@dataclass(frozen=True, slots=True)
class CreditStatement:
    """A member's credits in a server, explained. `spent` is of the running period."""

    member: Member
    balance: Balance
    settings: Settings
    spent: int
    held: int
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class CreditPreview:
    """A server's settings, and what a member could spend; None where songs cost them nothing."""

    settings: Settings
    free: int | None


@dataclass(frozen=True, slots=True)
class Move:
    """A `grant` of credits, or a `take`. `actor_id` is None where the operator moves them."""

    entry_id: str
    kind: str
    amount: int
    actor_id: int | None
    reason: str | None
    expires_at: datetime | None = None


class Credits:
    """Balances, holds, and how holds end."""

    def __init__(
        self,
        database: Database,
        settings_reader: SettingsReader,
        budget: ServerBudget,
        *,
        clock: Clock,
    ) -> None:
        self._database = database
        self._settings_reader = settings_reader
        self._budget = budget
        self._clock = clock

    async def balance(self, member: Member) -> Balance:
        """Return what a member has now. The first call in a period grants its allowance."""
        return await self._database.transact(lambda c: self.balance_in(c, member))

    async def statement(self, member: Member, *, entries: int) -> CreditStatement:
        """Explain what a member has, with their newest `entries`. Grants as `balance` does."""

        async def read(connection: Connection) -> CreditStatement:
            server_id, member_id = member.server_id, member.member_id
            settings = await self._settings_reader.read(connection, server_id, member_id)
            balance = await self._balance(connection, member, settings)
            since = balance.period.start
            return CreditStatement(
                member,
                balance,
                settings,
                await songs.price_of_completed(connection, server_id, member_id, since=since),
                await songs.price_of_unfinished(connection, server_id, member_id),
                await ledger.latest(connection, member, limit=entries),
            )

        return await self._database.transact(read)

    async def preview(self, member: Member) -> CreditPreview:
        """Return what `balance` would find, less new grants to their roles. Only reads."""
        reader, now = self._database.reader, self._clock()
        settings = await self._settings_reader.read(reader, member.server_id, member.member_id)
        allowed = settings.allowance_of(member.roles or (), at=now).credits
        if allowed is None:
            return CreditPreview(settings, None)
        sums = await ledger.sums(reader, member, at=now)
        opened = await ledger.get_lot(reader, _allowance_lot(member, settings.timeline.period(now)))
        others = sums.allowance + sums.granted
        if opened is None:
            return CreditPreview(settings, allowed + others)
        # On a clock set back, the lot may have another end: then it is not among the sums.
        if opened.expires_at is None or opened.expires_at > now:
            others -= opened.remaining
        used = opened.amount - opened.remaining
        return CreditPreview(settings, max(0, allowed - used) + others)

    async def left(self, song: Song) -> tuple[int | None, bool]:
        """Return what a song's member has left, and whether the song was free. Only reads.

        None where a new period has begun since they were last seen: what it gives them depends on
        their roles.
        """
        reader, now = self._database.reader, self._clock()
        unlimited = await ledger.amount(reader, f"hold:{song.song_id}") == 0 < song.price
        timeline = await self._settings_reader.timeline(reader, song.server_id)
        opened = await ledger.get_lot(reader, _allowance_lot(song, timeline.period(now)))
        if opened is None:
            return None, unlimited
        sums = await ledger.sums(reader, song, at=now)
        return sums.allowance + sums.granted, unlimited

    async def settings(self, server_id: int, member_id: int = 0) -> Settings:
        """Return a server's settings, with those about one member."""
        return await self._settings_reader.read(self._database.reader, server_id, member_id)

    # --- inside the transaction of a caller -----------------------------------------------------

    async def balance_in(self, connection: Connection, member: Member) -> Balance:
        """Do what `balance` does, inside a transaction."""
        settings = await self._settings_reader.read(connection, member.server_id, member.member_id)
        return await self._balance(connection, member, settings)

    async def open(
        self, connection: Connection, member: Member, settings: Settings, *, at: datetime
    ) -> Opened:
        """Bring a member's lots up to date: expiries, grants to their roles, the allowance.

        Where the roles are not known, what depends on them stays as it is.
        """
        await servers.ensure_server(connection, member.server_id)
        await servers.ensure_member(connection, member.server_id, member.member_id)
        period = settings.timeline.period(at)
        own_id = _allowance_lot(member, period)
        # The period's own lot stays open: `_allow` corrects its end.
        own = await ledger.get_lot(connection, own_id)
        for lot in await ledger.expired(connection, member, at=at, except_id=own_id):
            entry_id, by = f"expire:{lot.lot_id}:{lot.revision}", -lot.remaining
            entered = await ledger.insert(connection, entry_id, member, "expire", by, at=at)
            _require(
                entered and await ledger.change_lot(connection, entry_id, lot, by=by), entry_id
            )
        allowance = settings.allowance_of(member.roles or (), at=at)
        if member.roles is not None:
            if allowance.credits is not None:
                await self._allow(connection, member, own, allowance.credits, period, at=at)
            await self._apply_role_grants(connection, member, at=at)
        return Opened(allowance, period, settings.timeline.at(at).every, at)

    async def hold(
        self, connection: Connection, song: Song, opened: Opened, settings: Settings
    ) -> bool:
        """Set the song's price aside; return whether that recorded a warning about the budget.

        An unlimited member's song is entered with amount 0 and its price.

        Raises:
            NotEnoughCredits: less than the price is free.
            ServerBudgetExceeded: the price would exceed it.
        """
        if not opened.unlimited:
            free = await ledger.free_up_to(connection, song, at=opened.at, price=song.price)
            if free < song.price:
                allowance, refills_at = opened.allowance.credits, opened.period.end
                raise NotEnoughCredits(song.price, free, allowance, opened.every, refills_at)
        warned = await self._budget.count(connection, song, settings, opened.period)
        amount = 0 if opened.unlimited else -song.price
        period_at = opened.period.start
        entry_id = await self._enter(connection, song, "hold", amount=amount, period_at=period_at)
        await self.take_out(connection, entry_id, song, -amount, at=opened.at)
        return warned

    async def settle(self, connection: Connection, song: Song) -> None:
        """Spend what was held: the song was made."""
        await self._enter(connection, song, "settle", after="hold", amount=0)

    async def refund(self, connection: Connection, song: Song) -> None:
        """Return what was held to where it came from: the song was not made."""
        await self._return_price(connection, song, "refund", after="hold")

    async def compensate(self, connection: Connection, song: Song) -> None:
        """Return the price of a song that was made and never delivered."""
        await self._return_price(connection, song, "compensate", after="settle")

    async def apply(
        self, connection: Connection, member: Member, move: Move, *, granted_only: bool = False
    ) -> int | None:
        """Grant credits as a new lot, or take up to an amount of what is free.

        Return how many; None if the move was entered before. What lasts longest is taken first:
        taken from the allowance, it would be back with the next. `granted_only` leaves that alone.
        """
        at, amount, takes = self._clock(), move.amount, move.kind == "take"
        if takes:
            sums = await ledger.sums(connection, member, at=at)
            amount = min(amount, sums.granted + (0 if granted_only else sums.allowance))
        entry_id, by = move.entry_id, -amount if takes else amount
        actor_id, reason = move.actor_id, move.reason
        if not await ledger.insert(
            connection, entry_id, member, move.kind, by, at=at, actor_id=actor_id, reason=reason
        ):
            return None
        if takes:
            await self.take_out(
                *(connection, entry_id, member, amount),
                at=at,
                longest_first=True,
                granted_only=granted_only,
            )
        else:
            ends = move.expires_at
            await ledger.insert_lot(
                connection, entry_id, member, "grant", amount, expires_at=ends, entry_id=entry_id
            )
        return amount

    async def take_out(
        self,
        connection: Connection,
        entry_id: str,
        account: ledger.Account,
        amount: int,
        *,
        at: datetime,
        longest_first: bool = False,
        granted_only: bool = False,
    ) -> list[tuple[Lot, int]]:
        """Take an amount from a member's lots; return what was taken from which.

        What expires first goes first, unless `longest_first`. The lots must have enough.
        """
        read = ledger.lasting_longest if longest_first else ledger.spendable
        owed, taken = amount, []
        while owed:
            most = min(owed, ledger.MOST_LOTS)  # each has one credit at least
            lots = await read(connection, account, at=at, granted_only=granted_only, most=most)
            _require(bool(lots), entry_id)
            for lot in lots:
                if part := min(owed, lot.remaining):
                    done = await ledger.change_lot(connection, entry_id, lot, by=-part)
                    _require(done, f"{entry_id}, {lot.lot_id}")
                    taken.append((lot, part))
                    owed -= part
        return taken

    # --- how ------------------------------------------------------------------------------------

    async def _balance(self, connection: Connection, member: Member, settings: Settings) -> Balance:
        opened = await self.open(connection, member, settings, at=self._clock())
        return Balance(
            opened.allowance,
            opened.period,
            opened.every,
            opened.at,
            await ledger.spendable(connection, member, at=opened.at),
            await ledger.sums(connection, member, at=opened.at),
        )

    async def _allow(
        self,
        connection: Connection,
        member: Member,
        lot: Lot | None,
        credits: int,
        period: Period,
        *,
        at: datetime,
    ) -> None:
        """Bring the period's lot, which may still have to be made, to the allowance in force.

        A higher one adds the difference at once, a lower one takes only what is free.
        """
        lot_id = _allowance_lot(member, period)
        if lot is None:
            await ledger.insert_lot(
                connection, lot_id, member, "allowance", 0, expires_at=period.end
            )
            lot = Lot(lot_id, "allowance", 0, 0, 0, period.end)
        elif lot.expires_at != period.end:
            # A clock was set back over its beginning, and the calendar changed in that time.
            done = await ledger.set_end_of_lot(connection, lot_id, expires_at=period.end)
            _require(done, lot_id)
        used = lot.amount - lot.remaining
        if by := max(0, credits - used) - lot.remaining:
            entry_id = f"{lot_id}:{lot.revision}"
            entered = await ledger.insert(connection, entry_id, member, "allowance", by, at=at)
            _require(
                entered and await ledger.change_lot(connection, entry_id, lot, by=by, resize=True),
                entry_id,
            )

    async def _apply_role_grants(
        self, connection: Connection, member: Member, *, at: datetime
    ) -> None:
        """Apply each grant to the member's roles, or taking from them, once."""
        for role_grant in await role_grants.open_at(connection, member.server_id, at):
            if role_grant.role_id not in (member.roles or ()):
                continue
            entry_id = f"{role_grant.kind}:{role_grant.role_grant_id}:{member.member_id}"
            if await ledger.amount(connection, entry_id) is None:
                move = Move(
                    *(entry_id, role_grant.kind, role_grant.amount, role_grant.actor_id),
                    *(role_grant.reason, role_grant.expires_at),
                )
                await self.apply(connection, member, move)

    async def _enter(
        self,
        connection: Connection,
        song: Song,
        kind: str,
        *,
        amount: int,
        after: str | None = None,
        period_at: datetime | None = None,
    ) -> str:
        """Enter a fact about a song, which follows its entry of the kind `after`; return its id."""
        entry_id = f"{kind}:{song.song_id}"
        entered = await ledger.insert(
            connection,
            entry_id,
            song,
            kind,
            amount,
            song_id=song.song_id,
            after_id=None if after is None else f"{after}:{song.song_id}",
            price=song.price,
            period_at=period_at,
            at=self._clock(),
        )
        _require(entered, entry_id)
        return entry_id

    async def _return_price(
        self, connection: Connection, song: Song, kind: str, *, after: str
    ) -> None:
        """Return what was held to its lots; what has expired returns for the running period."""
        now = self._clock()
        held = await ledger.parts(connection, f"hold:{song.song_id}")
        amount = -sum(moved for _, moved in held)
        entry_id = await self._enter(connection, song, kind, after=after, amount=amount)
        _require(await budgets.uncount(connection, song.song_id), entry_id)
        late = 0
        for lot, moved in held:
            if lot.expires_at is not None and lot.expires_at <= now:
                late -= moved
            else:
                done = await ledger.change_lot(connection, entry_id, lot, by=-moved)
                _require(done, f"{entry_id}, {lot.lot_id}")
        if late:
            timeline = await self._settings_reader.timeline(connection, song.server_id)
            lot_id, ends = f"return:{song.song_id}", timeline.period(now).end
            await ledger.insert_lot(
                connection, lot_id, song, "return", late, expires_at=ends, entry_id=entry_id
            )


def _allowance_lot(account: ledger.Account, period: Period) -> str:
    return f"allowance:{account.server_id}:{account.member_id}:{to_ms(period.start)}"


def _require(done: bool, what: str) -> None:
    """Roll back where a statement found other rows than expected: a defect, as nobody else writes.

    Raises:
        RuntimeError: not `done`.
    """
    if not done:
        raise RuntimeError(f"the ledger refused {what}")
