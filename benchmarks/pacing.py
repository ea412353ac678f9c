"""Calls a song, and how late its end is noticed: this project, the vendor's SDK, a naive bot.

All three meet the same scripted server with the same run times, in virtual time. The limit that
they are compared with is what the best schedule could do if it knew the distribution beforehand.
"""

import asyncio
import contextlib
import itertools
import json
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from statistics import fmean
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import segmind
import segmind.v2

from benchmarks.virtual_time import VirtualThreads, run_virtually
from services.providers import rate_limiter
from services.providers.pacing import EARLY_POLLS, Pacer
from services.providers.rate_limiter import Call, RateLimiter

MEDIAN = 11.6
SIGMAS = {"steady (0.15)": 0.15, "usual (0.25)": 0.25, "wild (0.4)": 0.4}
PER_MINUTE = 50
CONCURRENCY = 8
FASTEST, SLOWEST = 0.02, 0.12  # seconds on the wire, each way
ON_THE_WIRE = (FASTEST + SLOWEST) / 2
WARM_UP = 20  # songs not counted
SONG = (60, 50)  # seconds, steps


# --- the server -----------------------------------------------------------------------------------


@dataclass
class Song:
    """One song's facts, in the server's and its caller's time (one clock)."""

    number: int
    done_at: float = math.inf
    known_at: float = math.inf  # its caller has the answer that says COMPLETED
    ended_at: float = math.inf  # its caller has the result
    calls: int = 0  # all that were made for it, refused ones too
    polls: int = 0  # answered ones
    early: int = 0  # of the polls, those made to see PROCESSING
    refused: int = 0

    @property
    def late(self) -> float:
        """Seconds for which it was finished and nobody knew."""
        return self.known_at - self.done_at


@dataclass(frozen=True)
class Answer:
    """What the server says: 200 with a status, or 429 with seconds to wait."""

    code: int
    status: str = ""
    retry_after: int = 0


@dataclass
class Server:
    """Songs take the given times; more than the limit in the last 60 s is refused."""

    run_times: Iterator[float]
    wire: random.Random
    per_minute: int = PER_MINUTE
    _accepted: deque[float] = field(default_factory=deque)

    def answer(self, now: float, song: Song, call: Call) -> Answer:
        """A call that arrives `now`."""
        song.calls += 1
        while self._accepted and self._accepted[0] <= now - 60.0:
            self._accepted.popleft()
        if len(self._accepted) >= self.per_minute:
            song.refused += 1
            return Answer(429, retry_after=math.ceil(self._accepted[0] + 60.0 - now))
        self._accepted.append(now)
        if call is Call.SUBMIT:
            song.done_at = now + next(self.run_times)
            return Answer(200, "QUEUED")
        song.polls += call is Call.POLL
        return Answer(200, "COMPLETED" if now >= song.done_at else "PROCESSING")

    def on_the_wire(self) -> float:
        """Seconds that a question or an answer takes."""
        return self.wire.uniform(FASTEST, SLOWEST)


def log_normal(sigma: float, seed: int) -> Iterator[float]:
    """Run times in seconds around `MEDIAN`."""
    chance = random.Random(seed)
    while True:
        yield MEDIAN * math.exp(sigma * chance.gauss(0.0, 1.0))


def scripted(sigma: float, seed: int = 1) -> Server:
    """A server whose run times and wire depend on the seed alone."""
    return Server(log_normal(sigma, seed), random.Random(seed + 1000))


# --- the three callers ----------------------------------------------------------------------------


async def called(server: Server, song: Song, call: Call) -> Answer:
    """One call over the wire and back."""
    await asyncio.sleep(server.on_the_wire())
    answer = server.answer(asyncio.get_running_loop().time(), song, call)
    await asyncio.sleep(server.on_the_wire())
    return answer


class Ours:
    """Makes a song as the pipeline does, with the real rate limiter and the real pacer."""

    def __init__(self, server: Server, rate_limiter: RateLimiter, pacer: Pacer) -> None:
        self._server, self._rate_limiter, self._pacer = server, rate_limiter, pacer

    async def make(self, song: Song) -> None:
        """Submit in the place that it has, poll at the paced times, fetch the result."""
        clock = asyncio.get_running_loop().time
        seconds, steps = SONG
        with self._pacer.submitting(song.number, seconds=seconds, steps=steps):
            await self._ask(song, Call.SUBMIT, placed=True)
        with self._pacer.running(song.number, seconds=seconds, steps=steps):
            await self._poll(song, clock())
        await self._ask(song, Call.RESULT)
        song.ended_at = clock()

    async def _poll(self, song: Song, accepted: float) -> None:
        """Until it is done."""
        clock = asyncio.get_running_loop().time
        seconds, steps = SONG
        next_poll = partial(
            self._pacer.next_poll, song_id=song.number, seconds=seconds, steps=steps
        )
        age, processing = 0.0, False
        while True:
            due = next_poll(age=age, processing=processing)
            await asyncio.sleep(accepted + due - clock())
            song.early += not processing and due in EARLY_POLLS
            answer, sent = await self._ask(song, Call.POLL)
            if answer.status == "COMPLETED":
                break
            age, processing = sent - accepted, True
            self._pacer.unfinished(song.number, age=age)
        song.known_at = clock()
        self._pacer.ended(song.number, low=age, high=clock() - accepted)

    async def _ask(self, song: Song, call: Call, *, placed: bool = False) -> tuple[Answer, float]:
        """The answer, and when the call was sent."""
        while True:
            if not placed:
                await self._rate_limiter.take(call)
            placed = False
            sent = asyncio.get_running_loop().time()
            answer = await called(self._server, song, call)
            if answer.code == 200:
                return answer, sent
            self._rate_limiter.refused(answer.retry_after)


class Naive:
    """Polls each second; when one of its calls is refused, all wait as long as the answer says."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._refused_until = 0.0

    async def make(self, song: Song) -> None:
        """Submit, poll each second, fetch the result."""
        clock = asyncio.get_running_loop().time
        await self._ask(song, Call.SUBMIT)
        while True:
            if (await self._ask(song, Call.POLL)).status == "COMPLETED":
                break
            await asyncio.sleep(1.0)
        song.known_at = clock()
        await self._ask(song, Call.RESULT)
        song.ended_at = clock()

    async def _ask(self, song: Song, call: Call) -> Answer:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._refused_until - clock())
            answer = await called(self._server, song, call)
            if answer.code == 200:
                return answer
            self._refused_until = max(self._refused_until, clock() + answer.retry_after)


class Sdk:
    """`segmind` 1.3.0 itself: its client over a faked wire, its clock the threads' one."""

    def __init__(self, server: Server, threads: VirtualThreads) -> None:
        self._server, self._threads = server, threads
        self._songs: dict[str, Song] = {}
        self._client = segmind.SegmindClient(api_key="SG_0123456789abcdef")
        self._client._client.close()  # noqa: SLF001  the SDK takes no transport
        self._client._client = httpx.Client(  # noqa: SLF001
            transport=httpx.MockTransport(self._answer), base_url=self._client.base_url
        )

    def close(self) -> None:
        """Close its client."""
        self._client._client.close()  # noqa: SLF001

    def make(self, song: Song) -> None:
        """`client.run`, which gives the song up when a call is refused."""
        self._songs[str(song.number)] = song
        try:
            self._client.run("ace-step-music", seed=song.number, output_seconds=60)
        except segmind.SegmindError:
            return
        song.ended_at = self._threads.monotonic()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            call, number = Call.SUBMIT, str(json.loads(request.content)["seed"])
        else:
            number = request.url.path.split("/")[3]
            call = Call.POLL if request.url.path.endswith("/status") else Call.RESULT
        song = self._songs[number]
        self._threads.sleep(self._server.on_the_wire())
        answer = self._server.answer(self._threads.monotonic(), song, call)
        self._threads.sleep(self._server.on_the_wire())
        if answer.code == 429:
            headers = {"Retry-After": str(answer.retry_after)}
            return httpx.Response(429, headers=headers, json={"error": "rate limit"})
        if call is Call.POLL and answer.status == "COMPLETED":
            song.known_at = self._threads.monotonic()
        here = f"https://api.segmind.com/v2/requests/{number}"
        body = {"request_id": number, "status": answer.status}
        return httpx.Response(
            200, json=body | {"status_url": f"{here}/status", "response_url": here}
        )


Make = Callable[[Song], Coroutine[Any, Any, None]]

# --- the runs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """When songs are requested: `every` so many seconds (0: all at the start), or about that."""

    every: float
    at_random: bool = False
    songs: int = 400

    def starts(self) -> list[float]:
        """Seconds at which each song is requested."""
        chance = random.Random(5)
        gaps = [
            chance.expovariate(1.0 / self.every) if self.at_random else self.every
            for _ in range(self.songs)
        ]
        return [0.0, *itertools.accumulate(gaps[:-1])]


EMPTY, SOME, CROWD = Load(75.0), Load(7.5, at_random=True), Load(0.0)


async def no_place() -> None:
    """For who keeps no account of the minute."""


class Slots:
    """So many songs at the API at once; the rest wait in order, the first one for its place in the
    minute.
    """

    def __init__(
        self,
        concurrency: int = CONCURRENCY,
        place: Callable[[], Awaitable[None]] = no_place,
    ) -> None:
        self.waiting = self.at_api = 0
        self._concurrency, self._place = concurrency, place
        self._first, self._freed = asyncio.Lock(), asyncio.Event()

    async def run(self, make: Make, song: Song) -> None:
        """Wait for a slot and a place, and make the song."""
        self.waiting += 1
        async with self._first:
            while self.at_api >= self._concurrency:
                self._freed.clear()
                await self._freed.wait()
            await self._place()
            self.waiting -= 1
            self.at_api += 1
        await make(song)
        self.at_api -= 1
        self._freed.set()


async def all_made(slots: Slots, make: Make, load: Load) -> list[Song]:
    """Every song of the load, made."""
    clock = asyncio.get_running_loop().time
    songs, began = [Song(number) for number in range(load.songs)], clock()
    async with asyncio.TaskGroup() as group:
        for song, start in zip(songs, load.starts(), strict=True):
            await asyncio.sleep(began + start - clock())
            group.create_task(slots.run(make, song))
    return songs


def run_ours(
    server: Server, load: Load, *, concurrency: int = CONCURRENCY, waves: int = 1
) -> list[Song]:
    """This project. Each further wave of the load comes when the one before has ended."""

    async def main() -> list[Song]:
        rate_limiter = RateLimiter(server.per_minute, clock=asyncio.get_running_loop().time)
        slots = Slots(concurrency, place=partial(rate_limiter.take, Call.SUBMIT))
        pacer = Pacer(rate_limiter, waiting=lambda: slots.waiting)
        ours = Ours(server, rate_limiter, pacer)
        made = [await all_made(slots, ours.make, load) for _ in range(waves)]
        return list(itertools.chain.from_iterable(made))

    return run_virtually(main)


def run_naive(server: Server, load: Load) -> list[Song]:
    """The naive bot."""
    return run_virtually(lambda: all_made(Slots(), Naive(server).make, load))


def run_sdk(server: Server, load: Load) -> list[Song]:
    """The vendor's SDK, each song in a thread, as its synchronous client needs it."""
    songs = [Song(number) for number in range(load.songs)]
    threads = VirtualThreads()
    sdk = Sdk(server, threads)

    def body(song: Song, start: float) -> None:
        threads.sleep(start)
        sdk.make(song)

    try:
        with patch.object(segmind.v2, "time", threads):
            threads.run(
                [partial(body, song, at) for song, at in zip(songs, load.starts(), strict=True)]
            )
    finally:
        sdk.close()
    return songs


WAVE, WAVES = 24, 3  # songs requested at once, and how many times in a row
ALL_AT_ONCE, AT_ONCE = 110, 50  # songs requested at once, and how many of them may be at the API
SETTLED = 90.0, 270.0  # seconds between which their ends are counted


def waves(seed: int) -> list[list[Song]]:
    """Waves of songs, with a minute that never fills; the songs of each wave."""
    server = Server(log_normal(0.25, seed), random.Random(seed + 1000), per_minute=6000)
    songs = run_ours(server, Load(0.0, songs=WAVE), concurrency=AT_ONCE, waves=WAVES)
    return [songs[wave * WAVE : (wave + 1) * WAVE] for wave in range(WAVES)]


def crowd(seed: int) -> tuple[float, float]:
    """Many songs at once, many of them at the API: songs a minute while `SETTLED`, and the longest
    time that one of all was unseen, in seconds.
    """
    songs = run_ours(scripted(0.25, seed), Load(0.0, songs=ALL_AT_ONCE), concurrency=AT_ONCE)
    first, last = SETTLED
    ended = sum(first <= song.ended_at < last for song in songs)
    return ended / (last - first) * 60.0, max(song.late for song in songs)


# --- the limit ------------------------------------------------------------------------------------


@lru_cache
def limit(sigma: float) -> tuple[list[float], list[float]]:
    """Polls a song (falling) and the least lateness that they can buy, seconds (rising).

    For log-normal run times that are known to be so: for each of many prices of a poll, a dynamic
    programme over a grid of 0.1 s minimises lateness + price * polls.
    """
    ages = np.arange(0.0, 120.0, 0.1)
    with np.errstate(divide="ignore"):
        z = np.log(ages / MEDIAN) / sigma
    done = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in z])
    area = np.concatenate([[0.0], np.cumsum((done[1:] + done[:-1]) / 2 * np.diff(ages))])
    polls, lateness = [], []
    for price in np.geomspace(0.03, 60.0, 40):
        cost, then = np.zeros(len(ages)), np.full(len(ages), len(ages) - 1)
        for i in range(len(ages) - 2, -1, -1):
            late = area[i + 1 :] - area[i] - done[i] * (ages[i + 1 :] - ages[i])
            total = late + cost[i + 1 :]
            best = int(np.argmin(total))
            then[i], cost[i] = i + 1 + best, total[best] + price * (1.0 - done[i])
        i, made = 0, 0.0
        while i < len(ages) - 1:
            made += 1.0 - done[i]
            i = int(then[i])
        polls.append(float(made))
        lateness.append(float(cost[0] - price * made))
    return polls, lateness


def least_lateness(sigma: float, polls: float, median: float = MEDIAN) -> float:
    """Seconds late that the best schedule is with this many polls a song, on average."""
    made, late = limit(sigma)
    return float(np.interp(polls, made[::-1], late[::-1])) * median / MEDIAN


# --- the tables -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """Means over some songs. `polls` leaves out the early ones, which serve another end."""

    calls: float
    polls: float
    late: float
    refused: int
    lost: int

    @classmethod
    def of(cls, songs: list[Song]) -> "Figures":
        """Of these; lateness and polls of those that arrived."""
        arrived = [song for song in songs if song.ended_at < math.inf]
        return cls(
            calls=fmean(song.calls for song in songs),
            polls=fmean(song.polls - song.early for song in arrived) if arrived else math.nan,
            late=fmean(song.late for song in arrived) if arrived else math.nan,
            refused=sum(song.refused for song in songs),
            lost=len(songs) - len(arrived),
        )


def songs_a_minute(songs: list[Song]) -> float:
    """From the end of the 20th song to that of the 20th to last, or in all if so few arrived."""
    ends = sorted(song.ended_at for song in songs if song.ended_at < math.inf)
    if len(ends) <= 2 * WARM_UP:
        return len(ends) / ends[-1] * 60.0 if ends else 0.0
    return (len(ends) - 2 * WARM_UP) / (ends[-WARM_UP - 1] - ends[WARM_UP - 1]) * 60.0


def print_row(load: str, bot: str, songs: list[Song], sigma: float) -> None:
    """One line of the main table."""
    seen = Figures.of(songs[WARM_UP:])
    least = least_lateness(sigma, seen.polls)
    cells = [
        load,
        bot,
        f"{seen.calls:.2f}",
        f"{seen.polls:.2f}",
        f"{seen.late:.2f}",
        f"{least:.2f}",
        f"{seen.late / least:.2f}",
        f"{(seen.late - ON_THE_WIRE) / least:.2f}",
        f"{songs_a_minute(songs):.1f}",
        str(sum(song.refused for song in songs)),
        str(Figures.of(songs).lost),
    ]
    print("|", " | ".join("-" if cell == "nan" else cell for cell in cells), "|")


def print_side_by_side(name: str, sigma: float) -> None:
    """The three callers at each load."""
    print(f"\n### Run times {name}\n")
    heads = ["load", "bot", "calls a song", "polls", "late, s", "limit, s", "ratio", "less wire"]
    heads += ["songs a minute", "refused calls", "songs lost"]
    print("|", " | ".join(heads), "|")
    print("|---|---" + "|---:" * 9 + "|")
    for load_name, load in (("empty minute", EMPTY), ("8 a minute", SOME), ("full minute", CROWD)):
        print_row(load_name, "this project", run_ours(scripted(sigma), load), sigma)
        print_row(load_name, "naive", run_naive(scripted(sigma), load), sigma)
        if load is not CROWD:
            print_row(load_name, "SDK", run_sdk(scripted(sigma), load), sigma)
    for every in (4.0, 18.0):
        songs = run_sdk(scripted(sigma), Load(every))
        print_row(f"one every {every:.0f} s", "SDK", songs, sigma)


CHANGES: dict[str, tuple[float, list[float], int]] = {
    # name: the median afterwards, run times to begin with, songs at `MEDIAN` before
    "nothing learnt": (MEDIAN, [], 0),
    "nothing learnt, first a cold start of 3 min": (MEDIAN, [180.0], 0),
    "nothing learnt, and it takes 30 s": (30.0, [], 0),
    "twice as slow after 60 songs": (2 * MEDIAN, [], 60),
    "twice as fast after 60 songs": (MEDIAN / 2, [], 60),
    "a cold start of 3 min after 60 songs": (MEDIAN, [180.0], 60),
}
SEEDS = 20


def songs_around(median: float, strange: list[float], before: int, count: int) -> list[list[Song]]:
    """The `count` songs after a change, for each seed."""
    runs = []
    for seed in range(SEEDS):
        usual = log_normal(0.25, seed)
        times = itertools.chain(
            itertools.islice(usual, before), strange, (t * median / MEDIAN for t in usual)
        )
        server = Server(times, random.Random(seed + 1000))
        skipped = before + len(strange)
        runs.append(run_ours(server, Load(75.0 + 4 * median, songs=skipped + count))[skipped:])
    return runs


def print_learning() -> None:
    """How soon the lateness is what it will stay at."""
    print(f"\n### Learning (sigma 0.25, empty minute, means over {SEEDS} seeds)\n")
    print("Lateness in seconds / polls of the songs after the change; then lateness : limit.\n")
    print("| change | songs 1-5 | 6-10 | 11-20 | 81-100 | ratio 11-20 | ratio 81-100 |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, (median, strange, before) in CHANGES.items():
        runs = songs_around(median, strange, before, 100)
        cells, ratios = [name], []
        for first, last in ((0, 5), (5, 10), (10, 20), (80, 100)):
            seen = Figures.of([song for songs in runs for song in songs[first:last]])
            cells.append(f"{seen.late:.2f} / {seen.polls:.2f}")
            ratios.append(f"{seen.late / least_lateness(0.25, seen.polls, median):.2f}")
        print("|", " | ".join([*cells, *ratios[2:]]), "|")


def print_waves() -> None:
    """What songs that run side by side teach."""
    print(f"\n### {WAVE} songs at once, {WAVES} times in a row (means over {SEEDS} seeds)\n")
    print(f"6000 calls a minute, {AT_ONCE} songs at once, sigma 0.25, nothing learnt before.\n")
    print("| wave | calls a song | polls | late, s | longest, s |")
    print("|---|---:|---:|---:|---:|")
    runs = [waves(seed) for seed in range(SEEDS)]
    for wave in range(WAVES):
        songs = [song for run in runs for song in run[wave]]
        seen, longest = Figures.of(songs), max(song.late for song in songs)
        print(
            f"| {wave + 1} | {seen.calls:.2f} | {seen.polls:.2f} | {seen.late:.2f}"
            f" | {longest:.2f} |"
        )


def print_crowd() -> None:
    """What holding submits back is for."""
    rates, longest = zip(*(crowd(seed) for seed in range(SEEDS)), strict=True)
    print(
        f"\n### {ALL_AT_ONCE} songs at once, {AT_ONCE} of them at the API, {PER_MINUTE} calls a"
        f" minute ({SEEDS} seeds)\n"
    )
    print(
        f"From {SETTLED[0]:.0f} to {SETTLED[1]:.0f} s: {fmean(rates):.1f} songs a minute, the"
        f" least {min(rates):.1f}. The longest time from a song's end to the reply that says so:"
        f" {max(longest):.1f} s, {fmean(longest):.1f} s in the mean of the seeds."
    )


def print_margin() -> None:
    """What keeping a call's place a little beyond the minute is for."""
    print("\n### Refused calls in a full minute, by how long a call counts\n")
    for margin in (0.0, 0.05, 0.1, rate_limiter.MARGIN):
        with patch.object(rate_limiter, "MARGIN", margin):
            songs = run_ours(scripted(0.25), CROWD)
        refused = sum(song.refused for song in songs)
        print(f"- 60 s + {margin:.2f} s: {refused}, at {songs_a_minute(songs):.1f} songs a minute")


def print_cost() -> None:
    """What a song in flight costs the processor."""
    pacer, now = manual_pacer()
    chance = log_normal(0.25, 1)

    def learn() -> None:
        seconds, steps = SONG
        with pacer.running(0, seconds=seconds, steps=steps):
            pacer.ended(0, low=(end := next(chance)), high=end + 1.0)

    learning = timed(learn, 500)
    poll = timed(lambda: pacer.next_poll(seconds=60, steps=50, age=9.0), 5_000)

    def count() -> None:
        now[0] += 1.0
        pacer.unfinished(1, age=now[0])
        pacer.next_poll(seconds=60, steps=50, age=9.0)

    with contextlib.ExitStack() as running:
        for song_id in range(1, WAVE + 1):
            running.enter_context(pacer.running(song_id, seconds=60, steps=50))
            pacer.unfinished(song_id, age=6.0)
        counting = timed(count, 10)
    print("\n### Cost\n")
    print(
        f"`next_poll` {poll * 1e6:.0f} us, learning a song {learning * 1e6:.0f} us. While songs run"
        " in parallel, all are summed up at most once a second:"
        f" {counting * 1e3:.1f} ms for {WAVE} songs."
    )


def manual_pacer() -> tuple[Pacer, list[float]]:
    """A pacer, and the time of its clock."""
    now = [0.0]
    return Pacer(RateLimiter(PER_MINUTE, clock=lambda: now[0])), now


def timed(act: Callable[[], object], times: int) -> float:
    """Mean seconds of processor time that `act` takes."""
    start = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - start) / times


def main() -> None:
    """Print the section."""
    print("## Pacing\n")
    print(
        f"Against `segmind` {segmind.__version__}, on one scripted server: {PER_MINUTE} calls"
        f" in any 60 s, {CONCURRENCY} songs at once, {FASTEST * 1e3:.0f}-"
        f"{SLOWEST * 1e3:.0f} ms on the wire each way; run times log-normal around {MEDIAN} s;"
        f" means over the songs after the first {WARM_UP}. `calls` are all calls for a song;"
        " `polls` leave out the early one for PROCESSING. `late` is the time from a song's end at"
        " the server to the reply that says so. `limit` is the smallest lateness that is possible"
        " with so many polls if the distribution of run times is known and replies take no time."
        f" Here a reply takes {ON_THE_WIRE:.2f} s: `less wire` is the ratio without that."
    )
    for name, sigma in SIGMAS.items():
        print_side_by_side(name, sigma)
    print_learning()
    print_waves()
    print_crowd()
    print_margin()
    print_cost()


if __name__ == "__main__":
    main()
