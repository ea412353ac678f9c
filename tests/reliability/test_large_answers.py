"""A song whose answer ends the process, at each start again, until it costs its own song alone."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from db.records import Reason
from tests.music import wav
from tests.reliability.crash_points import AFTER, Pass, Plan, all_points
from tests.reliability.guarantees import broken_guarantees
from tests.reliability.killable_bot import nursery
from tests.world.sockets import status_of, world_outside

WITHIN = 45.0
MARKED = "services.songs.pipeline.Pipeline._reading_large: self._rows.transact("
"""Its answer is about to be read, and the row says so."""


@pytest.mark.long
async def test_an_answer_that_ends_the_process_three_times_ends_its_song(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    (marked,) = (p for p in all_points() if p.startswith(MARKED) and p.endswith(f", {AFTER}"))
    kill: Pass = (marked, 1)
    async with nursery() as bots, world_outside(tmp_path) as world:
        world.api._output = "base64"
        world.api._compose = lambda **_: wav(10)  # 2.4 MB of base64
        world.slow(running=0.1)
        counted: list[int] = []
        async with bots.bot(world, Plan(kill=kill)) as bot:
            song = await world.song()
            assert await bot.status == -signal.SIGKILL
        while len(counted) < 2:
            counted.append(world.rows("SELECT large_reads FROM songs")[0][0])
            async with bots.bot(world, Plan(kill=kill)) as bot:
                assert await bot.status == -signal.SIGKILL
        async with bots.bot(world) as bot:
            failed = await world.ended(song, WITHIN)
            next_one = await world.song()
            posted = await world.ended(next_one, WITHIN)
            assert await bot.stop() == 0
        assert (status_of(failed), failed["large_reads"]) == ("FAILED", 3)
        assert failed["reason"] == Reason.NOT_FETCHED
        assert world.entries(song) == ["hold", "refund"]
        assert (status_of(posted), posted["large_reads"]) == ("COMPLETED", 0)
        assert counted == [1, 2]
        assert await broken_guarantees(world) == []
    figure("3 kills, 1 song refunded, the next one posted")
