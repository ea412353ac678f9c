"""`bot.py` with crash points in it, started again and again.

A start of Python with all that the bot imports takes 0.4 s, most of what a kill costs. So one
process imports it, rewritten (`crash_points`), and forks: each fork is a separate bot that calls
`bot.main`, with nothing of Discord or the database open before, and dies of a real `kill -9`.
"""

import asyncio
import atexit
import contextlib
import contextvars
import gc
import importlib
import json
import os
import random
import signal
import sys
import traceback
from asyncio.base_events import BaseEventLoop
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from subprocess import PIPE, Popen
from types import FrameType
from typing import IO, Any

import aiosqlite

from tests.bot_process import KEPT_VARIABLES, ROOT
from tests.outside import World, until
from tests.reliability.crash_points import Plan, Points, install

STARTED, ENDED = "started", "ended"

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

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 15.0) -> int:
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
            told, pid, status = json.loads(line)
            if told == STARTED:
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
        wish = {
            "folder": str(world.folder),
            "environment": world.settings,
            "plan": asdict(plan),
            "constants": constants,
        }
        async with self._turn:
            os.write(_fd(self._process.stdin), json.dumps(wish).encode() + b"\n")
            return self._bots[await asyncio.wait_for(self._starting.get(), 30.0)]

    async def close(self) -> None:
        """Wait until no bot is left, and give the process free."""
        async with asyncio.timeout(30.0):
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
    """Where bots come from while the block runs."""
    process = _free.pop() if _free else await asyncio.to_thread(_start)
    opened = Nursery(process)
    yield opened
    await opened.close()
    _free.append(process)


def _start() -> Popen[bytes]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    process = Popen(
        [sys.executable, "-m", __name__], cwd=ROOT, env=kept, stdin=PIPE, stdout=PIPE, bufsize=0
    )
    atexit.register(_end, process)
    return process


def _end(process: Popen[bytes]) -> None:
    """Its bots are dead or die of it; whatever a test that failed has left in it is gone."""
    with process:
        process.kill()


# --- the process itself ---------------------------------------------------------------------------


def serve() -> None:
    """A line of JSON for each bot that is wished for; a line back when it begins, and at its end.

    No threads and no event loop here: a fork would carry their locks along.
    """
    points = Points()
    install(points)
    points.subject = importlib.import_module("services.logs").context_id
    main = importlib.import_module("bot").main
    _carry_subjects_into_threads()
    gc.freeze()  # a collection in a fork would copy every page
    signal.signal(signal.SIGCHLD, _reap)
    for line in iter(sys.stdin.buffer.readline, b""):
        # Not told of its end before its beginning.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            os._exit(_be_a_bot(json.loads(line), points, main))
        _tell(STARTED, pid, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _tell(what: str, pid: int, status: int) -> None:
    os.write(1, json.dumps([what, pid, status]).encode() + b"\n")


def _reap(_number: int, _frame: FrameType | None) -> None:
    """One signal may stand for several ends."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _tell(ENDED, pid, os.waitstatus_to_exitcode(status))


def _be_a_bot(wish: Mapping[str, Any], points: Points, main: Callable[[Sequence[str]], int]) -> int:
    try:
        os.chdir(wish["folder"])
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(wish["environment"])
        random.seed()  # not the same pauses in each fork
        for name, value in wish["constants"].items():
            module, _, constant = name.rpartition(".")
            setattr(importlib.import_module(module), constant, value)
        plan = wish["plan"]
        points.follow(Plan(**plan | {"kill": plan["kill"] and tuple(plan["kill"])}))
        status = main([])
        sys.stdout.flush()
        return status
    except BaseException:  # noqa: BLE001 - the end of a process
        traceback.print_exc()
        return 70


def _carry_subjects_into_threads() -> None:
    """A step in a thread serves the song of the task that waits for it."""
    parts: list[tuple[Any, str, int]] = [
        (aiosqlite.Connection, "_execute", 0),
        (BaseEventLoop, "run_in_executor", 1),
    ]
    for owner, name, before in parts:
        setattr(owner, name, _with_context(getattr(owner, name), before))


def _with_context(method: Callable[..., Any], before: int) -> Callable[..., Any]:
    """The method, whose argument after so many others is a function that a thread calls."""

    def called(self: object, *args: Any, **named: Any) -> Any:
        inside = contextvars.copy_context().run
        return method(self, *args[:before], inside, *args[before:], **named)

    return called


if __name__ == "__main__":
    serve()
