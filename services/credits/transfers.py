"""Grants, takings and resets by managers, grants by the operator, gifts between members."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from db import ledger, role_grants, servers
from db.connection import Connection
from db.database import Database
from db.records import RoleGrant, maybe_to_ms, to_ms
from services.amounts import check_amount, check_end, check_reason
from services.clock import Clock
from services.credits.credits import Balance, Credits, Move
from services.errors import DeniedBySettings, InvalidRequest, Refusal
from services.settings.catalogue import GIFTS
from services.settings.changelog import Changelog, as_json
from services.settings.reader import SettingsReader
from services.settings.server_settings import Manager
from services.settings.settings import Member

ROLE_GRANT_LASTS = timedelta(days=30)
"""How long members of a role are waited for, unless its credits expire before."""
MAX_ROLE_GRANTS = 25
"""Open grants to roles in a server: each request for a song reads them all."""
RESET_BATCH = 500
"""Members whose credits one transaction takes: others request songs between two of them."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How much a grant, a taking or a gift was, and what the member has now."""

    amount: int
    balance: Balance


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What a reset takes: credits of so many members, and the role grants that it ends."""

    members: int
    credits: int
    role_grants: int = 0


class ExpiresTooSoon(InvalidRequest):
    """Credits for a role would expire before its last members could get them."""


@dataclass(eq=False)
class TooManyRoleGrants(InvalidRequest):
    """As many grants to roles as a server may have are open."""

    limit: int
    next_end: datetime


class GiftToOneself(InvalidRequest):
    """Giver and receiver are the same."""


class GiftsNotAllowed(DeniedBySettings):
    """The server has not allowed gifts."""


class GiftBlocked(DeniedBySettings):
    """Giver or receiver is blocked from making songs."""


@dataclass(eq=False)
class NotEnoughToGive(Refusal):
    """A gift is larger than what is free."""

    free: int


class CreditTransfers:
    """Move credits. An interaction that is delivered twice moves them once."""

    def __init__(
        self,
        database: Database,
        settings_reader: SettingsReader,
        credits: Credits,
        changelog: Changelog,
        *,
        clock: Clock,
    ) -> None:
        self._database = database
        self._settings_reader = settings_reader
        self._credits = credits
        self._changelog = changelog
        self._clock = clock

    async def grant(
        self,
        member: Member,
        *,
        grant_id: int | str,
        actor_id: int | None,
        amount: int,
        reason: str,
        expires_at: datetime | None = None,
    ) -> Moved:
        """Give a member credits. `actor_id` is None where the operator does.

        Raises:
            OutOfRange, InvalidReason, TimePassed, TimeTooFar: see `amounts`.
        """
        check_amount(amount)
        why = check_reason(reason)
        if expires_at is not None:
            check_end(expires_at, at=self._clock())
        move = Move(f"grant:{grant_id}", "grant", amount, actor_id, why, expires_at)
        return await self._move(member, move)

    async def take(
        self, member: Member, *, take_id: int, actor_id: int, amount: int, reason: str
    ) -> Moved:
        """Take credits from a member, at most what is free: spent and held stay.

        Raises:
            OutOfRange, InvalidReason: see `amounts`.
        """
        check_amount(amount)
        move = Move(f"take:{take_id}", "take", amount, actor_id, check_reason(reason))
        return await self._move(member, move)

    async def role_grant(
        self,
        by: Manager,
        role_id: int,
        *,
        role_grant_id: int,
        kind: str,
        amount: int,
        reason: str,
        ends_at: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> RoleGrant:
        """`grant` to, or `take` from, each member of a role: once, when the bot next sees them.

        Whoever is seen with the role after `ends_at` (in 30 days, if not given) gets nothing.

        Raises:
            OutOfRange, InvalidReason, TimePassed, TimeTooFar: see `amounts`.
            ExpiresTooSoon, TooManyRoleGrants
        """
        check_amount(amount)
        now, server_id, why = self._clock(), by.server_id, check_reason(reason)
        for end in filter(None, (ends_at, expires_at)):
            check_end(end, at=now)
        ends_at = ends_at or min(filter(None, (now + ROLE_GRANT_LASTS, expires_at)))
        if expires_at is not None and expires_at < ends_at:
            raise ExpiresTooSoon
        role_grant = RoleGrant(
            *(role_grant_id, server_id, role_id, kind, amount, why, by.actor_id),
            *(now, ends_at, expires_at),
        )
        async with self._database.write() as connection:
            await servers.ensure_server(connection, server_id)
            open_grants = await role_grants.open_at(connection, server_id, now)
            for known in open_grants:
                if known.role_grant_id == role_grant_id:
                    return known
            if len(open_grants) >= MAX_ROLE_GRANTS:
                next_end = min(known.ends_at for known in open_grants)
                raise TooManyRoleGrants(MAX_ROLE_GRANTS, next_end)
            if not await role_grants.insert(connection, role_grant):
                return role_grant  # delivered again long after it has ended
            facts = {
                "credits": amount,
                "role": role_id,
                "ends_at": to_ms(ends_at),
                "expires_at": maybe_to_ms(expires_at),
            }
            role = Member(server_id, role_id)
            await self._record(connection, role, kind, facts, by.actor_id, why)
        self._changelog.notify()
        return role_grant

    async def gift(self, giver: Member, receiver: Member, *, gift_id: int, amount: int) -> Moved:
        """Move credits from member to member; they keep their expiry. Return what the giver has.

        Raises:
            OutOfRange, GiftToOneself, GiftsNotAllowed, GiftBlocked, NotEnoughToGive
        """
        check_amount(amount)
        if giver.member_id == receiver.member_id:
            raise GiftToOneself
        async with self._database.write() as connection:
            entry_id = f"gift:{gift_id}"
            if await ledger.amount(connection, entry_id) is None:
                for member in (giver, receiver):
                    settings = await self._settings_reader.read(
                        connection, member.server_id, member.member_id
                    )
                    if not settings[GIFTS]:
                        raise GiftsNotAllowed
                    if settings.block(at=self._clock()):
                        raise GiftBlocked
                await self._move_gift(connection, entry_id, giver, receiver, amount=amount)
            return Moved(amount, await self._credits.balance_in(connection, giver))

    async def plan_reset(self, server_id: int) -> ResetPlan:
        """Return what `reset` would take and end now."""
        reader, now = self._database.reader, self._clock()
        members, credits = await ledger.granted_left(reader, server_id, at=now)
        return ResetPlan(members, credits, len(await role_grants.open_at(reader, server_id, now)))

    async def reset(self, by: Manager, *, reset_id: int, reason: str) -> ResetPlan:
        """Take back what is left of all grants, gifts and late refunds; return what was taken.

        Allowances, and what is spent or held, stay. Grants to roles that were made before it end
        first: nobody who is seen later gets or loses anything by them. Delivered twice, or cut
        short and repeated, it takes from each member once.

        Raises:
            InvalidReason: see `check_reason`.
        """
        why, server = check_reason(reason), Member(by.server_id, 0)
        async with self._database.write() as connection:
            ended = await role_grants.withdraw(
                connection, by.server_id, before_id=reset_id, at=self._clock()
            )
            if ended:
                facts = {"role_grants": ended}
                await self._record(connection, server, "reset", facts, by.actor_id, why)
        taken: list[int] = []
        last: int | None = 0
        while last is not None:
            async with self._database.write() as connection:
                last, amounts = await self._reset_batch(
                    connection, by, reset_id, why, after_id=last
                )
                if amounts:
                    # In the batch's transaction: a reset that is cut short has its history.
                    facts = {"members": len(amounts), "credits": sum(amounts)}
                    await self._record(connection, server, "reset", facts, by.actor_id, why)
            taken += amounts
        if taken or ended:
            self._changelog.notify()
        return ResetPlan(len(taken), sum(taken), ended)

    # --- how ------------------------------------------------------------------------------------

    async def _move(self, member: Member, move: Move) -> Moved:
        async with self._database.write() as connection:
            await self._credits.balance_in(connection, member)
            amount = await self._credits.apply(connection, member, move)
            if amount is not None:
                facts: dict[str, int | None] = {"credits": amount}
                if move.kind == "grant":
                    facts["expires_at"] = maybe_to_ms(move.expires_at)
                await self._record(connection, member, move.kind, facts, move.actor_id, move.reason)
            entered = await ledger.amount(connection, move.entry_id)
            balance = await self._credits.balance_in(connection, member)
        self._changelog.notify()
        return Moved(abs(entered or 0), balance)

    async def _move_gift(
        self,
        connection: Connection,
        entry_id: str,
        giver: Member,
        receiver: Member,
        *,
        amount: int,
    ) -> None:
        balance = await self._credits.balance_in(connection, giver)
        await self._credits.balance_in(connection, receiver)
        if balance.free < amount:
            raise NotEnoughToGive(balance.free)
        now, received = self._clock(), f"{entry_id}:received"
        await ledger.insert(
            connection, entry_id, giver, "gift", -amount, at=now, actor_id=receiver.member_id
        )
        await ledger.insert(
            connection, received, receiver, "gift", amount, at=now, actor_id=giver.member_id
        )
        # What lasts longest goes first: what expires today would be a poor gift.
        taken = await self._credits.take_out(
            connection, entry_id, giver, amount, at=balance.at, longest_first=True
        )
        for place, (lot, part) in enumerate(taken):
            lot_id, ends = f"{entry_id}:{place}", lot.expires_at
            await ledger.insert_lot(
                connection, lot_id, receiver, "gift", part, expires_at=ends, entry_id=received
            )

    async def _reset_batch(
        self, connection: Connection, by: Manager, reset_id: int, reason: str, *, after_id: int
    ) -> tuple[int | None, list[int]]:
        """Take from the next members; return where to go on, None at the end, and the amounts."""
        found = await ledger.members_with_grants(
            connection, by.server_id, at=self._clock(), after_id=after_id, limit=RESET_BATCH
        )
        amounts = []
        for member_id in found:
            member = Member(by.server_id, member_id, roles=None)
            balance = await self._credits.balance_in(connection, member)
            entry_id, granted = f"reset:{reset_id}:{member_id}", balance.sums.granted
            move = Move(entry_id, "take", granted, by.actor_id, reason)
            taken = await self._credits.apply(connection, member, move, granted_only=True)
            if taken:
                amounts.append(taken)
        return found[-1] if len(found) == RESET_BATCH else None, amounts

    async def _record(
        self,
        connection: Connection,
        subject: Member,
        name: str,
        facts: object,
        actor_id: int | None,
        reason: str | None,
    ) -> None:
        await self._changelog.record(
            connection,
            subject.server_id,
            name,
            subject_id=subject.member_id,
            after=as_json(facts),
            actor_id=actor_id,
            reason=reason,
        )
