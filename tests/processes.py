"""What processes use, by Linux's /proc, and how late an event loop is."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
TICK = 0.002
"""Seconds between two measurements of the loop's lateness."""
MEMORY_INTERVAL = 0.1
"""Seconds between two measurements of memory."""


class Used(NamedTuple):
    """What a process has used: CPU seconds, its own and its children's, bytes of memory.

    `peak` is the most that was resident at any time; children are in neither. `files` are open file
    descriptors, `sockets` among them.
    """

    cpu: float
    children: float
    resident: int
    peak: int
    files: int
    sockets: int


def used(pid: int) -> Used:
    folder = Path("/proc") / str(pid)
    times = folder.joinpath("stat").read_text().rpartition(")")[2].split()
    user, system, of_children, of_children_system = (int(t) / TICKS for t in times[11:15])
    status = dict(line.split(":", 1) for line in folder.joinpath("status").read_text().splitlines())
    resident, peak = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    files = list(_open_files(folder))
    sockets = sum(name.startswith("socket:") for name in files)
    return Used(
        user + system, of_children + of_children_system, resident, peak, len(files), sockets
    )


def _open_files(folder: Path) -> Iterator[str]:
    for link in folder.joinpath("fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield str(link.readlink())


class Memory(NamedTuple):
    """Bytes of a process and its descendants. What they share counts once in `pss`."""

    pss: int = 0
    rss: int = 0


def memory(pid: int) -> Memory:
    pss = rss = 0
    for process in _family(pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
            pss, rss = pss + sizes["Pss"], rss + sizes["Rss"]
    return Memory(pss, rss)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                yield from _family(int(child))


@contextlib.asynccontextmanager
async def most_memory(pid: int) -> AsyncIterator[list[Memory]]:
    """Yield a list whose last item is the most of each that was measured meanwhile."""
    seen = [Memory()]

    async def measure() -> None:
        while True:
            now = memory(pid)
            seen.append(Memory(max(seen[-1].pss, now.pss), max(seen[-1].rss, now.rss)))
            await asyncio.sleep(MEMORY_INTERVAL)

    task = asyncio.create_task(measure())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait({task})


async def lateness(work: Awaitable[object]) -> list[float]:
    """Do the work; return how late each tick of the loop came meanwhile, in milliseconds."""
    loop, late = asyncio.get_running_loop(), list[float]()
    task = asyncio.ensure_future(work)
    while not task.done():
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late.append((loop.time() - due) * 1000)
    await task
    return late


def percentile(values: Iterable[float], percent: int) -> float:
    """Return the least value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
