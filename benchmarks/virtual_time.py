"""Time that jumps to the next thing that happens, so that hours of waiting take seconds."""

import asyncio
import heapq
import itertools
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: where the loop would sleep, the clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing will ever happen: every task waits for another")
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps to the next timer when nothing is ready.

    For code that sleeps and computes; what is on its way over a socket does not hold the clock.
    """

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._clock.now


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` to its end in a separate virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as scheduler:
        return scheduler.run(main())


class VirtualThreads:
    """The same for code that blocks: a clock, and threads of which one runs at a time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        self._asleep: list[tuple[float, int, threading.Event]] = []

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let the others run until this thread is the next to wake."""
        waked = threading.Event()
        heapq.heappush(self._asleep, (self._now + max(seconds, 0.0), next(self._order), waked))
        self._wake_next()
        waked.wait()

    def run(self, bodies: Iterable[Callable[[], None]]) -> None:
        """Start each in a separate thread, at time 0, and wait for the last to end."""
        errors: list[BaseException] = []
        threads = [threading.Thread(target=self._live, args=(body, errors)) for body in bodies]
        for thread in threads:
            thread.start()
        while len(self._asleep) < len(threads):  # all have come to their first sleep
            threading.Event().wait(0.001)
        self._wake_next()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _live(self, body: Callable[[], None], errors: list[BaseException]) -> None:
        waked = threading.Event()
        heapq.heappush(self._asleep, (0.0, next(self._order), waked))
        waked.wait()
        try:
            body()
        except BaseException as error:  # noqa: BLE001  raised again in the thread that waits
            errors.append(error)
        finally:
            self._wake_next()

    def _wake_next(self) -> None:
        if self._asleep:
            self._now, _, waked = heapq.heappop(self._asleep)
            waked.set()
