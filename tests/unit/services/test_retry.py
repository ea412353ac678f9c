"""Retries and their pauses."""

import pytest

from services.retry import Backoff, retry


@pytest.mark.parametrize(
    ("failures", "nominal"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1_000_000, 60)]
)
def test_pauses_double_up_to_the_longest(failures: int, nominal: float) -> None:
    for _ in range(20):
        assert nominal / 2 <= Backoff().pause(failures) <= nominal


class Flaky:
    """Fails as often as it has errors, and notes what `retry` does."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.reported: list[tuple[Exception, float]] = []
        self.slept: list[float] = []

    async def work(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def on_error(self, error: Exception, pause: float) -> None:
        self.reported.append((error, pause))

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_retry_reports_each_error_and_returns_the_result() -> None:
    flaky = Flaky(OSError("a"), TimeoutError("b"))
    assert await retry(flaky.work, OSError, flaky.on_error, sleep=flaky.sleep) == "done"
    assert [str(error) for error, _ in flaky.reported] == ["a", "b"]
    assert [pause for _, pause in flaky.reported] == flaky.slept
    assert 0.5 <= flaky.slept[0] <= 1 <= flaky.slept[1] <= 2


async def test_retry_waits_as_long_as_the_error_requests() -> None:
    flaky = Flaky(OSError())
    await retry(flaky.work, OSError, flaky.on_error, at_least=lambda _: 90.0, sleep=flaky.sleep)
    assert flaky.slept == [90.0]


async def test_retry_passes_on_other_errors() -> None:
    flaky = Flaky(OSError("a"), ValueError("b"))
    with pytest.raises(ValueError, match="b"):
        await retry(flaky.work, OSError, flaky.on_error, sleep=flaky.sleep)


async def test_retry_gives_up_after_the_last_try() -> None:
    flaky = Flaky(OSError("a"), OSError("b"), OSError("c"))
    with pytest.raises(OSError, match="b"):
        await retry(flaky.work, OSError, flaky.on_error, tries=2, sleep=flaky.sleep)
    assert len(flaky.reported) == 2
    assert len(flaky.slept) == 1


async def test_on_error_ends_it_by_raising() -> None:
    async def give_up(error: Exception, pause: float) -> None:
        raise error

    flaky = Flaky(OSError("a"))
    with pytest.raises(OSError, match="a"):
        await retry(flaky.work, OSError, give_up, sleep=flaky.sleep)
    assert flaky.slept == []
