"""`kill -9` before and after each step of a song's life, as the code itself has them."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.reliability.crash_points import AFTER, BEFORE, Pass, all_points
from tests.reliability.killable_bot import Nursery, nursery
from tests.reliability.killing import Death, Series, passes
from tests.reliability.scenarios import WAYS, Scenario, ask
from tests.world.sockets import world_outside

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="bots are forked")

COMMITTED = "db.database._run_transaction: connection.commit()"
THE_RUNNERS = "services.songs.scheduler.Scheduler."
SIDES = (BEFORE, AFTER)
SERIES_AT_ONCE = 4
ONE_IN, AT_MOST = 20, 2
"""Of the passes of a song that goes on, one in so many; no more than so many of a point."""

STEPS: Mapping[str, str] = {
    "acknowledged": "cogs.songs.song.SongCog.song: acknowledged(",
    "requested": "cogs.songs.song.SongCog._create: self._songs.create(",
    "committed": COMMITTED,
    "submitting": "services.songs.scheduler.Scheduler._mark_next: self._database.write(), left",
    "submitted": "services.songs.pipeline.Pipeline._submit_once: self._provider(song).submit(",
    "submitted, written down": "services.songs.pipeline.Pipeline._submit_once: self._rows.move(",
    "poll": "services.songs.pipeline.Pipeline._poll: provider.get_status(",
    "downloading": "services.providers.downloads.Downloader.download: map_network_errors(",
    "ready": "services.songs.poster.Poster._transcode: self._rows.move(song, songs.mark_ready",
    "posting": "services.songs.poster.Poster._mark: self._rows.move(song, mark,",
    "posted": "cogs.songs.announcer.DiscordAnnouncer._post: self._channel(song).send(",
    "settled": "services.songs.completion.SongCompletion._end: self._database.write(), left",
    "message edited": "cogs.songs.announcer.DiscordAnnouncer._edit: webhook.edit_message(",
}
"""The steps of a song's life by their names in words, each by how its points begin."""

LATE = "services.songs.poster.Poster._send: self._channel.post("
"""The step at which what could not be posted is sent after all."""

NOT_PASSED: Mapping[str, Sequence[str]] = {
    "It is passed once, before there is a song.": [
        "services.songs.scheduler.Scheduler.run: songs.unfinished(",
        "services.songs.delivery.Delivery.once: self._expedite(",
        "services.songs.delivery.Delivery.once: songs.undelivered(",
        "services.songs.delivery.Delivery._expedite: songs.undelivered(",
    ],
    "A process that is stopped, not killed.": [
        "db.cancellation.run_to_completion: asyncio.wait({task})",
        "services.audio.transcoder._attempt: asyncio.shield(process.wait())",
    ],
    "An error that nobody foresaw, and a transaction that it undoes.": [
        "cogs.client.errors.guarded: answer(",
        "cogs.songs.song.SongCog.on_interaction: answer(",
        "services.retry.retry: on_error(",
        "services.retry.retry: (sleep or asyncio.sleep)(",
        "db.database.Database.write: run_to_completion(self._writer.rollback())",
        "db.database.Database.write: self._writer.rollback()",
        "db.database._run_transaction: connection.rollback()",
        "services.songs.scheduler.Scheduler._run_to_end.attempt: self._pipeline.give_up(",
    ],
    "The API could not be reached: the song waits as before.": [
        "services.songs.scheduler.Scheduler._start_all: self._sleep(",
    ],
    "Its acknowledgement is said to have failed: nothing is there yet, before and after it.": [
        "cogs.client.answers.acknowledged: interaction.original_response(",
    ],
    "The interaction was delivered again, and the channel for posts refuses meanwhile.": [
        "services.songs.songs.Songs.create: songs.get(",
    ],
    "It was refused, and nothing was spent.": [
        "services.songs.songs.Songs.create: self._budget.refused(",
        "services.songs.songs.Songs.cancel: self.get(song_id, server_id=server_id) (2)",
    ],
    "Its member was blocked meanwhile: one transaction with the move before it, which is passed.": [
        "services.songs.completion.SongCompletion.cancel_unwanted: self._cancel(",
    ],
    "The channel that songs are posted in is gone: the original one takes it, by the same steps.": [
        "cogs.songs.announcer.DiscordAnnouncer._or_in_origin: self._queue.move_to_origin(song)",
        "cogs.songs.announcer.DiscordAnnouncer._or_in_origin: act(song) (2)",
    ],
    "Its status message is gone, or another one's button was pressed.": [
        "cogs.songs.announcer.DiscordAnnouncer._show: self._forget(song, board), ",
        "cogs.songs.buttons._renew: _show_now(",
        "cogs.songs.buttons.GetButton.respond: _show_now(",
    ],
    "The same as what is passed, for an answer or an address of another shape.": [
        "services.songs.pipeline.Pipeline._make_at_once: self._fetch(",
        "services.providers.downloads.Downloader.download: in_thread(_put_in_place",
        "services.providers.segmind.Segmind.make: answer.output()",
        "services.providers.segmind.Segmind.make: contextlib.aclosing(answer)",
        "services.providers.segmind.Segmind._make: self._reader.read(",
        "services.providers.segmind_answers.AnswerReader.read: exclusive.enter_async_context(",
        "services.providers.segmind_answers.AnswerReader.read: in_thread(body.spool.discard",
        "services.providers.downloads.Downloader._hop: aiohttp.ClientSession(",
        "services.providers.downloads.Downloader._hop: _get(session,",
        "services.providers.downloads.save: in_thread(_append, part, bytes(block)",
    ],
    "Another error at a step whose other errors are passed: what follows it is the same.": [
        "services.songs.pipeline.Pipeline._submit: self._transient(error)",
        "services.songs.pipeline.Pipeline._submit: self._waits_again(song)",
        "services.songs.pipeline.Pipeline._submit: self._waits_again(song) (3)",
        "services.songs.pipeline.Pipeline._mark_again: self._fail(",
        "services.songs.pipeline.Pipeline._mark_again: self._sleep(",
        "services.songs.pipeline.Pipeline._await_audio: self._fail(",
        "services.songs.pipeline.Pipeline._await_audio: self._note_failing(",
        "services.songs.pipeline.Pipeline._poll: self._wait_until_there(",
        "services.songs.pipeline.Pipeline._fetch: self._wait_until_there(",
        "services.songs.pipeline.Pipeline.deliver: self._poster.give_up(",
        "services.songs.pipeline.Pipeline.deliver: self._fail(",
        "services.songs.pipeline.Pipeline.deliver: self._rows.warn(error)",
        "services.songs.pipeline.Pipeline.deliver: self._rows.read(song_id) (2)",
        "services.songs.pipeline.Pipeline.deliver: self._rows.read(song_id) (3)",
        "services.songs.pipeline.Pipeline._unplayable: self._fail(song, Reason.AUDIO_LOST",
    ],
    "It is refunded: see `test_undelivered.py`.": [
        "services.songs.poster.Poster.hand_over: self._compensate(",
        "services.songs.delivery.Delivery._try: self._poster.refund(",
    ],
    "The song is refused again, or made smaller; the row says the same as before.": [
        "services.songs.poster.Poster.hand_over: self._transcode(",
        "services.songs.poster.Poster.hand_over: send(song, self._file(song)) (2)",
        "services.songs.poster.Poster.keep_one_file: self._transcode(",
        "services.songs.poster.Poster._transcode: self._rows.move(song, songs.set_file",
        "services.songs.delivery.Delivery._try: self._postpone(",
        "services.songs.delivery.Delivery._postpone: ",
    ],
    "The disk is full: what follows is the same write again.": [
        "services.songs.rows.SongRows.warn: self._incidents.begin(",
    ],
    "An incident begins: the song's row is written before or after it, not with it.": [
        "services.songs.pipeline.Pipeline._refused: self._incidents.begin(",
        "services.songs.pipeline.Pipeline._refused: self._incidents.result_lost(",
        "services.songs.pipeline.Pipeline._make_at_once: self._incidents.result_lost(",
        "services.songs.pipeline.Pipeline._unplayable: self._incidents.result_played()",
        "services.songs.pipeline.Pipeline._fetch: self._note_failing(",
        "services.songs.poster.Poster._undelivered: self._incidents.begin(",
    ],
}
"""Points on a song's way that no scenario passes, by how they begin, and why that may be."""


def point(step: str, side: str) -> str:
    """The first point of one of the `STEPS`."""
    return first(STEPS[step], side)


def first(start: str, side: str) -> str:
    """The first point that begins so, on that side of its step."""
    return next(p for p in all_points() if p.startswith(start) and p.endswith(f", {side}"))


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@contextlib.asynccontextmanager
async def series(nursery: Nursery, folder: Path, way: Scenario) -> AsyncIterator[Series]:
    async with world_outside(made(folder)) as world:
        yield Series(nursery, world, way)


async def record(
    nursery: Nursery, folder: Path, way: Scenario, kill: Pass | None = None
) -> list[str]:
    async with series(nursery, folder, way) as songs:
        points = await songs.record(kill)
        await songs.settle()
    return points


async def killed(
    nursery: Nursery,
    folder: Path,
    way: Scenario,
    kills: Iterable[tuple[Sequence[Pass], bool | None]],
) -> list[Death]:
    """Each kill and whether the song is accepted by then, in a world or in a few at once."""
    kills = list(kills)

    async def some(number: int) -> list[Death]:
        async with series(nursery, folder / str(number), way) as songs:
            for these, accepted in kills[number::SERIES_AT_ONCE]:
                await songs.kill(these, accepted=accepted)
            await songs.settle()
            return songs.deaths

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(some(number)) for number in range(SERIES_AT_ONCE)]
    return [death for task in running for death in task.result()]


# --- the points themselves ------------------------------------------------------------------------


async def test_a_song_passes_every_point_on_its_way(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """A function that a song passes is on its way, and with it each step that it has.

    So a new step is a point that some scenario has to pass, or that has its reason here.
    """
    async with nursery() as bots, asyncio.TaskGroup() as group:
        running = {
            name: group.create_task(record(bots, tmp_path / name, way))
            for name, way in WAYS.items()
        }
        resumed = {
            "resumed": ("sync", point("ready", AFTER)),
            "resumed before it is sent late": ("posted late", first(LATE, BEFORE)),
            "resumed after it is sent late": ("posted late", first(LATE, AFTER)),
        }
        for name, (way, kill) in resumed.items():
            again = record(bots, tmp_path / name, WAYS[way], kill=(kill, 1))
            running[name] = group.create_task(again)
    records = {name: task.result() for name, task in running.items()}
    passed = {p for points in records.values() for p in points}
    on_the_way = {function(p) for p in passed}
    known = [p for p in all_points() if function(p) in on_the_way]
    left = [p for p in known if p not in passed]
    beginnings = [start for starts in NOT_PASSED.values() for start in starts]
    assert [p for p in left if not p.startswith(tuple(beginnings))] == []
    # Of all: whether a function is on the way may be a matter of who comes first.
    everywhere = all_points()
    assert [s for s in beginnings if not any(p.startswith(s) for p in everywhere)] == []
    check_steps(records["plain"])
    figure(f"{len(passed)} points passed in {len(records)} ways, {len(left)} left with a reason")


def function(p: str) -> str:
    return p.partition(": ")[0]


def check_steps(passed: Sequence[str]) -> None:
    """A plain song passes each of the `STEPS`, before it and after it."""
    for step in STEPS:
        assert passed.index(point(step, BEFORE)) < passed.index(point(step, AFTER)), step


# --- killed ---------------------------------------------------------------------------------------


async def test_a_press_that_was_not_answered_in_time_is_not_waited_for(tmp_path: Path) -> None:
    """As when the machine stands still: its song never is."""
    async with nursery() as bots, series(bots, tmp_path / "world", WAYS["plain"]) as songs:
        async with songs._bot() as bot:
            os.kill(bot.pid, signal.SIGSTOP)
            pressed = await ask(songs._world)
            songs._world.wire.clock.advance(100.0)
            os.kill(bot.pid, signal.SIGCONT)
            await songs._all_over()
            assert await bot.stop() == 0
        assert songs._world.row(pressed) is None
        await songs.settle()


async def test_killed_at_each_step(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Before and after each; from the polls on a song is killed at several steps in turn."""
    steps = list(STEPS)
    poll, posting = steps.index("poll"), steps.index("posting")
    kills = [([at(step, side)], accepted(step, side)) for step in steps[:poll] for side in SIDES]
    in_turn = (steps[poll:posting], steps[posting:])
    kills += [([at(step, side) for step in part for side in SIDES], True) for part in in_turn]
    async with nursery() as bots:
        deaths = await killed(bots, tmp_path, Scenario(ask), kills)
    check_not_missed(deaths)
    figure(f"{sum(len(death.kills) for death in deaths)} kills of {len(deaths)} songs")


def at(step: str, side: str) -> Pass:
    return point(step, side), 1


def accepted(step: str, side: str) -> bool:
    """Return whether the request was committed by then."""
    if step in ("acknowledged", "requested", "committed"):
        return step != "acknowledged" and side == AFTER
    return True


def check_not_missed(deaths: Sequence[Death], share: float = 0.0) -> None:
    """All but a `share` died where they should: what runs beside the song is not always in order.

    A scenario in which nothing is ever killed would hold every promise.
    """
    missed = [death for death in deaths if death.missed]
    assert len(missed) <= share * len(deaths), "\n".join(map(str, missed))


@pytest.mark.long
@pytest.mark.parametrize("name", WAYS)
async def test_killed_at_every_point(
    name: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Every pass of a plain song in both modes; of the other ways those that neither has."""
    usual = ("plain", "sync")
    async with nursery() as bots:
        points = await record(bots, tmp_path / "record", WAYS[name])
        known: set[Pass] = set()
        for other in usual if name not in usual else ():
            known.update(passes(await record(bots, tmp_path / other, WAYS[other])))
        every = passes(points)
        committed = every.index((f"{COMMITTED}, {AFTER}", 1))
        kills = [
            # What the runner does before the commit, waiting, it may do after it the next time.
            ([kill], n >= committed or (None if kill[0].startswith(THE_RUNNERS) else False))
            for n, kill in enumerate(every)
            if kill not in known and not is_another_turn(kill, known)
        ]
        deaths = await killed(bots, tmp_path, WAYS[name], kills)
    check_not_missed(deaths, share=0.1)
    figure(f"{sum(not death.missed for death in deaths)} kills")


def is_another_turn(kill: Pass, known: Container[Pass]) -> bool:
    """Whether the runner has only read the queue once more: how often it does is luck."""
    return kill[0].startswith(THE_RUNNERS) and (kill[0], 1) in known


@pytest.mark.long
@pytest.mark.parametrize("step", list(STEPS)[list(STEPS).index("submitting") :])
async def test_killed_again_while_it_resumes(
    step: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """At a step, and then at one in `ONE_IN` of the points that it certainly passes after that."""
    kills: list[tuple[Sequence[Pass], bool | None]] = []
    async with nursery() as bots:
        for side in SIDES:
            ways = [
                passes(await record(bots, tmp_path / f"{side} {n}", WAYS["plain"], at(step, side)))
                for n in range(2)
            ]
            # How far the first kill let it come, and how often it is polled, is luck.
            again = [kill for kill in ways[0] if kill in ways[1] and kill[1] <= AT_MOST]
            # Of what is short, all.
            begin = random.Random(step + side).randrange(ONE_IN)
            sample = again if len(again) < ONE_IN else again[begin::ONE_IN]
            kills += [([at(step, side), second], True) for second in sample]
        deaths = await killed(bots, tmp_path, WAYS["plain"], kills)
    check_not_missed(deaths, share=0.1)
    figure(f"{sum(not death.missed for death in deaths)} songs killed twice")
