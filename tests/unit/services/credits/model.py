"""The rules of money, implemented a second time in plain memory, to compare the ledger with."""

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.calendar import Calendar, Period
from services.errors import (
    BudgetExceeded,
    DeniedBySettings,
    NotEnoughCredits,
    Refusal,
    TooManySongs,
    TooManyUndelivered,
)
from services.songs.admission import MAX_UNDELIVERED, MAX_UNDELIVERED_OF_MEMBER

Person = tuple[int, int]
"""A server, and a member of it."""

FOREVER = datetime.max.replace(tzinfo=UTC)
DEFAULT_ALLOWANCE = 10
DEFAULT_LIMITS = {"unfinished": 3, "seconds": 240, "steps": 150, "cooldown": 0}


@dataclass
class Pot:
    """Credits that came together: what was put in, and what is left."""

    name: str
    kind: str
    expires: datetime
    given: int
    left: int


@dataclass
class RoleGrant:
    """Credits for those with a role, or from them."""

    role_grant_id: int
    role: int
    kind: str
    amount: int
    ends: datetime
    expires: datetime


@dataclass
class Made:
    """A song, where its price came from, and its state."""

    song_id: int
    person: Person
    price: int
    period: datetime
    requested_at: datetime
    sources: list[tuple[str, int]]
    state: str = "waiting"
    submits: int = 0
    ended_at: datetime | None = None
    by_choice: bool = False

    @property
    def unfinished(self) -> bool:
        return self.state in ("waiting", "submitting")


@dataclass
class Done:
    """One row of a server's history, less its time."""

    name: str
    subject: int
    before: Any
    after: Any
    actor: int | None
    undoes: int | None = None


@dataclass
class Purse:
    """A member's pots, by name, and the role grants that they got."""

    pots: dict[str, Pot] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def live(self, now: datetime) -> list[Pot]:
        """Return what can be spent; what expires first is at the front."""
        pots = [pot for pot in self.pots.values() if pot.left and pot.expires > now]
        return sorted(pots, key=lambda pot: (pot.expires, pot.name))

    def free(self, now: datetime) -> int:
        return sum(pot.left for pot in self.live(now))

    def put(self, name: str, kind: str, amount: int, expires: datetime) -> None:
        assert name not in self.pots
        self.pots[name] = Pot(name, kind, expires, amount, amount)


def draw(pots: list[Pot], amount: int) -> list[tuple[str, int]]:
    """Take an amount out of pots in their order, as far as they hold it."""
    taken = []
    for pot in pots:
        if part := min(pot.left, amount):
            pot.left -= part
            amount -= part
            taken.append((pot.name, part))
    return taken


class Model:
    """All servers. Methods that begin with `would` change nothing."""

    def __init__(
        self, people: list[Person], *, daily_songs: Mapping[str, int], hourly_refunds: int
    ) -> None:
        self.daily_songs = daily_songs
        self.hourly_refunds = hourly_refunds
        self.purses = {person: Purse() for person in people}
        self.roles: dict[Person, frozenset[int] | None] = dict.fromkeys(people, frozenset())
        self.settings: dict[int, dict[tuple[str, int], Any]] = {s: {} for s, _ in people}
        self.spans: dict[int, list[tuple[datetime, Calendar]]] = {s: [] for s, _ in people}
        self.role_grants: dict[int, list[RoleGrant]] = {s: [] for s, _ in people}
        self.history: dict[int, list[Done]] = {s: [] for s, _ in people}
        self.used: Counter[tuple[int, datetime]] = Counter()
        self.warned: dict[tuple[int, datetime], int] = {}
        self.highest: Counter[str] = Counter()
        self.songs: list[Made] = []
        self.submits: Counter[tuple[datetime, int]] = Counter()
        self.submit_credits: Counter[tuple[datetime, int]] = Counter()
        self.operator: dict[tuple[str, int], tuple[int | None, int | None]] = {}

    # --- settings in force ------------------------------------------------------------------------

    def setting(self, server: int, name: str, subject: int = 0) -> Any:
        return self.settings[server].get((name, subject))

    def blocked(self, person: Person, now: datetime) -> bool:
        block = self.setting(person[0], "block", person[1])
        return bool(block) and (block["until"] is None or now < moment(block["until"]))

    def limits(self, server: int) -> Mapping[str, int]:
        set_ones = {name: self.setting(server, name) for name in DEFAULT_LIMITS}
        return DEFAULT_LIMITS | {name: n for name, n in set_ones.items() if n is not None}

    def period(self, server: int, now: datetime) -> Period:
        spans = [(datetime.min.replace(tzinfo=UTC), Calendar()), *self.spans[server]]
        since, calendar = [span for span in spans if span[0] <= now][-1]
        natural = calendar.period(now)
        end = min([natural.end, *(begin for begin, _ in spans if begin > now)])
        return Period(max(natural.start, since), end)

    def calendar(self, server: int) -> Calendar:
        """Return the calendar set last, in force or not."""
        return self.spans[server][-1][1] if self.spans[server] else Calendar()

    def allowance(self, person: Person, now: datetime) -> int | None:
        server, who = person
        own = self.setting(server, "member", who)
        if own and (own["until"] is None or now < moment(own["until"])):
            return int_or_none(own["credits"])
        of_roles = [
            setting["credits"]
            for role in self.roles[person] or ()
            if (setting := self.setting(server, "role", role)) is not None
        ]
        if of_roles:
            return None if None in of_roles else max(of_roles)
        setting = self.setting(server, "allowance")
        return DEFAULT_ALLOWANCE if setting is None else int_or_none(setting["credits"])

    # --- purses -----------------------------------------------------------------------------------

    def would_open(self, person: Person, now: datetime) -> Purse:
        """Return the purse as it is once it was opened."""
        purse = copy.deepcopy(self.purses[person])
        self.close(person, purse, now)
        if self.roles[person] is None:
            return purse
        if (allowed := self.allowance(person, now)) is not None:
            self._allow(person, purse, allowed, now)
        for role_grant in self.role_grants[person[0]]:
            mine = role_grant.role in (self.roles[person] or ())
            if mine and role_grant.ends > now and role_grant.role_grant_id not in purse.seen:
                purse.seen.add(role_grant.role_grant_id)
                if role_grant.kind == "grant":
                    name = f"grant:{role_grant.role_grant_id}:{person[1]}"
                    purse.put(name, "grant", role_grant.amount, role_grant.expires)
                else:
                    draw(purse.live(now)[::-1], role_grant.amount)
        return purse

    def close(self, person: Person, purse: Purse, now: datetime) -> None:
        """Drop what has expired, except the running period's allowance."""
        current = self._allowance_name(person, now)
        for pot in purse.pots.values():
            if pot.expires <= now and pot.name != current:
                pot.left = 0

    def _allowance_name(self, person: Person, now: datetime) -> str:
        return f"allowance:{person[0]}:{person[1]}:{ms(self.period(person[0], now).start)}"

    def _allow(self, person: Person, purse: Purse, allowed: int, now: datetime) -> None:
        period, name = self.period(person[0], now), self._allowance_name(person, now)
        self.highest[name] = max(self.highest[name], allowed)
        pot = purse.pots.setdefault(name, Pot(name, "allowance", period.end, 0, 0))
        pot.expires = period.end
        used = pot.given - pot.left
        pot.given = max(used, allowed)
        pot.left = pot.given - used

    def open(self, person: Person, now: datetime) -> Purse:
        self.purses[person] = self.would_open(person, now)
        return self.purses[person]

    # --- songs ------------------------------------------------------------------------------------

    def of(self, person: Person) -> list[Made]:
        return [song for song in self.songs if song.person == person]

    def would_refuse(self, person: Person, seconds: int, now: datetime) -> type[Refusal] | None:
        """Return why a song would be refused. BudgetExceeded: the server's or the operator's."""
        server = person[0]
        limits = self.limits(server)
        undelivered = [
            song.person
            for song in self.songs
            if song.person[0] == server and song.state == "undelivered"
        ]
        if (
            undelivered.count(person) >= MAX_UNDELIVERED_OF_MEMBER
            or len(undelivered) >= MAX_UNDELIVERED
        ):
            return TooManyUndelivered
        if self.setting(server, "pause") is not None or self.blocked(person, now):
            return DeniedBySettings
        if seconds > limits["seconds"]:
            return DeniedBySettings
        in_progress_elsewhere = sum(
            song.unfinished and song.person[1] == person[1] and song.person != person
            for song in self.songs
        )
        if self.ended_by_choice(person[1], now) + in_progress_elsewhere >= self.hourly_refunds:
            return TooManySongs
        if sum(song.unfinished for song in self.of(person)) >= limits["unfinished"]:
            return TooManySongs
        if self._cooling(person, limits["cooldown"], now):
            return TooManySongs
        price = price_of(seconds)
        if not self.has_room(server, price, now, ahead=True):
            return BudgetExceeded
        unlimited = self.allowance(person, now) is None
        if not unlimited and self.would_open(person, now).free(now) < price:
            return NotEnoughCredits
        return BudgetExceeded if self.would_exceed(server, price, now) else None

    def ended_by_choice(self, who: int, now: datetime) -> int:
        """Count songs, in every server, that a member cancelled or whose request was refused."""
        ends = [
            song.ended_at
            for song in self.songs
            if song.person[1] == who and song.by_choice and song.ended_at is not None
        ]
        return sum(now - timedelta(hours=1) < whole_ms(at) <= now for at in ends)

    def would_exceed(self, server: int, price: int, now: datetime) -> bool:
        """Return whether a song would exceed the server's own budget."""
        budget = self.setting(server, "budget")
        used = self.used[server, self.period(server, now).start]
        return budget is not None and used + price > budget

    def _cooling(self, person: Person, cooldown: int, now: datetime) -> bool:
        newest = self.of(person)[-10:]
        requested = [
            song.requested_at for song in newest if song.state not in ("failed", "cancelled")
        ]
        wait = timedelta(seconds=cooldown)
        return bool(requested) and now < max(requested) + wait <= now + wait

    def has_room(self, server: int, price: int, now: datetime, *, ahead: bool) -> bool:
        """Return whether the operator's budgets have room for a song after those `ahead` of it."""
        own = ("server", server) if ("server", server) in self.operator else ("each", 0)
        for scope, whose in ((("all", 0)), own):
            default = (None, self.daily_songs.get(scope))
            credits, songs = self.operator.get((scope, whose), default)
            counted = 0 if scope == "all" else server
            waiting = [
                song.price
                for song in self.songs
                if ahead and song.state == "waiting" and song.person[0] == server
            ]
            day = (now.replace(hour=0, minute=0, second=0, microsecond=0), counted)
            more_credits = self.submit_credits[day] + sum(waiting) + price
            more_songs = self.submits[day] + len(waiting) + 1
            if credits is not None and more_credits > credits:
                return False
            if songs is not None and more_songs > songs:
                return False
        return True

    def create(self, song_id: int, person: Person, seconds: int, now: datetime) -> None:
        price, server = price_of(seconds), person[0]
        purse = self.open(person, now)
        unlimited = self.allowance(person, now) is None
        sources = [] if unlimited else draw(purse.live(now), price)
        period = self.period(server, now)
        self.songs.append(Made(song_id, person, price, period.start, now, sources))
        self.used[server, period.start] += price
        self._warn(server, period)

    def _warn(self, server: int, period: Period) -> None:
        budget, used = self.setting(server, "budget"), self.used[server, period.start]
        if budget is not None:
            percent = 100 if used >= budget else 80 if 100 * used >= 80 * budget else 0
            self.warn(server, period, percent)

    def warn_of_refusal(self, server: int, now: datetime) -> None:
        """Warn that the budget is reached, unless much of it is left."""
        period = self.period(server, now)
        if self.used[server, period.start] * 100 >= self.setting(server, "budget") * 80:
            self.warn(server, period, 100)

    def warn(self, server: int, period: Period, percent: int) -> None:
        """Record a warning, unless it or a higher one was recorded in this period."""
        if percent > self.warned.get((server, period.start), 0):
            self.warned[server, period.start] = percent
            facts = {
                "percent": percent,
                "used": self.used[server, period.start],
                "budget": self.setting(server, "budget"),
                "until": ms(period.end),
            }
            self.history[server].append(Done("warning", 0, None, facts, None))

    def refund(self, song: Made, now: datetime) -> None:
        """Return the price to its pots; what has expired returns for the running period."""
        purse, late = self.purses[song.person], 0
        for name, part in song.sources:
            if purse.pots[name].expires > now:
                purse.pots[name].left += part
            else:
                late += part
        if late:
            end = self.period(song.person[0], now).end
            purse.put(f"return:{song.song_id}", "return", late, end)
        self.used[song.person[0], song.period] -= song.price

    def cancel_waiting(self, person: Person, now: datetime) -> None:
        """Cancel waiting songs, which does not count as a refund by choice."""
        for song in self.of(person):
            if song.state == "waiting":
                song.state, song.ended_at = "cancelled", now
                self.refund(song, now)

    def count_submit(self, song: Made, day: datetime, by: int) -> None:
        for whose in (0, song.person[0]):
            self.submits[day, whose] += by
            self.submit_credits[day, whose] += by * song.price

    # --- changes ----------------------------------------------------------------------------------

    def set(
        self,
        server: int,
        actor: int,
        name: str,
        value: Any,
        subject: int = 0,
        undoes: int | None = None,
    ) -> bool:
        """Set a setting; return whether that changed anything."""
        before = self.setting(server, name, subject)
        if before == value:
            return False
        self.settings[server].pop((name, subject), None)
        if value is not None:
            self.settings[server][name, subject] = value
        self.history[server].append(Done(name, subject, before, value, actor, undoes))
        return True

    def set_calendar(
        self,
        server: int,
        actor: int,
        calendar: Calendar,
        now: datetime,
        undoes: int | None = None,
    ) -> bool:
        """Change the calendar from the end of the running period on."""
        last = self.calendar(server)
        if calendar == last:
            return False
        end = self.period(server, now).end
        begun = [span for span in self.spans[server] if span[0] <= now]
        in_force = begun[-1][1] if begun else Calendar()
        self.spans[server] = begun if calendar == in_force else [*begun, (end, calendar)]
        change = Done("calendar", 0, asdict(last), asdict(calendar), actor, undoes)
        self.history[server].append(change)
        return True

    def would_undo(self, server: int, number: int) -> bool:
        change = self.history[server][number - 1]
        if change.name in ("grant", "take", "reset", "warning"):
            return False
        if change.name == "calendar":
            return bool(asdict(self.calendar(server)) == change.after)
        return bool(self.setting(server, change.name, change.subject) == change.after)

    def undo(self, server: int, actor: int, number: int, now: datetime) -> None:
        change = self.history[server][number - 1]
        if change.name == "calendar":
            self.set_calendar(server, actor, Calendar(**change.before), now, number)
        else:
            self.set(server, actor, change.name, change.before, change.subject, number)
            if change.name == "block" and self.blocked((server, change.subject), now):
                self.cancel_waiting((server, change.subject), now)


def price_of(seconds: int) -> int:
    """Return the price with 50 steps."""
    return -(-seconds // 30)


def ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def whole_ms(at: datetime) -> datetime:
    """Return a time as it is read from the database."""
    return moment(ms(at))


def moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def int_or_none(value: Any) -> int | None:
    return None if value is None else int(value)
