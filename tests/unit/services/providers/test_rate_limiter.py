"""The rate limiter: in virtual time, so nothing here waits."""

import asyncio
import functools
import math
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.virtual_time import run_virtually
from services.providers.pacing import Pacer
from services.providers.rate_limiter import (
    APART,
    CALLS_TO_COME,
    CHECK_AGAIN,
    LONGEST_REFUSAL,
    MARGIN,
    PATIENCE,
    SHORTEST_REFUSAL,
    SUBMIT_TURN,
    WINDOW,
    Call,
    Planned,
    RateLimiter,
)


def now() -> float:
    return asyncio.get_running_loop().time()


Params = ParamSpec("Params")


def virtually(test: Callable[Params, Coroutine[Any, Any, None]]) -> Callable[Params, None]:
    """Run a test in virtual time."""

    @functools.wraps(test)
    def run(*args: Params.args, **kwargs: Params.kwargs) -> None:
        run_virtually(functools.partial(test, *args, **kwargs))

    return run


def limiter_of(per_minute: int, *, full: bool = False) -> RateLimiter:
    return RateLimiter(per_minute, clock=asyncio.get_running_loop().time, full=full)


class TestRateLimiter:
    @settings(max_examples=60)
    @given(
        per_minute=st.integers(1, 60),
        requests=st.lists(
            st.tuples(st.floats(0, 90), st.sampled_from(Call), st.floats(0, 40) | st.none()),
            max_size=80,
        ),
        full=st.booleans(),
    )
    def test_no_minute_holds_more_than_the_limit_whoever_gives_up(
        self, per_minute: int, requests: list[tuple[float, Call, float | None]], full: bool
    ) -> None:
        made: list[float] = []

        async def take(
            rate_limiter: RateLimiter, at: float, call: Call, patience: float | None
        ) -> None:
            await asyncio.sleep(at)
            try:
                async with asyncio.timeout(patience):
                    await rate_limiter.take(call)
            except TimeoutError:
                return
            made.append(now())

        async def main() -> float:
            rate_limiter = limiter_of(per_minute, full=full)
            async with asyncio.TaskGroup() as group:
                for each in requests:
                    group.create_task(take(rate_limiter, *each))
            await asyncio.sleep(WINDOW + MARGIN)
            return rate_limiter.fill

        assert run_virtually(main) == 0.0, "a waiter or a place leaked"
        patient = sum(patience is None for _, _, patience in requests)
        assert len(made) >= patient, "a wake-up was lost"
        for first in made:
            assert sum(first <= at < first + WINDOW + MARGIN - 0.01 for at in made) <= per_minute

    @virtually
    async def test_call_after_a_full_minute_waits_for_the_oldest_to_leave_it(self) -> None:
        rate_limiter, times = limiter_of(2), []
        for pause in (0.0, 10.0, 0.0, 0.0):
            await asyncio.sleep(pause)
            await rate_limiter.take()
            times.append(now())
        away = WINDOW + MARGIN
        assert times == pytest.approx([0.0, 10.0, away, 10.0 + away], abs=0.01)

    @virtually
    async def test_results_go_before_polls_before_submits_and_equals_in_order(self) -> None:
        rate_limiter, served = limiter_of(1), []

        async def take(name: str, call: Call) -> None:
            await rate_limiter.take(call)
            served.append(name)

        await rate_limiter.take()
        async with asyncio.TaskGroup() as group:
            for name, call in (
                ("submit 1", Call.SUBMIT),
                ("poll 1", Call.POLL),
                ("submit 2", Call.SUBMIT),
                ("poll 2", Call.POLL),
                ("result", Call.RESULT),
            ):
                group.create_task(take(name, call))
        assert served == ["result", "poll 1", "poll 2", "submit 1", "submit 2"]

    @virtually
    async def test_polls_that_fill_every_minute_leave_a_submit_its_turn(self) -> None:
        rate_limiter, served = limiter_of(50), [0, 0]

        async def go_on(call: Call) -> None:
            while True:
                await rate_limiter.take(call)
                served[call is Call.SUBMIT] += 1

        calls = [Call.POLL] * 60 + [Call.SUBMIT] * 10
        tasks = [asyncio.create_task(go_on(call)) for call in calls]
        await asyncio.sleep(10 * WINDOW)
        for task in tasks:
            task.cancel()
        polls, submits = served
        polls -= 50  # before the first submit was there
        assert submits == pytest.approx((polls + submits) / SUBMIT_TURN, abs=1)

    @pytest.mark.parametrize(
        "after",
        [
            1.0,
            # In the same turn as the limiter's own timer, just after it: served, but not yet awake.
            WINDOW + MARGIN + 1e-10,
        ],
    )
    @virtually
    async def test_cancelled_taker_makes_room_for_the_next(self, after: float) -> None:
        rate_limiter = limiter_of(1)
        await rate_limiter.take()
        first = asyncio.create_task(rate_limiter.take())
        second = asyncio.create_task(rate_limiter.take())
        await asyncio.sleep(0)
        assert rate_limiter.fill == 3.0
        asyncio.get_running_loop().call_later(after, first.cancel)
        await second
        assert first.cancelled()
        assert rate_limiter.fill == 1.0
        assert now() == pytest.approx(WINDOW + MARGIN, abs=0.01)

    @pytest.mark.parametrize(
        ("said", "waited"),
        [
            (7.0, 7.0),
            (0.0, SHORTEST_REFUSAL),
            (-3.0, SHORTEST_REFUSAL),
            (math.nan, SHORTEST_REFUSAL),
            (math.inf, LONGEST_REFUSAL),
        ],
    )
    @virtually
    async def test_refusal_stops_all_calls_within_bounds(self, said: float, waited: float) -> None:
        rate_limiter = limiter_of(50)
        rate_limiter.refused(said)
        rate_limiter.refused(0.5)  # a later, shorter one does not shorten the first
        assert rate_limiter.fill >= 1.0
        await asyncio.gather(rate_limiter.take(), rate_limiter.take(Call.RESULT))
        assert now() == pytest.approx(waited, abs=0.01)

    @virtually
    async def test_refusal_holds_for_those_already_in_line(self) -> None:
        rate_limiter = limiter_of(1)
        await rate_limiter.take()
        asyncio.get_running_loop().call_later(50.0, rate_limiter.refused, 100.0)
        await rate_limiter.take()
        assert now() == pytest.approx(150.0, abs=0.01)

    @virtually
    async def test_after_a_restart_calls_trickle_from_the_start(self) -> None:
        rate_limiter, times = limiter_of(50, full=True), []
        assert rate_limiter.fill == 1.0
        for _ in range(50):
            await rate_limiter.take()
            times.append(now())
        assert times == pytest.approx([1.2 * (k + 0.5) for k in range(50)], abs=0.01)

    @virtually
    async def test_crowd_of_submits_leaves_room_for_its_polls(self) -> None:
        rate_limiter = limiter_of(50)
        rate_limiter.planned = tuple
        crowd = [asyncio.create_task(rate_limiter.take(Call.SUBMIT)) for _ in range(50)]
        await asyncio.sleep(1.0)
        await asyncio.gather(*(rate_limiter.take(Call.POLL) for _ in range(20)))
        assert now() == 1.0
        await asyncio.gather(*crowd)

    def test_limit_of_zero_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            RateLimiter(0)


class TestHeldBack:
    """Submits wait for what the songs at the API still need."""

    @virtually
    async def test_crowd_starts_as_many_as_the_minute_has_calls_for(self) -> None:
        rate_limiter, at_api = limiter_of(50), 0
        # Each will be polled after 17 s, and one more too.
        rate_limiter.planned = lambda: [Planned(17.0, CALLS_TO_COME)] * (at_api + 1)

        async def submit() -> None:
            nonlocal at_api
            await rate_limiter.take(Call.SUBMIT)
            at_api += 1

        crowd = [asyncio.create_task(submit()) for _ in range(50)]
        await asyncio.sleep(16.0)
        for each in crowd:
            each.cancel()
        assert at_api == 14  # 14 submits and 35 calls to come

    @virtually
    async def test_submits_that_no_polls_follow_fill_the_minute_at_once(self) -> None:
        rate_limiter = limiter_of(50)
        pacer = Pacer(rate_limiter, polled=False)
        for song_id in range(50):
            await rate_limiter.take(Call.SUBMIT)
            pacer.running(song_id, seconds=60, steps=50).__enter__()
        assert now() == 0.0

    @pytest.mark.parametrize(("calls", "held_back"), [(2.25, False), (2.26, True)])
    @virtually
    async def test_submit_counts_its_own_call(self, calls: float, held_back: bool) -> None:
        rate_limiter = limiter_of(10)
        rate_limiter.planned = lambda: [Planned(0.0, calls)] * 4
        submit = asyncio.create_task(rate_limiter.take(Call.SUBMIT))
        await asyncio.sleep(2 * CHECK_AGAIN)
        assert submit.cancel() is held_back

    @virtually
    async def test_submit_is_sent_when_other_songs_have_ended(self) -> None:
        rate_limiter, at_api = limiter_of(50), 20
        rate_limiter.planned = lambda: [Planned(0.0, CALLS_TO_COME)] * (at_api + 1)
        submit = asyncio.create_task(rate_limiter.take(Call.SUBMIT))
        await asyncio.sleep(5.0)
        assert not submit.done()
        at_api = 0
        await submit
        assert now() == pytest.approx(5.0, abs=1.1 * CHECK_AGAIN)

    @virtually
    async def test_calls_of_different_minutes_do_not_add_up(self) -> None:
        rate_limiter = limiter_of(50)
        rate_limiter.planned = lambda: [Planned(WINDOW * k, 40.0) for k in range(5)]
        await rate_limiter.take(Call.SUBMIT)
        assert now() == 0.0

    @virtually
    async def test_calls_that_leave_the_minute_by_then_make_room(self) -> None:
        rate_limiter = limiter_of(10)
        for _ in range(8):
            await rate_limiter.take()
        await asyncio.sleep(30.0)
        # The eight are gone after 60.5 s; what is planned may wait until 11 s after its time.
        rate_limiter.planned = lambda: [Planned(now() + 17.0, CALLS_TO_COME)] * 2
        await rate_limiter.take(Call.SUBMIT)
        patience = PATIENCE + APART * WINDOW / 10
        expected = WINDOW + MARGIN - 17.0 - patience
        assert now() == pytest.approx(expected, abs=1.1 * CHECK_AGAIN)

    @pytest.mark.parametrize("per_minute", [1, 2, 3])
    @virtually
    async def test_smallest_accounts_run_one_song_at_a_time(self, per_minute: int) -> None:
        rate_limiter = limiter_of(per_minute)
        for _ in range(per_minute):
            await rate_limiter.take()
        rate_limiter.planned = lambda: [Planned(now() + 17.0, CALLS_TO_COME)]
        await rate_limiter.take(Call.SUBMIT)
        assert now() <= 2 * WINDOW
