"""The process that bots are forked from: `python -m tests.reliability.forked_bot`.

A start of Python with all that the bot imports takes 0.4 s, most of what a kill costs. So one
process imports it, rewritten (`crash_points`), and forks: each fork is a separate bot that calls
`bot.main`, with nothing of Discord or the database open before, and dies of a real `kill -9`.
Nothing of the product may be imported here before it is rewritten.
"""

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
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import aiosqlite

from tests.reliability.crash_points import Plan, Points, install

STARTED, ENDED = "started", "ended"


def serve() -> None:
    """Read a line of JSON for each bot; write a line when it begins, and one at its end.

    No threads and no event loop here: a fork would inherit their locks.
    """
    points = Points()
    install(points)
    points.subject = importlib.import_module("services.logs").context_id
    main = importlib.import_module("bot").main
    _pass_subjects_to_threads()
    gc.freeze()  # a collection in a fork would copy every page
    signal.signal(signal.SIGCHLD, _reap)
    for line in iter(sys.stdin.buffer.readline, b""):
        # Its end is not reported before its beginning.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            os._exit(_be_a_bot(json.loads(line), points, main))
        _report(STARTED, pid, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _report(what: str, pid: int, status: int) -> None:
    os.write(1, json.dumps([what, pid, status]).encode() + b"\n")


def _reap(_number: int, _frame: FrameType | None) -> None:
    """One signal may stand for several ends."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _report(ENDED, pid, os.waitstatus_to_exitcode(status))


def _be_a_bot(
    order: Mapping[str, Any], points: Points, main: Callable[[Sequence[str]], int]
) -> int:
    try:
        os.chdir(order["folder"])
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(order["environment"])
        random.seed()  # not the same pauses in each fork
        for name, value in order["constants"].items():
            module, _, constant = name.rpartition(".")
            setattr(importlib.import_module(module), constant, value)
        plan = order["plan"]
        points.follow(Plan(**plan | {"kill": plan["kill"] and tuple(plan["kill"])}))
        status = main([])
        sys.stdout.flush()
        return status
    except BaseException:  # noqa: BLE001 - the end of a process
        traceback.print_exc()
        return 70


def _pass_subjects_to_threads() -> None:
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
