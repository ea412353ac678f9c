"""`bot.py` with crash points in it, started again and again: forks of `forked_bot`."""

import asyncio
import atexit
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from subprocess import PIPE, Popen
from typing import IO, Any

from tests.reliability import forked_bot
from tests.reliability.crash_points import Plan
from tests.reliability.forked_bot import STARTED
from tests.world.sockets import KEPT_VARIABLES, ROOT, SOON, World, until

NOTHING = Plan()
Constants = Mapping[str, object]
"""Values for constants of the product, by module and name: for what a test can't wait for."""


@dataclass
class KillableBot:
    """One run of it."""

    pid: int
    status: asyncio.Future[int] = field(repr=False)
    """The exit status once it has ended, negative where a signal did it."""

    @property
    def ended(self) -> bool:
        return self.status.done()

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = SOON) -> int:
        """Send it a signal; its status. Raises TimeoutError where it does not end in time."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        return await asyncio.wait_for(asyncio.shield(self.status), within)


class Nursery:
    """The process that bots are forked from, while one event loop has it."""

    def __init__(self, process: Popen[bytes]) -> None:
        self._process = process
        self._starting: asyncio.Queue[int] = asyncio.Queue()
        self._bots: dict[int, KillableBot] = {}
        self._turn = asyncio.Lock()
        self._unread = b""
        asyncio.get_running_loop().add_reader(_fd(process.stdout), self._read)

    def _read(self) -> None:
        read = os.read(_fd(self._process.stdout), 65536)
        if not read:
            asyncio.get_running_loop().remove_reader(_fd(self._process.stdout))
            raise EOFError("the process that bots are forked from is dead")
        *lines, self._unread = (self._unread + read).split(b"\n")
        for line in lines:
            event, pid, status = json.loads(line)
            if event == STARTED:
                self._bots[pid] = KillableBot(pid, asyncio.get_running_loop().create_future())
                self._starting.put_nowait(pid)
            else:
                self._bots[pid].status.set_result(status)

    @contextlib.asynccontextmanager
    async def bot(
        self, world: World, plan: Plan = NOTHING, *, constants: Constants | None = None
    ) -> AsyncIterator[KillableBot]:
        """A bot in the world, connected to it, or killed before that by its plan.

        It is killed at the end, if it still runs.
        """
        # The wire notices only now and then that one before it is gone.
        await until(lambda: not world.wire.gateway.connected)
        bot = await self._fork(world, plan, constants or {})
        try:
            await _connected(world, bot)
            yield bot
        finally:
            await bot.stop(signal.SIGKILL)

    async def _fork(self, world: World, plan: Plan, constants: Constants) -> KillableBot:
        order = {
            "folder": str(world.folder),
            "environment": world.settings,
            "plan": asdict(plan),
            "constants": constants,
        }
        async with self._turn:
            os.write(_fd(self._process.stdin), json.dumps(order).encode() + b"\n")
            return self._bots[await asyncio.wait_for(self._starting.get(), SOON)]

    async def close(self) -> None:
        """Wait until no bot is left, and release the process."""
        async with asyncio.timeout(SOON):
            await asyncio.gather(*(bot.status for bot in self._bots.values()))
        asyncio.get_running_loop().remove_reader(_fd(self._process.stdout))


def _fd(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    return pipe.fileno()


async def _connected(world: World, bot: KillableBot) -> None:
    """Until it is, or is dead: a song that is resumed does not wait for Discord."""
    connecting = asyncio.ensure_future(world.wire.ready())
    either: set[asyncio.Future[Any]] = {connecting, bot.status}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not bot.ended:
        await connecting
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)


_free: list[Popen[bytes]] = []
"""Processes that no test uses now: to start one takes 2.4 s, and it is as it was after a test."""


@contextlib.asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """Yield the process that forks bots."""
    process = _free.pop() if _free else await asyncio.to_thread(_start)
    opened = Nursery(process)
    yield opened
    await opened.close()
    _free.append(process)


def _start() -> Popen[bytes]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    process = Popen(
        [sys.executable, "-m", forked_bot.__name__],
        cwd=ROOT,
        env=kept,
        stdin=PIPE,
        stdout=PIPE,
        bufsize=0,
    )
    atexit.register(_end, process)
    return process


def _end(process: Popen[bytes]) -> None:
    """Its bots are dead or die of it; whatever a test that failed has left in it is gone."""
    with process:
        process.kill()
