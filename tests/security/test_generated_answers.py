"""Whatever the song API can answer, to every call, with generated bodies, headers and framing.

First the client alone: each answer is what was requested, or one error of ours without secrets.
Then songs, from their submit to their end, with the real database: each ends as one post and one
settle, or as none and a refund, or goes on waiting.
"""

import asyncio
import contextlib
import logging
import math
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import strategies as st
from yarl import URL

from db.records import SongRequest
from services.errors import GenerationFailed, NotReached, SongApiError
from services.operations.consistency_check import ConsistencyCheck
from services.providers import addresses, segmind, segmind_answers
from services.providers.base import JobStatus, Output, Workspace
from services.providers.rate_limiter import Call, RateLimiter
from services.providers.segmind import Segmind
from services.providers.segmind_answers import MAX_DETAIL
from tests.factories import add_held_song
from tests.security import answers
from tests.security.answers import AUDIO, ID, SIGNED, kind_of
from tests.security.examples import rows
from tests.world.answered import (
    KEY,
    REFUSED,
    ROOT,
    AnsweredWorld,
    Connector,
    Names,
    Reply,
    answered_world,
)
from tests.world.direct import LoggedErrors, logged_errors
from tests.world.services import SECONDS

SHORT, LONG = 500, 34_000
"""Answers to the client."""
SONGS_SHORT, SONGS_LONG = 60, 2_500
MOST_DOWNLOADED = 2**19
STALLED = 1.0
"""Seconds for an answer. Nobody reads the body of one with a code of 1xx, so that aiohttp stops to
read from its connection, and no timeout of reading ends that: that of the complete call does."""
SOON = 60.0
"""Seconds after which an example has failed."""

SONG = SongRequest(
    genres="funk, pop",
    lyrics="[verse]\nla la",
    seconds=SECONDS,
    steps=50,
    cfg=4.0,
    shift=4.0,
    lyrics_strength=1.0,
    seed=7,
)
CALLS: dict[str, Callable[[Segmind, Workspace], Any]] = {
    "submit": lambda api, _: api.submit(SONG),
    "poll": lambda api, workspace: api.get_status(ID, workspace),
    "result": lambda api, workspace: api.result(ID, workspace),
    "credits": lambda api, _: api.get_balance(),
    "make": lambda api, workspace: api.make(SONG, workspace),
    "file": lambda api, workspace: api.download(Output(url=f"{ROOT}/files/a?{SIGNED}"), workspace),
}


@pytest.fixture(autouse=True)
def nothing_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """No generated address is ever dialled."""
    monkeypatch.setattr(addresses, "is_public", lambda _: False)


def is_unexpected(record: logging.LogRecord, line: str) -> bool:
    """Return whether a log line has a traceback or a secret; an ERROR without is expected."""
    return bool(record.exc_info) or KEY in line or SIGNED in line


# --- the client -----------------------------------------------------------------------------------


@dataclass
class Client:
    """The client of the song API, and what the API will answer."""

    api: Segmind
    folder: Path
    log: LoggedErrors
    coming: deque[Reply] = field(default_factory=deque)

    def answer(self, method: str, url: URL) -> Reply:
        return self.coming.popleft() if self.coming else REFUSED

    async def check(self, kind: str, given: Sequence[Reply]) -> None:
        self.coming = deque(given)
        target = self.folder / "song"
        try:
            # The pipeline bounds the two that take as long as a song does.
            async with asyncio.timeout(STALLED if kind in ("make", "file") else None):
                got = await CALLS[kind](self.api, Workspace(target, MOST_DOWNLOADED))
        except TimeoutError:
            assert list(self.folder.iterdir()) == []
        except SongApiError as error:
            self._check_error(error)
            assert list(self.folder.iterdir()) == []
        else:
            self._check_answer(kind, got, target)
        assert self.log.errors == []

    def _check_error(self, error: SongApiError) -> None:
        """What it says goes into the log, to the operator, and for some to the member."""
        text = str(error)
        assert KEY not in text
        assert SIGNED not in text
        assert text.isprintable()
        assert len(text) < 1_000
        assert error.__cause__ is None or isinstance(error.__cause__, SongApiError | ValueError)
        if isinstance(error, GenerationFailed):
            assert 0 < len(error.detail) <= MAX_DETAIL

    def _check_answer(self, kind: str, got: Any, target: Path) -> None:
        match kind:
            case "submit":
                assert segmind_answers._REQUEST_ID.fullmatch(got)
            case "poll":
                assert isinstance(got, JobStatus)
                if got.output is not None:
                    self._check_output(got.output)
            case "result":
                self._check_output(got)
            case "credits":
                assert isinstance(got, float)
                assert math.isfinite(got)
            case "make" if got is not None:
                self._check_output(got)
            case _:
                assert 0 < target.stat().st_size <= MOST_DOWNLOADED
                assert list(self.folder.iterdir()) == [target]
                target.unlink()

    def _check_output(self, output: Output) -> None:
        """It holds one of two; a song that was decoded already waits in its folder, alone."""
        assert SIGNED not in repr(output)
        assert (output.url is None) is not (output.file is None)
        left = list(self.folder.iterdir())
        assert left == ([] if output.file is None else [output.file])
        for file in left:
            file.unlink()


class NoLimit(RateLimiter):
    """The account's minute: always a place; what it hears of a 429 is judged."""

    async def take(self, call: Call = Call.POLL) -> None:
        return None

    def refused(self, retry_after: float) -> None:
        assert 1 <= retry_after <= 300


@pytest.fixture
def client(tmp_path: Path) -> Iterator[tuple[asyncio.Runner, Client]]:
    def answer(method: str, url: URL) -> Reply:
        return made.answer(method, url)

    async def make() -> Client:
        session = aiohttp.ClientSession(connector=Connector(answer))
        names = Names("127.0.0.1")
        api = Segmind(session, root=ROOT, key=KEY, rate_limiter=NoLimit(50), resolver=names)
        return Client(api, tmp_path, log)

    with asyncio.Runner() as runner, logged_errors(runner.get_loop(), is_unexpected) as log:
        made = runner.run(make())
        yield runner, made
        runner.run(made.api._session.close())


def test_no_answer_breaks_the_client(
    client: tuple[asyncio.Runner, Client],
    figure: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    long: bool,
) -> None:
    monkeypatch.setattr(segmind, "_PATIENCE", STALLED)
    for timeout in ("_SUBMIT", "_BALANCE"):
        monkeypatch.setattr(segmind, timeout, aiohttp.ClientTimeout(total=STALLED))
    runner, made = client
    tried = 0

    async def check_all(row: list[tuple[str, list[Reply]]]) -> None:
        nonlocal tried
        for kind, given in row:
            await made.check(kind, given)
            tried += len(given)

    one = [
        # More than one where the first may lead to the next.
        st.tuples(st.just(kind), st.lists(answers.replies(kind), min_size=1, max_size=most))
        for kind, most in [(kind, 2 if kind == "file" else 1) for kind in CALLS]
    ]
    rows(
        st.one_of(one),
        lambda row: runner.run(check_all(row)),
        count=LONG if long else SHORT,
        in_a_row=10,
    )
    figure(f"{tried:,} generated answers: each understood, or one error that shows no secret")


# --- songs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What a song meets: the answers to its calls of each kind, in order, and what comes then."""

    sync: bool
    well_after: bool
    given: tuple[tuple[str, tuple[Reply, ...]], ...]


@dataclass
class Songs:
    """Songs, one after the other, in a world whose API answers by plan."""

    world: AnsweredWorld
    log: LoggedErrors
    coming: dict[str, deque[Reply]] = field(default_factory=dict)
    well: bool = True
    answered: int = 0
    songs: int = 0
    ended: dict[str, int] = field(default_factory=dict)

    def answer(self, method: str, url: URL) -> Reply:
        kind = kind_of(method, url)
        if left := self.coming.get(kind):
            self.answered += 1
            return left.popleft()
        return answers.WELL[kind] if self.well else Reply(b"", reset=True)

    async def check(self, plan: Plan) -> None:
        self.coming = {kind: deque(given) for kind, given in plan.given}
        self.well, self.world.sync = plan.well_after, plan.sync
        self.world.restart()
        self.songs += 1
        number = self.songs
        await add_held_song(
            self.world.database,
            self.world.credits,
            number,
            member_id=number,
            seconds=SECONDS,
            price=1,
            requested_at=self.world.time(),
        )
        await self._run_song(number, most=2 + sum(len(given) for _, given in plan.given))
        await self._check_end(number)

    async def _run_song(self, number: int, *, most: int) -> None:
        """As the scheduler does: what waits again is started again."""
        for _ in range(most):
            with contextlib.suppress(NotReached):
                await self.world.start(number)
            song = await self.world.song(number)
            if song.ended:
                return
            assert (song.status, song.state, song.submits) == ("QUEUED", "waiting", 0)
            assert await self.world.entries(number) == ["hold"]
        raise AssertionError("it waits for ever")

    async def _check_end(self, number: int) -> None:
        song = await self.world.song(number)
        posts = len(self.world.channel.posts.pop(number, []))
        last = {"COMPLETED": "settle", "FAILED": "refund"}[song.status]
        self.ended[song.status] = self.ended.get(song.status, 0) + 1
        assert await self.world.entries(number) == ["hold", last]
        assert posts == (song.status == "COMPLETED")
        assert song.submits <= 2
        assert self.world.files() == []
        if song.status == "FAILED":
            assert song.reason
            detail = song.reason_detail or ""
            assert not detail or detail.isprintable()
            assert len(detail) <= MAX_DETAIL
            assert KEY not in detail
            assert SIGNED not in detail
        assert self.log.errors == []


def plans() -> st.SearchStrategy[Plan]:
    """Mostly a few odd answers among good ones, so that songs get far."""

    def of(kinds: Sequence[str], sync: bool) -> st.SearchStrategy[Plan]:
        given = [
            st.tuples(
                st.just(kind),
                st.lists(st.just(answers.WELL[kind]) | answers.replies(kind), max_size=3).map(
                    tuple
                ),
            )
            for kind in kinds
        ]
        return st.builds(
            Plan, st.just(sync), st.sampled_from([True, True, True, False]), st.tuples(*given)
        )

    v2 = of(("submit", "poll", "result", "file"), sync=False)
    return st.one_of(v2, v2, of(("make", "file"), sync=True))


def test_no_answer_loses_a_song_or_a_credit(
    tmp_path: Path, figure: Callable[[str], None], *, long: bool
) -> None:
    with asyncio.Runner() as runner, logged_errors(runner.get_loop(), is_unexpected) as log:

        def answer(method: str, url: URL) -> Reply:
            return made.answer(method, url)

        opened = answered_world(tmp_path, answer, resolver=Names("127.0.0.1"))
        made = Songs(runner.run(opened.__aenter__()), log)

        async def check_all(row: list[Plan]) -> None:
            for plan in row:
                log.errors.clear()  # of an example that failed before
                shutil.rmtree(tmp_path / "songs", ignore_errors=True)
                async with asyncio.timeout(SOON):
                    await made.check(plan)

        rows(
            plans(),
            lambda row: runner.run(check_all(row)),
            count=SONGS_LONG if long else SONGS_SHORT,
            in_a_row=5,
        )
        checking = ConsistencyCheck(made.world.database, made.world.credits, data_dir=tmp_path)
        assert runner.run(checking.run(fix=False)) == []
        runner.run(opened.__aexit__(None, None, None))
    figure(
        f"{made.answered:,} answers to {made.songs:,} songs: {made.ended['COMPLETED']:,} posted "
        f"and paid, {made.ended['FAILED']:,} failed and refunded, none lost"
    )


def test_good_answer_is_accepted(client: tuple[asyncio.Runner, Client]) -> None:
    """The tests above rely on it."""
    runner, made = client
    made.coming = deque([answers.WELL["file"]])
    target = made.folder / "song"
    assert runner.run(CALLS["file"](made.api, Workspace(target, MOST_DOWNLOADED))) == len(AUDIO)
    assert target.read_bytes() == AUDIO
