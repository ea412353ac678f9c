"""Changes of settings by those who manage a server. Each is recorded, and can be undone."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from db import changes, servers
from db import settings as rows
from db.connection import Connection
from db.database import Database
from db.records import CalendarRow, Change, SettingRow, Song
from services.calendar import Calendar
from services.clock import Clock
from services.settings.catalogue import BLOCK, BY_KEY, CALENDAR, LOG, Setting
from services.settings.changelog import Changelog, as_json
from services.settings.reader import Settings, SettingsReader
from services.settings.refusals import ChangedSince, NoSuchChange, NotASetting, TooManySet

T = TypeVar("T")
CancelWaiting = Callable[[Connection, int, int], Awaitable[list[Song]]]
"""Cancels and refunds the waiting songs of a member in a server, in the caller's transaction."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Manager:
    """Who decides, in which server; Discord has said that they may."""

    server_id: int
    actor_id: int


class ServerSettings:
    """Reads and changes settings. A method returns no change where nothing was different."""

    def __init__(
        self,
        database: Database,
        settings_reader: SettingsReader,
        changelog: Changelog,
        cancel_waiting: CancelWaiting,
        *,
        clock: Clock,
        changed: Callable[[int], None],
    ) -> None:
        self._database = database
        self._settings_reader = settings_reader
        self._changelog = changelog
        self._cancel_waiting = cancel_waiting
        self._clock = clock
        self._changed = changed

    # --- changing -------------------------------------------------------------------------------

    async def set(
        self, by: Manager, setting: Setting[T], value: T, subject_id: int = 0
    ) -> Change | None:
        """Set a setting. `subject_id`: the role or the member, where it is about one.

        Raises:
            InvalidRequest: the value can't be set, or too many roles or members have one.
        """
        return await self.update(by, setting, lambda _: value, subject_id)

    async def update(
        self, by: Manager, setting: Setting[T], change: Callable[[T], T], subject_id: int = 0
    ) -> Change | None:
        """Set a setting to what `change` makes of the value in force.

        Raises:
            InvalidRequest: as `set`; or whatever `change` raises.
        """
        return next(iter(await self._apply(by, {setting: change}, subject_id)), None)

    async def set_all(self, by: Manager, values: Mapping[Setting[Any], Any]) -> list[Change]:
        """Set several settings of the server, or none of them.

        Raises:
            InvalidRequest: a value can't be set.
        """
        changes = {setting: lambda _, value=value: value for setting, value in values.items()}
        return await self._apply(by, changes, 0)

    async def _apply(
        self, by: Manager, updates: Mapping[Setting[Any], Callable[[Any], Any]], subject_id: int
    ) -> list[Change]:
        defaults, done = self._settings_reader.defaults, []
        async with self._database.write() as connection:
            settings = await self._settings_reader.read(connection, by.server_id, subject_id)
            for setting, change in updates.items():
                kind = setting.kind
                value = kind.check(change(settings[setting]), setting.label, at=self._clock())
                follows_default = kind.omits_default and value == setting.default(defaults)
                stored = None if follows_default else as_json(kind.encode(value))
                done.append(await self._put(connection, by, setting, stored, subject_id))
            cancelled = await self._cancel_blocked(connection, by, subject_id)
        self._notify(cancelled)
        return [change for change in done if change is not None]

    async def reset(self, by: Manager, setting: Setting[Any], subject_id: int = 0) -> Change | None:
        """Return a setting to its default."""
        async with self._database.write() as connection:
            change = await self._put(connection, by, setting, None, subject_id)
        self._changelog.notify()
        return change

    async def undo(self, by: Manager, number: int) -> Change:
        """Set what a change set to its value before it.

        Raises:
            NotPossible: there is no such change, it is not of a setting, or it was changed since.
        """
        async with self._database.write() as connection:
            change = await changes.get(connection, by.server_id, number)
            if change is None:
                raise NoSuchChange(number)
            setting = BY_KEY.get(change.name)
            if setting is None:
                raise NotASetting(number)
            subject_id = change.subject_id
            if await self._stored(connection, by, setting, subject_id) != change.after:
                raise ChangedSince(number)
            undone = await self._put(
                connection, by, setting, change.before, subject_id, undoes=number
            )
            cancelled = await self._cancel_blocked(connection, by, subject_id)
        self._notify(cancelled)
        return undone or change

    async def reset_all(self, by: Manager) -> int:
        """Return every setting to its default, each as a change; return how many they were.

        The log channel goes last, so that the other changes are posted there.
        """
        async with self._database.write() as connection:
            found = await self._set_ones(connection, by.server_id)
            for setting, subject_id in sorted(found, key=lambda each: each[0] is LOG):
                await self._put(connection, by, setting, None, subject_id)
        self._changelog.notify()
        return len(found)

    # --- reading --------------------------------------------------------------------------------

    async def read(self, server_id: int, member_id: int = 0) -> Settings:
        """Return a server's settings, with those about one member."""
        return await self._settings_reader.read(self._database.reader, server_id, member_id)

    async def of_setting(self, server_id: int, setting: Setting[Any]) -> list[tuple[int, Any]]:
        """Return the roles or members that have a setting, by their ids, with its values."""
        found = await rows.named(self._database.reader, server_id, setting.key)
        return [(row.subject_id, setting.kind.decode(json.loads(row.value))) for row in found]

    async def blocked(self, server_id: int) -> int:
        """Return how many members are blocked now."""
        return await rows.count(self._database.reader, server_id, BLOCK.key, at=self._clock())

    async def to_reset(self, server_id: int) -> list[tuple[Setting[Any], int]]:
        """Return what `reset_all` would reset: settings, and the role or member of each."""
        return await self._set_ones(self._database.reader, server_id)

    # --- inside a transaction -------------------------------------------------------------------

    async def _set_ones(
        self, connection: Connection, server_id: int
    ) -> list[tuple[Setting[Any], int]]:
        found = await rows.names(connection, server_id)
        calendar = (await self._settings_reader.read(connection, server_id))[CALENDAR]
        return [
            *((BY_KEY[name], subject_id) for name, subject_id in found if name in BY_KEY),
            *([(CALENDAR, 0)] if calendar != Calendar() else []),
        ]

    async def _stored(
        self, connection: Connection, by: Manager, setting: Setting[Any], subject_id: int
    ) -> str | None:
        if setting is not CALENDAR:
            return await rows.get(connection, by.server_id, setting.key, subject_id)
        calendar = (await self._settings_reader.read(connection, by.server_id))[CALENDAR]
        return as_json(CALENDAR.kind.encode(calendar))

    async def _put(
        self,
        connection: Connection,
        by: Manager,
        setting: Setting[Any],
        after: str | None,
        subject_id: int,
        *,
        undoes: int | None = None,
    ) -> Change | None:
        """Store a value, or the default with None, and record the change.

        Raises:
            TooManySet: so many roles or members have one that no other can.
        """
        server_id = by.server_id
        if setting is CALENDAR and after is None:
            after = as_json(CALENDAR.kind.encode(Calendar()))
        before = await self._stored(connection, by, setting, subject_id)
        if before == after:
            return None
        # The end of the log is posted in the channel that it had.
        channel = await self._changelog.channel(connection, server_id)
        await servers.ensure_server(connection, server_id)
        if before is None and (
            await rows.count(connection, server_id, setting.key) >= setting.most
        ):
            raise TooManySet(setting.most)
        await self._store(connection, server_id, setting, subject_id, after)
        return await self._changelog.record(
            connection,
            server_id,
            setting.key,
            subject_id=subject_id,
            before=before,
            after=after,
            actor_id=by.actor_id,
            undoes=undoes,
            fallback=channel,
        )

    async def _store(
        self,
        connection: Connection,
        server_id: int,
        setting: Setting[Any],
        subject_id: int,
        value: str | None,
    ) -> None:
        if value is None:
            await rows.drop(connection, server_id, setting.key, subject_id)
        elif setting is CALENDAR:
            timeline = await self._settings_reader.timeline(connection, server_id)
            changed = timeline.changed(CALENDAR.kind.decode(json.loads(value)), at=self._clock())
            spans = [CalendarRow(at, c.every, c.hour, c.zone) for at, c in changed.spans]
            await rows.set_calendars(connection, server_id, spans)
        else:
            row = SettingRow(setting.key, subject_id, value)
            await rows.put(connection, server_id, setting.about, row)

    # --- what a block does to songs -------------------------------------------------------------

    async def _cancel_blocked(
        self, connection: Connection, by: Manager, member_id: int
    ) -> list[int]:
        """Cancel and refund a member's waiting songs if they are blocked; return which songs."""
        if not member_id:
            return []
        settings = await self._settings_reader.read(connection, by.server_id, member_id)
        if settings.block(at=self._clock()) is None:
            return []
        cancelled = await self._cancel_waiting(connection, by.server_id, member_id)
        return [song.song_id for song in cancelled]

    def _notify(self, cancelled: list[int]) -> None:
        """Once it is committed: the log channel, and the status messages of cancelled songs."""
        self._changelog.notify()
        for song_id in cancelled:
            log.info("[%d] CANCELLED and refunded: its member is blocked", song_id)
            self._changed(song_id)
