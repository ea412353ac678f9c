"""Kills in a row in one world: song after song, each killed at another point."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reliability.crash_points import Pass, Plan
from tests.reliability.guarantees import broken_guarantees
from tests.reliability.killable_bot import NOTHING, KillableBot, Nursery
from tests.reliability.scenarios import QUICK, Scenario, ask
from tests.wire import Interaction
from tests.wire.limits import ACK_SECONDS
from tests.world.sockets import World, is_shown, status_of, until

AFTERWARDS = 0.3
"""Seconds that a bot has for what nobody sees any more, before a point counts as not passed."""
POLL_INTERVAL = 0.03
PATIENCE = 45.0
"""Seconds until a song that goes on by itself must be over, on a machine with much to do."""


@dataclass(slots=True)
class Death:
    """One kill, or two of the same song: where, and what the database said then.

    `accepted`: whether the request's transaction was committed by the first; None where it may have
    been. `steps` are the steps of the song's row at each, None where there was no row; fewer where
    a process came by without passing the point.
    """

    kills: Sequence[Pass]
    accepted: bool | None
    song: Interaction | None = None
    steps: Sequence[str | None] = ()

    @property
    def missed(self) -> bool:
        return len(self.steps) < len(self.kills)

    def __str__(self) -> str:
        return f"{self.song} killed at {list(self.kills)}, its row then at {list(self.steps)}"


class Series:
    """Songs of one scenario in one world, killed one after another."""

    def __init__(self, nursery: Nursery, world: World, scenario: Scenario) -> None:
        self._nursery, self._world, self._scenario = nursery, world, scenario
        self.deaths: list[Death] = []
        # Songs that are not waited for: never accepted, or waiting until the end of the world.
        self._set_aside: set[int] = set()
        scenario.prepare(world)

    @property
    def _songs(self) -> list[Interaction]:
        requested = self._world.requested.values()
        return [s for s in requested if s.id not in self._set_aside and not self._expired(s)]

    def _expired(self, song: Interaction) -> bool:
        """Whether it never becomes a song: the machine paused for longer than Discord waits."""
        age = self._world.wire.clock.now() - song.dispatched
        return song.callback is None and age > 2 * ACK_SECONDS

    async def record(self, kill: Pass | None = None) -> list[str]:
        """The points, in order, that a song passes which nothing kills, or from its `kill` on."""
        file = self._world.folder / "passes"
        if kill is None:
            await self._open()
            async with self._bot(Plan(record=str(file), spare=self._interactions())) as bot:
                await self._scenario.ask(self._world)
                await self._all_over()
                await until_no_more_points(file)
                await bot.stop(signal.SIGKILL)
        else:
            death = await self.kill([kill], accepted=True)
            assert not death.missed, death
            spare = [i for i in self._interactions() if death.song is None or i != death.song.id]
            async with self._bot(Plan(record=str(file), spare=spare)) as bot:
                await self._all_over()
                await until_no_more_points(file)
                await bot.stop(signal.SIGKILL)
        points = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return points

    async def kill(self, kills: Sequence[Pass], *, accepted: bool | None) -> Death:
        """A new song and its kills; it comes to its end in the next process, undisturbed."""
        await self._open()
        death = Death(kills, accepted)
        self.deaths.append(death)
        known = set(self._world.requested)
        async with self._bot(Plan(kill=kills[0], spare=self._interactions())) as bot:
            await self._all_over()
            killed = await self._live(bot, self._scenario.ask(self._world))
        death.song = next((s for n, s in self._world.requested.items() if n not in known), None)
        for again in (*kills[1:], None):
            if not killed:
                break
            self._note_row(death)
            if again is None or death.song is None:
                break
            spare = [i for i in self._interactions() if i != death.song.id]
            async with self._bot(Plan(kill=again, spare=spare)) as bot:
                killed = await self._live(bot)
        return death

    async def settle(self) -> None:
        """Let all come to its end.

        Raises:
            AssertionError: a promise is broken, or a song ended as it should not.
        """
        self._world.settings["SEGMIND_RPM"] = "10000"
        requested = self._world.requested.values()
        self._set_aside = {song.id for song in requested if self._world.row(song) is None}
        async with self._bot() as bot:
            await self._all_over()
            await until(lambda: not self._left_behind())
            assert await bot.stop() == 0
        limit = self._scenario.refused + 2
        wrong = await broken_guarantees(self._world, most_submits=limit)
        wrong += [text for death in self.deaths for text in self._wrong_with(death)]
        assert wrong == [], "\n".join([*wrong, "", *map(str, self.deaths)])

    def _wrong_with(self, death: Death) -> Iterator[str]:
        song = death.song
        if death.accepted is not None and any(
            (step is not None) != death.accepted for step in death.steps
        ):
            yield f"{death}: accepted or not, unlike what was committed"
        if song is None:
            return
        row, submits = self._world.row(song), self._world.submits(song)
        # Of what was at `submitting` the answer may have been lost: once more, twice in all.
        uncertain = sum(step == "submitting" for step in death.steps)
        allowed = self._scenario.refused + min(2, 1 + self._scenario.lost + uncertain)
        if submits > allowed:
            yield f"{death}: submitted {submits} times, {allowed} are allowed"
        if row is not None and status_of(row) not in self._may_end(uncertain):
            yield f"{death}: {status_of(row)}, {row['reason']}"
        made = row is not None and status_of(row) == "COMPLETED"
        if row is not None and made and row["reason"] and not self._scenario.undelivered:
            yield f"{death}: undelivered, {row['reason']}"

    def _may_end(self, uncertain: int) -> Iterable[str]:
        """Two answers that were lost are a song's end."""
        failed = ("FAILED",) if uncertain + self._scenario.lost > 1 else ()
        return (*self._scenario.ends, *failed)

    # --- how --------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _bot(self, plan: Plan = NOTHING) -> AsyncIterator[KillableBot]:
        constants = {**QUICK, **self._scenario.constants}
        async with self._nursery.bot(self._world, plan, constants=constants) as bot:
            yield bot

    async def _open(self) -> None:
        """The song before the first one, where the scenario wants one."""
        if self._scenario.after_another and not self._world.requested:
            async with self._bot():
                await ask(self._world)
                await self._all_over()

    async def _live(self, bot: KillableBot, asking: Awaitable[object] | None = None) -> bool:
        """Until the bot is dead, or there is nothing left for it to do; whether it is dead."""

        async def work() -> None:
            if asking is not None:
                await asking
            await self._all_over()

        working = asyncio.ensure_future(work())
        either: set[asyncio.Future[Any]] = {working, bot.status}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not bot.ended:
            working.result()
            # What is seen from outside is not the last that it does.
            await asyncio.wait({bot.status}, timeout=AFTERWARDS)
        killed = bot.ended
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return killed

    def _note_row(self, death: Death) -> None:
        """What the database says after a kill, and what Discord has forgotten until the start."""
        forget_nonces(self._world)
        row = None if death.song is None else self._world.row(death.song)
        death.steps = [*death.steps, None if row is None else row["state"]]
        if death.song is not None and (
            row is None or (self._scenario.may_wait and row["state"] == "waiting")
        ):
            self._set_aside.add(death.song.id)

    def _interactions(self) -> list[int]:
        return list(self._world.wire.state.interactions)

    async def _all_over(self) -> None:
        """Until each song has ended and nothing more is to be shown of it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if self._over():
                    return
                await asyncio.sleep(POLL_INTERVAL)

    def _over(self) -> bool:
        rows = self._world.rows(
            """
            SELECT * FROM songs
            WHERE ended_at IS NOT NULL AND (file IS NULL OR NOT ?)
            """,
            self._scenario.late,
        )
        ended = {row["song_id"]: row for row in rows}
        return all(song.id in ended and is_shown(song, ended[song.id]) for song in self._songs)

    def _left_behind(self) -> list[Path]:
        kept = self._world.rows("SELECT song_id FROM songs WHERE file IS NOT NULL")
        needed = {str(row["song_id"]) for row in kept}
        return [f for f in self._world.song_folders() if f.name not in needed]


async def until_no_more_points(record: Path) -> None:
    """Until no more points are passed: what is seen from outside is not the last."""
    passed = -1
    while passed != (passed := await asyncio.to_thread(_size, record)):  # noqa: ASYNC110 - a file
        await asyncio.sleep(AFTERWARDS)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def forget_nonces(world: World) -> None:
    """As Discord does after some minutes: what is sent again is a second message then."""
    world.wire.state._nonces.clear()


def passes(points: Iterable[str]) -> list[Pass]:
    """The passes of a record, in its order."""
    seen: Counter[str] = Counter()
    found = []
    for point in points:
        seen[point] += 1
        found.append((point, seen[point]))
    return found
