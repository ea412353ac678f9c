"""Giving credits and taking them: by managers, by the operator, and from member to member."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from db import ledger, role_grants, servers
from db.connection import Connection
from db.database import Database
from db.records import RoleGrant, to_ms
from services.amounts import check_amount, check_end, check_reason
from services.clock import Clock
from services.credits.credits import Balance, Credits
from services.errors import (
    DeniedBySettings,
    InvalidRequest,
    Refusal,
)
from services.settings.catalogue import GIFTS
from services.settings.changelog import Changelog, as_json
from services.settings.reader import SettingsReader
from services.settings.server_settings import Manager
from services.settings.settings import Member

ROLE_GRANT_LASTS = timedelta(days=30)
"""How long members of a role are waited for, unless its credits expire before."""
MAX_ROLE_GRANTS = 25
"""Open grants to roles in a server: each request for a song reads them all."""
RESET_AT_ONCE = 500
"""Members whose credits one transaction takes: others ask for songs meanwhile."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a grant, a taking or a gift: how much it was, and what the member has now."""

    amount: int
    balance: Balance


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What a reset takes: from how many members, how many credits; how many role grants it ends."""

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
    """Moves credits. An interaction that is delivered twice moves them once."""

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
        async with self._database.write() as connection:
            await self._credits.balance_in(connection, member)
            entered = await self._credits.put_in(
                connection,
                f"grant:{grant_id}",
                member,
                amount=amount,
                expires_at=expires_at,
                actor_id=actor_id,
                reason=why,
            )
            if entered:
                facts = {"credits": amount, "expires_at": _maybe_ms(expires_at)}
                await self._record(connection, member, "grant", facts, actor_id, why)
            moved = Moved(amount, await self._credits.balance_in(connection, member))
        self._changelog.notify()
        return moved

    async def take(
        self, member: Member, *, take_id: int, actor_id: int, amount: int, reason: str
    ) -> Moved:
        """Take credits from a member, at most what is free: spent and held stay.

        Raises:
            OutOfRange, InvalidReason: see `amounts`.
        """
        check_amount(amount)
        why = check_reason(reason)
        async with self._database.write() as connection:
            await self._credits.balance_in(connection, member)
            entry_id = f"take:{take_id}"
            taken = await self._credits.take_away(
                connection,
                entry_id,
                member,
                amount=amount,
                actor_id=actor_id,
                reason=why,
            )
            if taken is not None:
                await self._record(connection, member, "take", {"credits": taken}, actor_id, why)
            entered = await ledger.amount(connection, entry_id)
            moved = Moved(-(entered or 0), await self._credits.balance_in(connection, member))
        self._changelog.notify()
        return moved

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

        Whoever is seen with the role after `ends_at` (in 30 days, unless said) gets nothing.

        Raises:
            OutOfRange, InvalidReason, TimePassed, TimeTooFar: see `amounts`.
            ExpiresTooSoon, TooManyRoleGrants
        """
        check_amount(amount)
        now = self._clock()
        for end in filter(None, (ends_at, expires_at)):
            check_end(end, at=now)
        ends_at = ends_at or min(filter(None, (now + ROLE_GRANT_LASTS, expires_at)))
        if expires_at is not None and expires_at < ends_at:
            raise ExpiresTooSoon
        role_grant = RoleGrant(
            role_grant_id,
            by.server_id,
            role_id,
            kind,
            amount,
            check_reason(reason),
            by.actor_id,
            now,
            ends_at,
            expires_at,
        )
        async with self._database.write() as connection:
            await servers.ensure_server(connection, by.server_id)
            standing = await role_grants.open_at(connection, by.server_id, now)
            for known in standing:
                if known.role_grant_id == role_grant_id:
                    return known
            if len(standing) >= MAX_ROLE_GRANTS:
                next_end = min(known.ends_at for known in standing)
                raise TooManyRoleGrants(MAX_ROLE_GRANTS, next_end)
            if not await role_grants.insert(connection, role_grant):
                return role_grant  # delivered again long after it has ended
            facts = {
                "credits": amount,
                "role": role_id,
                "ends_at": to_ms(ends_at),
                "expires_at": _maybe_ms(expires_at),
            }
            whom = Member(by.server_id, role_id)
            await self._record(connection, whom, kind, facts, by.actor_id, role_grant.reason)
        self._changelog.notify()
        return role_grant

    async def gift(self, giver: Member, receiver: Member, *, gift_id: int, amount: int) -> Moved:
        """Give credits from member to member; they expire when they would have. The giver's rest.

        Raises:
            OutOfRange, GiftToOneself, GiftsNotAllowed, GiftBlocked, NotEnoughToGive
        """
        check_amount(amount)
        if giver.member_id == receiver.member_id:
            raise GiftToOneself
        async with self._database.write() as connection:
            entry_id = f"gift:{gift_id}"
            if await ledger.amount(connection, entry_id) is None:
                await self._check_gift(connection, giver, receiver)
                await self._move_gift(connection, entry_id, giver, receiver, amount=amount)
            return Moved(amount, await self._credits.balance_in(connection, giver))

    async def plan_reset(self, server_id: int) -> ResetPlan:
        """What `reset` would take and end now."""
        reader, now = self._database.reader, self._clock()
        members, credits = await ledger.granted_left(reader, server_id, at=now)
        return ResetPlan(members, credits, len(await role_grants.open_at(reader, server_id, now)))

    async def reset(self, by: Manager, *, reset_id: int, reason: str) -> ResetPlan:
        """Take back what is left of everything that was granted, given or returned; what it was.

        Allowances, and what is spent or held, stay. Grants to roles that were made before it end
        first: nobody who is seen later gets or loses anything by them. Delivered twice, or cut
        short and repeated, it takes from each member once.

        Raises:
            InvalidReason: see `check_reason`.
        """
        why = check_reason(reason)
        ended = await self._end_role_grants(by, reset_id, why)
        members = credits = 0
        last: int | None = 0
        while last is not None:
            async with self._database.write() as connection:
                last, taken = await self._reset_some(connection, by, reset_id, why, after_id=last)
            members += taken.members
            credits += taken.credits
        if members or ended:
            self._changelog.notify()
        return ResetPlan(members, credits, ended)

    # --- how ------------------------------------------------------------------------------------

    async def _check_gift(self, connection: Connection, giver: Member, receiver: Member) -> None:
        now = self._clock()
        for member in (giver, receiver):
            settings = await self._settings_reader.read(
                connection, member.server_id, member.member_id
            )
            if not settings[GIFTS]:
                raise GiftsNotAllowed
            if settings.block(at=now):
                raise GiftBlocked

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
        for entry, whose, other, change in (
            (entry_id, giver, receiver, -amount),
            (received, receiver, giver, amount),
        ):
            await ledger.insert(
                connection,
                entry,
                kind="gift",
                server_id=whose.server_id,
                member_id=whose.member_id,
                amount=change,
                actor_id=other.member_id,
                at=now,
            )
        # What lasts longest goes first: what expires today would be a poor gift.
        taken = await self._credits.take_out(
            connection, entry_id, ledger.lasting_longest, giver, amount=amount, at=balance.at
        )
        for place, (lot, part) in enumerate(taken):
            await self._credits.add_lot(
                connection,
                f"{entry_id}:{place}",
                received,
                receiver,
                kind="gift",
                amount=part,
                expires_at=lot.expires_at,
            )

    async def _end_role_grants(self, by: Manager, reset_id: int, reason: str) -> int:
        """How many it were."""
        async with self._database.write() as connection:
            ended = await role_grants.withdraw(
                connection, by.server_id, before_id=reset_id, at=self._clock()
            )
            if ended:
                whom = Member(by.server_id, 0)
                await self._record(
                    connection, whom, "reset", {"role_grants": ended}, by.actor_id, reason
                )
        return ended

    async def _reset_some(
        self, connection: Connection, by: Manager, reset_id: int, reason: str, *, after_id: int
    ) -> tuple[int | None, ResetPlan]:
        """Whom it has come to, None when it is through, and what it took.

        What a batch took stands in the history with it, so that one that is cut short is not lost.
        """
        found = await ledger.members_with_grants(
            connection, by.server_id, at=self._clock(), after_id=after_id, limit=RESET_AT_ONCE
        )
        taken = [
            amount
            for member_id, _ in found
            if (amount := await self._take_back(connection, by, member_id, reset_id, reason))
        ]
        if taken:
            facts = {"members": len(taken), "credits": sum(taken)}
            whom = Member(by.server_id, 0)
            await self._record(connection, whom, "reset", facts, by.actor_id, reason)
        more = found[-1][0] if len(found) == RESET_AT_ONCE else None
        return more, ResetPlan(len(taken), sum(taken))

    async def _take_back(
        self, connection: Connection, by: Manager, member_id: int, reset_id: int, reason: str
    ) -> int:
        member = Member(by.server_id, member_id, roles=None)
        balance = await self._credits.balance_in(connection, member)
        taken = await self._credits.take_away(
            connection,
            f"reset:{reset_id}:{member_id}",
            member,
            amount=balance.granted,
            actor_id=by.actor_id,
            reason=reason,
            granted_only=True,
        )
        return taken or 0

    async def _record(
        self,
        connection: Connection,
        whom: Member,
        name: str,
        facts: object,
        actor_id: int | None,
        reason: str | None,
    ) -> None:
        await self._changelog.record(
            connection,
            whom.server_id,
            name,
            subject_id=whom.member_id,
            after=as_json(facts),
            actor_id=actor_id,
            reason=reason,
        )


def _maybe_ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)
