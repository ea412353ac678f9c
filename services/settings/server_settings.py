"""What those who manage a server decide. Each decision is a change, which can be taken back."""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from db import changes, servers, settings
from db.connection import Connection
from db.database import Database
from db.records import Change, Song, to_ms
from services.clock import Clock
from services.credits.amounts import MAX_AMOUNT, MAX_BUDGET, check_end, check_reason
from services.credits.calendar import Calendar, Every, Timeline
from services.errors import InvalidRequest, NotPossible
from services.providers.registry import PARAMETERS
from services.settings.blocked_words import parse_words, without
from services.settings.changelog import Changelog, as_json
from services.settings.settings import (
    Name,
    Rules,
    SettingsReader,
    block_of,
    rows_of,
)
from services.songs.completion import SongCompletion

log = logging.getLogger(__name__)

CALENDAR = "calendar"
"""The name of a change of the calendar, which is no rule but a row from when on it holds."""
MAX_RULES = {Name.ROLE: 250, Name.MEMBER: 1_000, Name.BLOCK: 1_000}
"""How many rules about somebody a server may have; 250 is Discord's limit of roles."""
MAX_CHANNELS = 25
"""What one menu of Discord holds."""
MAX_UNFINISHED = 100
MAX_COOLDOWN = 7 * 86_400
SETTABLE = frozenset({*Name, CALENDAR})


@dataclass(frozen=True, slots=True)
class Manager:
    """Who decides, in which server; Discord has said that they may."""

    server_id: int
    actor_id: int


class ServerSettings:
    """Changes rules. A method gives None where things were so already: then nothing is changed."""

    def __init__(
        self,
        database: Database,
        settings_reader: SettingsReader,
        changelog: Changelog,
        completion: SongCompletion,
        *,
        clock: Clock,
        changed: Callable[[int], None],
    ) -> None:
        self._database = database
        self._settings_reader = settings_reader
        self._changelog = changelog
        self._completion = completion
        self._clock = clock
        self._changed = changed

    # --- who gets how much ----------------------------------------------------------------------

    async def set_allowance(self, by: Manager, credits: int | None) -> Change | None:
        """Credits a period for every member; None is unlimited.

        Raises:
            InvalidRequest: not between 0 and `MAX_AMOUNT`.
        """
        return await self._set(by, Name.ALLOWANCE, {"credits": _allowed(credits)})

    async def drop_allowance(self, by: Manager) -> Change | None:
        """Every member has what the operator gives where a server has not decided."""
        return await self._set(by, Name.ALLOWANCE, None)

    async def set_calendar(
        self,
        by: Manager,
        *,
        every: str | None = None,
        hour: int | None = None,
        zone: str | None = None,
    ) -> Change | None:
        """When credits refill, from the end of the running period on. None leaves a part as it is.

        Raises:
            InvalidRequest: there is no such zone, or the hour is not between 0 and 23.
        """
        async with self._database.write() as connection:
            timeline = await self._settings_reader.timeline(connection, by.server_id)
            last = _last(timeline)
            calendar = Calendar.parse(
                last.every if every is None else every,
                last.hour if hour is None else hour,
                last.zone if zone is None else zone,
            )
            change = await self._put_calendar(connection, by, calendar)
        self._changelog.tell()
        return change

    async def set_role(self, by: Manager, role_id: int, credits: int | None) -> Change | None:
        """Credits a period for those with a role, unless another of theirs has more.

        Raises:
            InvalidRequest: not between 0 and `MAX_AMOUNT`, or there are too many such rules.
        """
        return await self._set(by, Name.ROLE, {"credits": _allowed(credits)}, role_id)

    async def drop_role(self, by: Manager, role_id: int) -> Change | None:
        """A role gives nothing of its own any more."""
        return await self._set(by, Name.ROLE, None, role_id)

    async def set_member(
        self, by: Manager, member_id: int, credits: int | None, *, until: datetime | None = None
    ) -> Change | None:
        """Credits a period for one member, whatever their roles.

        Raises:
            InvalidRequest: not between 0 and `MAX_AMOUNT`, an end that can't be, or too many such
                rules.
        """
        value = {"credits": _allowed(credits), "until": self._future(until)}
        return await self._set(by, Name.MEMBER, value, member_id)

    async def drop_member(self, by: Manager, member_id: int) -> Change | None:
        """A member has what their roles give."""
        return await self._set(by, Name.MEMBER, None, member_id)

    # --- limits ---------------------------------------------------------------------------------

    async def set_limits(
        self,
        by: Manager,
        *,
        unfinished: int | None = None,
        seconds: int | None = None,
        steps: int | None = None,
        cooldown: int | None = None,
    ) -> Change | None:
        """What one member may ask for; None leaves a limit as it is.

        Raises:
            InvalidRequest: a limit is out of its bounds.
        """
        asked = {
            "unfinished": _within("songs at once", unfinished, 1, MAX_UNFINISHED),
            "seconds": _within("longest song", seconds, *PARAMETERS.seconds.bounds),
            "steps": _within("most steps", steps, *PARAMETERS.steps.bounds),
            "cooldown": _within("cooldown in seconds", cooldown, 0, MAX_COOLDOWN),
        }
        async with self._database.write() as connection:
            rule = await self._read(connection, by.server_id, Name.LIMITS, 0)
            value = (rule or {}) | {name: n for name, n in asked.items() if n is not None}
            change = await self._put(connection, by, Name.LIMITS, self._differing(value) or None)
        self._changelog.tell()
        return change

    async def set_channels(self, by: Manager, channel_ids: Sequence[int]) -> Change | None:
        """Where songs may be asked for; none means everywhere.

        Raises:
            InvalidRequest: more than `MAX_CHANNELS`.
        """
        return await self._set(by, Name.CHANNELS, _channels(channel_ids))

    async def change_channels(
        self, by: Manager, *, add: Collection[int] = (), remove: Collection[int] = ()
    ) -> Change | None:
        """`set_channels` with some more and some less than there are.

        Raises:
            InvalidRequest: they would be more than `MAX_CHANNELS`.
        """
        async with self._database.write() as connection:
            known = await self._read(connection, by.server_id, Name.CHANNELS, 0)
            chosen = _channels({*(known or ()), *add} - set(remove))
            change = await self._put(connection, by, Name.CHANNELS, chosen)
        self._changelog.tell()
        return change

    async def block(
        self, by: Manager, member_id: int, *, reason: str, until: datetime | None = None
    ) -> Change | None:
        """A member makes no songs here; what they have waiting is cancelled and refunded.

        Raises:
            InvalidRequest: no fitting reason, an end that can't be, or too many are blocked.
        """
        why = check_reason(reason)
        value = {"reason": why, "until": self._future(until)}
        async with self._database.write() as connection:
            change = await self._put(connection, by, Name.BLOCK, value, member_id, reason=why)
            cancelled = await self._completion.cancel_waiting(connection, by.server_id, member_id)
        self._changelog.tell()
        self._show(cancelled)
        return change

    async def unblock(self, by: Manager, member_id: int) -> Change | None:
        """A member makes songs again."""
        return await self._set(by, Name.BLOCK, None, member_id)

    async def set_words(self, by: Manager, words: Sequence[str]) -> Change | None:
        """Words that are not wanted, as `words.parse_words` gives them."""
        return await self._set(by, Name.WORDS, list(words) or None)

    async def change_words(self, by: Manager, *, add: str = "", remove: str = "") -> Change | None:
        """`set_words` with some more and some less than there are, as they were typed.

        Raises:
            InvalidRequest: one of them is no word, or the list would be too long.
        """
        less = parse_words(remove)
        async with self._database.write() as connection:
            known = await self._read(connection, by.server_id, Name.WORDS, 0)
            words = parse_words("\n".join((*without(known or (), less), add)))
            change = await self._put(connection, by, Name.WORDS, list(words) or None)
        self._changelog.tell()
        return change

    async def pause(self, by: Manager, reason: str = "") -> Change | None:
        """No new songs; those under way are finished.

        Raises:
            InvalidRequest: the reason is too long.
        """
        why = check_reason(reason) if reason.strip() else ""
        return await self._set(by, Name.PAUSE, why, reason=why or None)

    async def resume(self, by: Manager) -> Change | None:
        """Songs are made again."""
        return await self._set(by, Name.PAUSE, None)

    async def set_budget(self, by: Manager, credits: int | None) -> Change | None:
        """What the server may spend in a period; None is as much as its members have.

        Raises:
            InvalidRequest: not between 1 and `MAX_BUDGET`.
        """
        if credits is not None and not 1 <= credits <= MAX_BUDGET:
            raise InvalidRequest(f"The budget must be between 1 and {MAX_BUDGET:,} credits.")
        return await self._set(by, Name.BUDGET, credits)

    # --- the rest -------------------------------------------------------------------------------

    async def set_log(self, by: Manager, channel_id: int | None) -> Change | None:
        """Where every change is told; None is nowhere."""
        return await self._set(by, Name.LOG, channel_id)

    async def set_gifts(self, by: Manager, *, allowed: bool) -> Change | None:
        """Whether members may give each other credits."""
        return await self._set(by, Name.GIFTS, allowed or None)

    async def set_leaderboard(self, by: Manager, *, allowed: bool) -> Change | None:
        """Whether members may see who made the most songs."""
        return await self._set(by, Name.LEADERBOARD, allowed or None)

    # --- seeing and undoing ---------------------------------------------------------------------

    async def rules(self, server_id: int) -> Rules:
        """What holds in a server, less the rules about single members."""
        return await self._settings_reader.read(self._database.reader, server_id)

    async def about(
        self, server_id: int, name: Name, *, limit: int, offset: int = 0
    ) -> list[tuple[int, Any]]:
        """Rules of a kind that are about somebody, by whom they are about: whom, and the value."""
        reader = self._database.reader
        found = await settings.named(reader, server_id, name, limit=limit, offset=offset)
        return [(rule.subject_id, json.loads(rule.value)) for rule in found]

    async def count(self, server_id: int, name: Name) -> int:
        """How many rules of a kind there are, those whose time is over among them."""
        return await settings.count(self._database.reader, server_id, name)

    async def blocked(self, server_id: int) -> int:
        """How many members are blocked now."""
        return await settings.count_standing(
            self._database.reader, server_id, Name.BLOCK, at=self._clock()
        )

    async def undo(self, by: Manager, number: int) -> Change:
        """Take a change back: what it changed is as it was before.

        Raises:
            NotPossible: there is no such change, it is none of a setting, or it was changed since.
        """
        async with self._database.write() as connection:
            change = await changes.get(connection, by.server_id, number)
            if change is None:
                raise NotPossible(f"There is no change {number} in this server.")
            if change.name not in SETTABLE:
                raise NotPossible(
                    f"Change {number} is none of a setting. What was granted can be taken with "
                    "`/quota take`, what was taken granted with `/quota grant`."
                )
            undone = await self._put_back(connection, by, change)
            cancelled = (
                await self._completion.cancel_waiting(connection, by.server_id, change.subject_id)
                if self._blocks_again(change)
                else []
            )
        self._changelog.tell()
        self._show(cancelled)
        return undone or change

    async def settings_to_reset(self, server_id: int) -> list[tuple[str, int]]:
        """The rules that `reset_settings` would drop: name, and whom each is about."""
        reader = self._database.reader
        found = await settings.names(reader, server_id)
        decided = _last(await self._settings_reader.timeline(reader, server_id)) != Calendar()
        calendar = [(CALENDAR, 0)] if decided else []
        return [*found, *calendar]

    async def reset_settings(self, by: Manager) -> int:
        """Back to the defaults, each rule as a change of its own; how many it were.

        The log channel goes last, so that it hears of the others.
        """
        async with self._database.write() as connection:
            count = 1 if await self._put_calendar(connection, by, Calendar()) else 0
            found = await settings.names(connection, by.server_id)
            for name, subject_id in sorted(found, key=lambda rule: rule[0] == Name.LOG):
                count += bool(await self._put(connection, by, Name(name), None, subject_id))
        self._changelog.tell()
        return count

    # --- how ------------------------------------------------------------------------------------

    def _blocks_again(self, change: Change) -> bool:
        """Whether somebody is blocked once a change is taken back."""
        if change.name != Name.BLOCK or change.before is None:
            return False
        return block_of(json.loads(change.before)).holds(self._clock())

    def _show(self, cancelled: Iterable[Song]) -> None:
        for song in cancelled:
            log.info("[%d] CANCELLED and refunded: its member was blocked", song.song_id)
            self._changed(song.song_id)

    async def _set(
        self,
        by: Manager,
        name: Name,
        value: object,
        subject_id: int = 0,
        *,
        reason: str | None = None,
    ) -> Change | None:
        async with self._database.write() as connection:
            change = await self._put(connection, by, name, value, subject_id, reason=reason)
        self._changelog.tell()
        return change

    async def _put(
        self,
        connection: Connection,
        by: Manager,
        name: Name,
        value: object,
        subject_id: int = 0,
        *,
        reason: str | None = None,
        undoes: int | None = None,
    ) -> Change | None:
        """Set a rule, or drop it with None, and write down the change."""
        before = await settings.get(connection, by.server_id, name, subject_id)
        after = None if value is None else as_json(value)
        if before == after:
            return None
        # The end of the log is told in the channel that it was.
        heard = await self._changelog.channel(connection, by.server_id)
        await servers.ensure_server(connection, by.server_id)
        if after is None:
            await settings.drop(connection, by.server_id, name, subject_id)
        else:
            if before is None:
                await self._check_room(connection, by.server_id, name)
            await settings.put(connection, by.server_id, name, subject_id, after)
        return await self._changelog.record(
            connection,
            by.server_id,
            name,
            subject_id=subject_id,
            before=before,
            after=after,
            actor_id=by.actor_id,
            reason=reason,
            undoes=undoes,
            heard=heard,
        )

    async def _put_calendar(
        self,
        connection: Connection,
        by: Manager,
        calendar: Calendar,
        *,
        undoes: int | None = None,
    ) -> Change | None:
        timeline = await self._settings_reader.timeline(connection, by.server_id)
        last = _last(timeline)
        if calendar == last:
            return None
        await servers.ensure_server(connection, by.server_id)
        changed = timeline.changed(calendar, at=self._clock())
        await settings.set_calendars(connection, by.server_id, rows_of(changed))
        return await self._changelog.record(
            connection,
            by.server_id,
            CALENDAR,
            before=as_json(asdict(last)),
            after=as_json(asdict(calendar)),
            actor_id=by.actor_id,
            undoes=undoes,
        )

    async def _put_back(self, connection: Connection, by: Manager, change: Change) -> Change | None:
        if await self._now(connection, change) != change.after:
            raise NotPossible(
                f"What change {change.number} set was changed again since: take the later change "
                "back first, or set it anew."
            )
        before: Any = None if change.before is None else json.loads(change.before)
        if change.name == CALENDAR:
            calendar = Calendar(Every(before["every"]), before["hour"], before["zone"])
            return await self._put_calendar(connection, by, calendar, undoes=change.number)
        return await self._put(
            connection, by, Name(change.name), before, change.subject_id, undoes=change.number
        )

    async def _now(self, connection: Connection, change: Change) -> str | None:
        """What stands now where a change was made."""
        if change.name == CALENDAR:
            timeline = await self._settings_reader.timeline(connection, change.server_id)
            return as_json(asdict(_last(timeline)))
        return await settings.get(connection, change.server_id, change.name, change.subject_id)

    async def _check_room(self, connection: Connection, server_id: int, name: Name) -> None:
        most = MAX_RULES.get(name)
        if most is not None and await settings.count(connection, server_id, name) >= most:
            raise InvalidRequest(
                f"This server has {most:,} such rules, which is the most: please remove some first."
            )

    async def _read(
        self, connection: Connection, server_id: int, name: Name, subject_id: int
    ) -> Any:  # noqa: ANN401 - JSON
        value = await settings.get(connection, server_id, name, subject_id)
        return None if value is None else json.loads(value)

    def _differing(self, limits: Mapping[str, int]) -> dict[str, int]:
        """The limits that are not the defaults."""
        defaults: dict[str, int] = asdict(self._settings_reader.defaults.limits)
        return {name: value for name, value in limits.items() if defaults[name] != value}

    def _future(self, until: datetime | None) -> int | None:
        return None if until is None else to_ms(check_end(until, at=self._clock()))


def _last(timeline: Timeline) -> Calendar:
    """What was decided last, be it in force yet or not."""
    return timeline.spans[-1][1] if timeline.spans else Calendar()


def _allowed(credits: int | None) -> int | None:
    if credits is not None and not 0 <= credits <= MAX_AMOUNT:
        raise InvalidRequest(f"The allowance must be between 0 and {MAX_AMOUNT:,} credits.")
    return credits


def _channels(channel_ids: Iterable[int]) -> list[int] | None:
    chosen = sorted(set(channel_ids))
    if len(chosen) > MAX_CHANNELS:
        raise InvalidRequest(
            f"Those are {len(chosen)} channels, {MAX_CHANNELS} is the most. To allow songs "
            "everywhere, choose none."
        )
    return chosen or None


def _within(what: str, value: int | None, low: int, high: int) -> int | None:
    if value is not None and not low <= value <= high:
        raise InvalidRequest(f"The limit of {what} must be between {low:,} and {high:,}.")
    return value
