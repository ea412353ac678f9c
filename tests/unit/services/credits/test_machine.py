"""Random steps in any order: the ledger stays consistent and agrees with the model."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Coroutine
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from db import checks
from db.connection import Connection
from db.records import Change, Fault, OperatorBudget, Reason, Song
from services.calendar import Calendar, Every
from services.credits.budgets import DefaultBudgets, ServerBudgetExceeded
from services.credits.transfers import NotEnoughToGive, ResetPlan
from services.errors import DeniedBySettings, NotPossible
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BUDGET,
    CALENDAR,
    COOLDOWN,
    GIFTS,
    LONGEST,
    MEMBER_ALLOWANCE,
    PAUSE,
    ROLE_ALLOWANCE,
    UNFINISHED,
    Setting,
)
from services.settings.server_settings import Manager
from services.settings.settings import Block, Defaults, Member, Override
from services.songs.delivery import REFUNDED_AFTER
from tests.databases import database_in_memory
from tests.factories import SettableClock
from tests.unit.services.credits.composed import compose
from tests.unit.services.credits.model import (
    DEFAULT_LIMITS,
    FOREVER,
    Done,
    Made,
    Model,
    Person,
    RoleGrant,
    draw,
    ms,
    price_of,
)

T = TypeVar("T")
Decision = tuple[Setting[Any], int, Any]

SERVERS = (1, 2)
PEOPLE: list[Person] = [(1, 11), (1, 12), (2, 11)]
ROLES = (21, 22, 23)
MANAGERS = (31, 32)
BEGINNINGS = [
    datetime(2026, 3, 14, 12, tzinfo=UTC),
    datetime(2026, 3, 8, 6, 30, tzinfo=UTC),  # New York's clocks jump at 7
    datetime(2026, 3, 28, 23, 30, tzinfo=UTC),  # London's at 1
    datetime(2026, 10, 24, 23, 30, tzinfo=UTC),  # London's go back at 1
]
ZONES = ["UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe"]

# Mostly one server, so that its settings soon have effects.
servers = st.sampled_from([1, 1, 1, 2])
people = st.sampled_from([(1, 11), (1, 11), (1, 12), (2, 11)])
managers = st.sampled_from(MANAGERS)
roles = st.sampled_from(ROLES)
scopes = st.sampled_from([("all", 0), ("each", 0), ("server", 1)])
twice = st.sampled_from([1, 1, 2])
allowances = st.sampled_from([20, None, 0, 3, 10, 40])
budgets = st.sampled_from([None, 1, 4, 10, 15, 40])
hours = st.sampled_from([None, 1, 24, 24 * 9])
"""How long something lasts."""

lengths = st.lists(st.sampled_from([30, 30, 60, 240]), min_size=1, max_size=5)
hows = st.sampled_from(["post", "undelivered", "fail", "refuse", "cancel", "cancel by another"])
STATES = {
    "post": "posted",
    "fail": "failed",
    "refuse": "failed",
    "cancel": "cancelled",
    "cancel by another": "cancelled",
}
"""A song's state after it has ended so."""
RESET = "reset"
decisions = st.one_of(
    st.tuples(st.just(ALLOWANCE), st.just(0), allowances),
    st.tuples(st.just(ROLE_ALLOWANCE), roles, st.just(RESET) | allowances),
    st.tuples(st.just(MEMBER_ALLOWANCE), st.sampled_from([11, 12]), st.just(RESET) | allowances),
    st.tuples(st.just(BUDGET), st.just(0), budgets),
)
permissions = st.one_of(
    st.tuples(st.just(PAUSE), st.just(0), st.sampled_from(["", None, None, None])),
    st.tuples(st.just(BLOCK), st.just(11), st.sampled_from(["Spam.", RESET])),
    st.tuples(st.just(GIFTS), st.just(0), st.booleans()),
    st.tuples(st.just(UNFINISHED), st.just(0), st.sampled_from([3, 100, 100])),
    st.tuples(st.just(LONGEST), st.just(0), st.sampled_from([60, 240])),
    st.tuples(st.just(COOLDOWN), st.just(0), st.sampled_from([0, 600])),
)
"""A setting, the role or member that it is about, and its new value."""

CHECKS = (
    *(checks.entries, checks.lots, checks.periods),
    *(checks.unheld, checks.unended, checks.uncompensated),
)
NEVER = {
    "a part of one member's entry in another's lot": """
        SELECT entry_id FROM ledger_parts JOIN ledger USING (entry_id) JOIN lots USING (lot_id)
        WHERE ledger.server_id <> lots.server_id OR ledger.member_id <> lots.member_id
    """,
    "an end without a fault, or lyrics of a cancelled song": """
        SELECT song_id FROM songs
        WHERE (state IN ('failed', 'cancelled')) <> (fault IS NOT NULL)
              OR (state = 'cancelled' AND lyrics <> '')
    """,
    "a change that does not begin where the one before it ended": """
        SELECT number FROM changes AS change
        WHERE name NOT IN ('grant', 'take', 'reset', 'warning', 'calendar') AND before IS NOT (
            SELECT after FROM changes AS last
            WHERE last.server_id = change.server_id AND last.name = change.name
                  AND last.subject_id = change.subject_id AND last.number < change.number
            ORDER BY number DESC LIMIT 1)
    """,
    "a setting that is not as its last change left it": """
        SELECT number FROM changes AS change LEFT JOIN settings USING (server_id, name, subject_id)
        WHERE name NOT IN ('grant', 'take', 'reset', 'warning', 'calendar')
              AND change.after IS NOT settings.value AND NOT EXISTS (
                  SELECT 1 FROM changes AS later
                  WHERE later.server_id = change.server_id AND later.name = change.name
                        AND later.subject_id = change.subject_id AND later.number > change.number)
    """,
}


class Machine(RuleBasedStateMachine):
    """Two servers, their members and managers, the operator, the song API and the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.open = contextlib.AsyncExitStack()
        self.database = self.run(self.open.enter_async_context(database_in_memory()))
        self.clock = SettableClock()
        self.product = compose(
            self.database,
            self.clock,
            defaults=Defaults(hourly_refunds=6),
            budgets=DefaultBudgets(all_servers=12, each_server=9),
        )
        self.model = Model(PEOPLE, daily_songs={"all": 12, "each": 9}, hourly_refunds=6)
        self.made: dict[int, Song] = {}
        self.ids = itertools.count(1)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        try:
            for person in PEOPLE:
                self.read(person)
        finally:
            self.run(self.open.aclose())
            self.runner.close()

    # --- Roles and time ---------------------------------------------------------------------------

    @initialize(
        beginning=st.sampled_from(BEGINNINGS),
        allowance=allowances,
        of_role=allowances,
        has=st.frozensets(roles),
        budget=budgets,
        unfinished=st.sampled_from([100, 100, 3]),
        gifts=st.booleans(),
    )
    def begin(
        self,
        beginning: datetime,
        allowance: int | None,
        of_role: int | None,
        has: frozenset[int],
        budget: int | None,
        unfinished: int,
        gifts: bool,
    ) -> None:
        """Begin with some settings, which would take many steps otherwise."""
        self.clock.now = beginning
        self.have_roles((1, 11), has)
        for decision in (
            (ALLOWANCE, 0, allowance),
            (ROLE_ALLOWANCE, 21, of_role),
            (BUDGET, 0, budget),
            (UNFINISHED, 0, unfinished),
            (GIFTS, 0, gifts),
        ):
            self.decide(1, 31, decision)

    @rule(
        by=st.sampled_from(
            [
                timedelta(minutes=20),
                timedelta(hours=5),
                timedelta(days=1),
                timedelta(days=8),
                timedelta(hours=-1),
            ]
        )
    )
    def wait(self, by: timedelta) -> None:
        self.clock.now += by

    @rule(server=servers, by=st.sampled_from([-1_000_000, -300, 0, 1_000_000]))
    def wait_for_the_end_of_the_period(self, server: int, by: int) -> None:
        end = self.model.period(server, self.clock()).end
        self.clock.now = end + timedelta(microseconds=by)

    @rule(person=people, has=st.one_of(st.none(), st.frozensets(roles, max_size=2)))
    def have_roles(self, person: Person, has: frozenset[int] | None) -> None:
        """None: they have left, or only their id is known."""
        self.model.roles[person] = has

    def member(self, person: Person) -> Member:
        return Member(*person, self.model.roles[person])

    # --- Members ----------------------------------------------------------------------------------

    @rule(person=people)
    def read(self, person: Person) -> None:
        now = self.clock()
        self.preview(person)
        statement = self.run(self.product.credits.statement(self.member(person), entries=3))
        purse = self.model.open(person, now)
        balance = statement.balance
        assert balance.free == purse.free(now) == balance.sums.allowance + balance.sums.granted
        assert {
            lot.lot_id: (lot.remaining, ms(lot.expires_at or FOREVER)) for lot in balance.lots
        } == {pot.name: (pot.left, ms(pot.expires)) for pot in purse.live(now)}
        assert balance.allowance.credits == self.model.allowance(person, now)
        assert balance.period == self.model.period(person[0], now)
        assert statement.held == sum(s.price for s in self.model.of(person) if s.unfinished)

    def preview(self, person: Person) -> None:
        """Compare the preview with the balance, except where a grant to a role is new."""
        seen, had = self.model.purses[person].seen, self.model.would_open(person, self.clock())
        if self.model.roles[person] is not None and had.seen == seen:
            unlimited = self.model.allowance(person, self.clock()) is None
            preview = self.run(self.product.credits.preview(self.member(person)))
            assert preview.free == (None if unlimited else had.free(self.clock()))

    @rule(
        person=people,
        lengths=lengths,
        times=twice,
    )
    def request(self, person: Person, lengths: list[int], times: int) -> None:
        if self.model.roles[person] is None:
            self.model.roles[person] = frozenset()
        for seconds in lengths:
            self.request_once(person, seconds, times)
        self.read(person)

    def request_once(self, person: Person, seconds: int, times: int) -> None:
        song_id, now = next(self.ids), self.clock()
        refusal = self.model.would_refuse(person, seconds, now)
        creating = self.product.create(song_id, who=self.member(person), seconds=seconds)
        if refusal is not None:
            with pytest.raises(refusal) as refused:
                self.run(creating)
            if refused.type is ServerBudgetExceeded:
                assert self.model.would_exceed(person[0], price_of(seconds), now)
                self.model.warn_of_refusal(person[0], now)
            return
        self.made[song_id] = song = self.run(creating)
        self.model.create(song_id, person, seconds, now)
        budget = self.model.setting(person[0], "budget")
        period = self.model.period(person[0], now)
        assert budget is None or self.model.used[person[0], period.start] <= budget
        for _ in range(1, times):
            again = self.product.create(song_id, who=self.member(person), seconds=seconds)
            assert self.run(again).number == song.number

    @rule(between=st.permutations([(1, 11), (1, 12)]), amount=st.integers(1, 9), times=twice)
    def gift(self, between: list[Person], amount: int, times: int) -> None:
        giver, receiver = between
        gift_id, now = next(self.ids), self.clock()
        for nth in range(times):
            transfers = self.product.transfers.gift(
                self.member(giver), self.member(receiver), gift_id=gift_id, amount=amount
            )
            if not nth and (refusal := self.would_refuse_gift(giver, receiver, amount)):
                with pytest.raises(refusal):
                    self.run(transfers)
                return
            moved = self.run(transfers)
            if not nth:
                self.move_gift(giver, receiver, amount, gift_id)
            assert moved.balance.free == self.model.open(giver, now).free(now)

    def would_refuse_gift(
        self, giver: Person, receiver: Person, amount: int
    ) -> type[DeniedBySettings] | type[NotEnoughToGive] | None:
        now = self.clock()
        if not self.model.setting(giver[0], "gifts"):
            return DeniedBySettings
        if any(self.model.blocked(person, now) for person in (giver, receiver)):
            return DeniedBySettings
        return NotEnoughToGive if self.model.would_open(giver, now).free(now) < amount else None

    def move_gift(self, giver: Person, receiver: Person, amount: int, gift_id: int) -> None:
        now = self.clock()
        mine, theirs = self.model.open(giver, now), self.model.open(receiver, now)
        for place, (name, part) in enumerate(draw(mine.live(now)[::-1], amount)):
            theirs.put(f"gift:{gift_id}:{place}", "gift", part, mine.pots[name].expires)

    # --- Songs ------------------------------------------------------------------------------------

    def unfinished(self) -> list[Made]:
        return [song for song in self.model.songs if song.unfinished]

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data(), counts=st.booleans())
    def submit(self, data: st.DataObject, counts: bool) -> None:
        """Once or again; some submits turn out not to be accepted."""
        made = data.draw(st.sampled_from(self.unfinished()))
        day = midnight(self.clock())
        if self.submit_once(made) and not counts:
            self.clock.now += timedelta(hours=data.draw(st.sampled_from([0, 13])))
            assert self.run(self.product.uncount(self.made[made.song_id]))
            self.model.count_submit(made, day, -1)
            made.submits -= 1
            made.state = "submitting" if made.submits else "waiting"

    def submit_once(self, made: Made) -> bool:
        now = self.clock()
        may = self.model.has_room(made.person[0], made.price, now, ahead=False)
        may = may and made.submits < 2
        assert self.run(self.product.submit(self.made[made.song_id])) is may
        if may:
            made.state, made.submits = "submitting", made.submits + 1
            self.model.count_submit(made, midnight(now), 1)
        return may

    @precondition(lambda self: self.unfinished())
    @rule(
        data=st.data(),
        hows=st.lists(hows, min_size=1, max_size=4),
        later=st.sampled_from([0, 0, 3, 24]),
    )
    def end(self, data: st.DataObject, hows: list[str], later: int) -> None:
        self.clock.now += timedelta(hours=later)
        for how, _ in zip(hows, self.unfinished(), strict=False):
            self.end_one(data.draw(st.sampled_from(self.unfinished())), how)

    def end_one(self, made: Made, how: str) -> None:
        if how.startswith("cancel") and made.state != "waiting":
            assert not self.run(self.product.completion.cancel(self.made[made.song_id]))
            return
        if how in ("post", "undelivered"):
            if made.state == "waiting" and not self.submit_once(made):
                return
            posting = self.run(self.product.bring_to_posting(self.made[made.song_id]))
            self.made[made.song_id] = posting
        assert self.run(self.finish(self.made[made.song_id], how))
        assert not self.run(self.finish(self.made[made.song_id], "fail"))
        made.ended_at = self.clock()
        made.state = STATES.get(how, how)
        made.by_choice = how in ("refuse", "cancel")
        if made.state in ("failed", "cancelled"):
            self.model.refund(made, self.clock())

    @rule(
        person=people,
        lengths=lengths,
        how=hows,
        by=st.sampled_from([timedelta(), timedelta(hours=13), timedelta(hours=25)]),
    )
    def request_and_end(self, person: Person, lengths: list[int], how: str, by: timedelta) -> None:
        before = len(self.model.songs)
        self.request(person, lengths, 1)
        self.clock.now += by
        for made in self.model.songs[before:]:
            self.end_one(made, how)

    async def finish(self, song: Song, how: str) -> bool:
        completion = self.product.completion
        if how == "post":
            return await completion.complete(song, 9)
        if how == "undelivered":
            return await completion.mark_undelivered(song, Reason.CHANNEL_GONE)
        if how == "cancel by another":
            return await completion.cancel(song)
        if how == "cancel":
            return await completion.cancel(song, fault=Fault.MEMBER)
        fault = Fault.REQUEST if how == "refuse" else Fault.SERVICE
        return await completion.fail(song, Reason.MODEL_FAILED, fault=fault)

    def undelivered(self) -> list[Made]:
        return [song for song in self.model.songs if song.state == "undelivered"]

    @precondition(lambda self: self.undelivered())
    @rule(data=st.data())
    def hand_over(self, data: st.DataObject) -> None:
        made = data.draw(st.sampled_from(self.undelivered()))
        assert self.run(self.product.completion.hand_over(self.made[made.song_id]))
        made.state = "posted"

    @precondition(lambda self: self.undelivered())
    @rule(later=st.sampled_from([0, 25]))
    def compensate(self, later: int) -> None:
        self.clock.now += timedelta(hours=later)
        now = self.clock()
        due = {
            made.song_id: made
            for made in self.undelivered()
            if made.ended_at is not None and now - made.ended_at > REFUNDED_AFTER
        }
        for made in due.values():
            assert self.run(self.product.completion.compensate(self.made[made.song_id]))
            made.state = "compensated"
            self.model.refund(made, now)

    # --- Settings ---------------------------------------------------------------------------------

    @rule(server=servers, by=managers, decision=decisions, lasts=hours)
    def decide(self, server: int, by: int, decision: Decision, lasts: int | None = None) -> None:
        setting, subject, wanted = decision
        server_settings, manager = self.product.server_settings, Manager(server, by)
        if wanted == RESET:
            change, value = self.run(server_settings.reset(manager, setting, subject)), None
        else:
            of_member = {MEMBER_ALLOWANCE: Override, BLOCK: Block}.get(setting)
            wanted = of_member(wanted, self.after(lasts)) if of_member else wanted
            change = self.run(server_settings.set(manager, setting, wanted, subject))
            value = setting.kind.encode(wanted)
            if value is False or value == DEFAULT_LIMITS.get(setting.key):
                value = None
        if setting is BLOCK and value:
            self.model.cancel_waiting((server, subject), self.clock())
        self.was_changed(server, change, self.model.set(server, by, setting.key, value, subject))

    @rule(server=servers, by=managers, permission=permissions, lasts=hours)
    def permit(self, server: int, by: int, permission: Decision, lasts: int | None) -> None:
        self.decide(server, by, permission, lasts)

    @rule(
        server=servers,
        by=managers,
        every=st.sampled_from(list(Every)),
        hour=st.sampled_from([0, 2, 23]),
        zone=st.sampled_from(ZONES),
    )
    def change_calendar(self, server: int, by: int, every: Every, hour: int, zone: str) -> None:
        change = self.run(
            self.product.server_settings.update(
                Manager(server, by),
                CALENDAR,
                lambda c: replace(c, every=every, hour=hour, zone=zone),
            )
        )
        calendar = Calendar(every, hour, zone)
        changed = self.model.set_calendar(server, by, calendar, self.clock())
        self.was_changed(server, change, changed)

    @precondition(lambda self: any(self.model.history.values()))
    @rule(data=st.data(), by=managers)
    def undo(self, data: st.DataObject, by: int) -> None:
        server = data.draw(st.sampled_from([s for s in SERVERS if self.model.history[s]]))
        number = data.draw(st.integers(1, len(self.model.history[server])))
        undoing = self.product.server_settings.undo(Manager(server, by), number)
        if not self.model.would_undo(server, number):
            with pytest.raises(NotPossible):
                self.run(undoing)
            return
        change = self.run(undoing)
        self.model.undo(server, by, number, self.clock())
        assert change.number == len(self.model.history[server])

    def was_changed(self, server: int, change: Change | None, changed: bool) -> None:
        assert (change is not None) is changed
        if change is not None:
            assert change.number == len(self.model.history[server])

    def after(self, lasts: int | None) -> datetime | None:
        return None if lasts is None else self.clock() + timedelta(hours=lasts)

    # --- Grants -----------------------------------------------------------------------------------

    @rule(person=people, by=managers, amount=st.integers(1, 9), lasts=hours, times=twice)
    def grant(self, person: Person, by: int, amount: int, lasts: int | None, times: int) -> None:
        grant_id, expires = next(self.ids), self.after(lasts)
        for nth in range(times):
            facts: dict[str, Any] = {"actor_id": by, "expires_at": expires}
            free = self.run(self.product.grant(amount, grant_id, who=self.member(person), **facts))
            purse = self.model.open(person, self.clock())
            if not nth:
                purse.put(f"grant:{grant_id}", "grant", amount, expires or FOREVER)
                recorded = {"credits": amount, "expires_at": expires and ms(expires)}
                self.was_done(person[0], "grant", person[1], recorded, by)
            assert free == purse.free(self.clock())

    @rule(person=people, by=managers, amount=st.integers(1, 30), times=twice)
    def take(self, person: Person, by: int, amount: int, times: int) -> None:
        take_id, now, taken = next(self.ids), self.clock(), 0
        for nth in range(times):
            done = self.product.take(amount, take_id, who=self.member(person), actor_id=by)
            purse = self.model.open(person, now)
            if not nth:
                taken = min(amount, purse.free(now))
                draw(purse.live(now)[::-1], amount)
                self.was_done(person[0], "take", person[1], {"credits": taken}, by)
            assert self.run(done) == taken
            free = self.run(self.product.free(self.member(person)))
            assert free == self.model.open(person, now).free(now)

    @rule(
        server=servers,
        by=managers,
        role=roles,
        kind=st.sampled_from(["grant", "take"]),
        amount=st.integers(1, 9),
        ends=hours,
        lasts=hours,
        times=twice,
    )
    def role_grant(
        self,
        server: int,
        by: int,
        role: int,
        kind: str,
        amount: int,
        ends: int | None,
        lasts: int | None,
        times: int,
    ) -> None:
        now, role_grant_id = self.clock(), next(self.ids)
        if sum(o.ends > now for o in self.model.role_grants[server]) >= 25:
            return
        expires_at = self.after(lasts) if kind == "grant" else None
        if expires_at is not None and (ends or 0) > (lasts or 0):
            ends = None
        ends_at = self.after(ends)
        for nth in range(times):
            self.run(
                self.product.transfers.role_grant(
                    Manager(server, by),
                    role,
                    role_grant_id=role_grant_id,
                    kind=kind,
                    amount=amount,
                    reason="For the band.",
                    ends_at=ends_at,
                    expires_at=expires_at,
                )
            )
            if nth:
                continue
            until = ends_at or min(now + timedelta(days=30), expires_at or FOREVER)
            role_grant = RoleGrant(role_grant_id, role, kind, amount, until, expires_at or FOREVER)
            self.model.role_grants[server].append(role_grant)
            facts = {
                "credits": amount,
                "role": role,
                "ends_at": ms(until),
                "expires_at": expires_at and ms(expires_at),
            }
            self.was_done(server, kind, role, facts, by)

    @rule(server=servers, by=managers, times=twice)
    def reset(self, server: int, by: int, times: int) -> None:
        reset_id, now = next(self.ids), self.clock()
        plan = self.run(self.product.transfers.plan_reset(server))
        reset = self.product.transfers.reset
        done = self.run(reset(Manager(server, by), reset_id=reset_id, reason="A new season."))
        members = credits = 0
        for person, purse in self.model.purses.items():
            pots = [p for p in purse.live(now) if p.kind != "allowance" and person[0] == server]
            if pots:
                self.model.close(person, purse, now)
                members += 1
                credits += sum(pot.left for pot in pots)
                for pot in pots:
                    pot.left = 0
        role_grants = self.model.role_grants[server]
        self.model.role_grants[server] = [grant for grant in role_grants if grant.ends <= now]
        if ended := len(role_grants) - len(self.model.role_grants[server]):
            self.was_done(server, "reset", 0, {"role_grants": ended}, by)
        assert done == plan == ResetPlan(members, credits, ended)
        if members:
            facts = {"members": members, "credits": credits}
            self.was_done(server, "reset", 0, facts, by)
        if times == 2:
            again = self.run(reset(Manager(server, by), reset_id=reset_id, reason="Again."))
            assert again == ResetPlan(0, 0)

    def was_done(self, server: int, name: str, subject: int, facts: Any, by: int) -> None:
        self.model.history[server].append(Done(name, subject, None, facts, by))

    # --- The operator's budgets -------------------------------------------------------------------

    @rule(
        scope=scopes,
        credits=st.sampled_from([None, None, 0, 6, 30]),
        songs=st.sampled_from([None, None, 2, 9]),
    )
    def allow_submits(self, scope: tuple[str, int], credits: int | None, songs: int | None) -> None:
        self.run(self.product.operator.set(OperatorBudget(*scope, credits, songs)))
        self.model.operator[scope] = (credits, songs)

    @rule(scope=scopes)
    def allow_all_submits(self, scope: tuple[str, int]) -> None:
        self.run(self.product.operator.drop(*scope))
        self.model.operator.pop(scope, None)

    # --- Checks after each step -------------------------------------------------------------------

    @invariant()
    def rows_are_consistent(self) -> None:
        async def find(connection: Connection) -> list[Any]:
            found: list[Any] = [await check(connection) for check in CHECKS]
            for what, sql in NEVER.items():
                found += [(what, *row) for row in await connection.execute_fetchall(sql)]
            return [each for each in found if each]

        assert self.run(self.database.transact(find)) == []

    @invariant()
    def no_allowance_was_higher_than_the_highest_setting(self) -> None:
        allowances = "SELECT lot_id, amount FROM lots WHERE kind = 'allowance'"
        for lot_id, amount in self.run(self.product.rows(allowances)):
            assert amount <= self.model.highest[lot_id]

    @invariant()
    def history_is_complete(self) -> None:
        for server in SERVERS:
            rows = self.run(
                self.product.rows(
                    """
                    SELECT name, subject_id, before, after, actor_id, undoes FROM changes
                    WHERE server_id = ? ORDER BY number
                    """,
                    server,
                )
            )
            assert [
                (name, subject, before and json.loads(before), after and json.loads(after), *rest)
                for name, subject, before, after, *rest in rows
            ] == [tuple(asdict(done).values()) for done in self.model.history[server]]

    @invariant()
    def submits_are_counted(self) -> None:
        rows = self.run(self.product.rows("SELECT day, server_id, songs, credits FROM submits"))
        counted = {
            (ms(day), server): (songs, self.model.submit_credits[day, server])
            for (day, server), songs in self.model.submits.items()
        }
        found = {(day, server): tuple(counts) for day, server, *counts in rows}
        for key in counted.keys() | found.keys():
            assert counted.get(key, (0, 0)) == found.get(key, (0, 0))

    @invariant()
    def periods_are_counted_and_warned_about_once(self) -> None:
        rows = self.run(
            self.product.rows("SELECT server_id, period_at, used, warned FROM server_periods")
        )
        found = {(server, at): (used, warned) for server, at, used, warned in rows}
        keys = self.model.used.keys() | self.model.warned.keys()
        for server, start in keys:
            used, warned = found.pop((server, ms(start)), (0, 0))
            assert used == self.model.used[server, start]
            assert warned == self.model.warned.get((server, start), 0)
        assert not any(used or warned for used, warned in found.values())


def midnight(at: datetime) -> datetime:
    """When the operator's day begins."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=30, stateful_step_count=40, report_multiple_bugs=False)
