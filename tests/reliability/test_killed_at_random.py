"""Fifty songs at once, and `kill -9` at any time, again and again."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.reliability.guarantees import broken_guarantees
from tests.reliability.killable_bot import Nursery, nursery
from tests.reliability.killing import forget_nonces
from tests.reliability.scenarios import QUICK, WAYS, ask, ask_for_what_fails
from tests.world.sockets import World, status_of, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="bots are forked")

AT_ONCE = 50
ROUNDS = 20
LONGEST = 0.5
"""Seconds that a bot lives at most once fifty songs are in progress."""
SOONER = 0.25
"""The share of rounds in which it is killed before that."""
UNTIL_OVER = 120.0
EVERY_STATE = "SELECT song_id, state, ended_at FROM songs"
SEEDS = range(1, 11)


@dataclass
class History:
    """What happened, to be repeated with the same seed: as far as two processes can be."""

    seed: int
    rounds: list[str] = field(default_factory=list)
    submitting: Counter[int] = field(default_factory=Counter)
    """How often a song's row was at `submitting` when the bot died: its answer may be lost."""

    def died(self, world: World, lived: str) -> None:
        forget_nonces(world)
        rows = world.rows(EVERY_STATE)
        steps = Counter(row["state"] for row in rows)
        self.submitting.update(row["song_id"] for row in rows if row["state"] == "submitting")
        self.rounds.append(f"{lived}, {len(world.posts)} posts, {dict(steps)}")

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *self.rounds])


@pytest.mark.parametrize("seed", SEEDS[:1])
async def test_fifty_songs_and_twenty_kills(
    seed: int, world: World, figure: Callable[[str], None]
) -> None:
    await rounds_of_kills(seed, world, figure)


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS[1:])
async def test_fifty_songs_and_more_kills(
    seed: int, world: World, figure: Callable[[str], None]
) -> None:
    await rounds_of_kills(seed, world, figure)


async def rounds_of_kills(seed: int, world: World, figure: Callable[[str], None]) -> None:
    """A round: a bot is started, songs are requested until fifty are in progress, and it is killed.

    Every other song fails at the API. In the end a last bot brings all to their end.
    """
    chance, history = random.Random(seed), History(seed)
    WAYS["plain"].prepare(world)
    world.settings["SEGMIND_CONCURRENCY"] = str(AT_ONCE)
    async with nursery() as bots:
        for _ in range(ROUNDS):
            history.died(world, await one_round(world, bots, chance))
            assert too_much(world) == [], history
        async with bots.bot(world, constants=QUICK) as bot:
            await until(lambda: all_over(world), UNTIL_OVER)
            assert await bot.stop() == 0
    wrong = [*wrong_ends(world, history), *await broken_guarantees(world, most_submits=2)]
    assert wrong == [], history
    figure(f"{len(history.rounds)} kills, {len(world.rows('SELECT 1 FROM songs'))} songs")


async def one_round(world: World, bots: Nursery, chance: random.Random) -> str:
    """How long the bot lived."""
    sooner, lives = chance.random() < SOONER, chance.uniform(0.0, LONGEST)
    full = asyncio.Event()
    async with bots.bot(world, constants=QUICK) as bot, asyncio.TaskGroup() as group:
        asking = group.create_task(keep_requesting(world, chance, full))
        if not sooner:
            await asyncio.wait_for(full.wait(), UNTIL_OVER)
        either: set[asyncio.Future[Any]] = {asking, bot.status}
        await asyncio.wait(either, timeout=lives)
        assert not bot.ended, "it died by itself"
        await bot.stop(signal.SIGKILL)
        asking.cancel()
    since = "its start" if sooner else "fifty were in progress"
    return f"lived {lives:.3f} s since {since}"


async def keep_requesting(world: World, chance: random.Random, full: asyncio.Event) -> None:
    """Whenever there are fewer than fifty; `full` once all fifty are accepted."""
    before = len(world.requested)
    while True:
        just_requested = list(world.requested.values())[before:]
        ends = {row["song_id"]: row["ended_at"] for row in world.rows(EVERY_STATE)}
        unanswered = [song for song in just_requested if song.id not in ends]
        missing = AT_ONCE - len(unanswered) - sum(end is None for end in ends.values())
        if just_requested and not unanswered:
            full.set()
        for _ in range(missing):
            await (ask if chance.random() < 0.5 else ask_for_what_fails)(world)
        await asyncio.sleep(0.05)


def too_much(world: World) -> list[str]:
    """What may never be, not even in between: two posts of a song, or two ends."""
    posts = Counter(post.nonce for post in world.posts)
    ends = world.rows(
        """
        SELECT song_id FROM ledger WHERE kind IN ('settle', 'refund')
        GROUP BY song_id HAVING count(*) > 1
        UNION SELECT songs.song_id FROM songs JOIN ledger USING (song_id)
        WHERE ledger.kind IN ('settle', 'refund') AND songs.ended_at IS NULL
        """
    )
    doubled = [f"{nonce} was posted {n} times" for nonce, n in posts.items() if n > 1]
    return [*doubled, *(f"{row['song_id']} was ended twice, or too soon" for row in ends)]


def all_over(world: World) -> bool:
    rows = world.rows("SELECT 1 FROM songs WHERE ended_at IS NULL OR token IS NOT NULL")
    return not rows and not world.song_folders()


def wrong_ends(world: World, history: History) -> list[str]:
    """A kill is no reason to fail, unless it takes the API's answer twice; nor to submit twice."""
    found = []
    for song in world.requested.values():
        row, lost = world.row(song), history.submitting[song.id]
        if row is not None and status_of(row) == "FAILED" and row["genres"] != "fail" and lost < 2:
            found.append(f"{song} has failed: {row['reason']}")
        if world.submits(song) > 1 + min(lost, 1):
            found.append(f"{song} was submitted {world.submits(song)} times, {lost} in doubt")
    return found
