"""Transcoding: what a song costs, and what the bot's loop feels of it. Linux."""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.audio import encoder
from services.audio.audio_file import Job, Tags
from services.audio.transcoder import Transcoder
from tests.music import wav
from tests.processes import lateness, percentile

LIMIT = 10 * 2**20
LENGTHS = (60, 240)
AT_ONCE = 4
SECONDS_AT_ONCE = 30
ROUNDS = 2
BUSY_AT_ONCE = 2
BUSY_ROUNDS = 3
LATER_AT_MOST = 15
"""Seconds that a busy machine may cost."""
TAGS = Tags("Midnight Train", "Songwright", "funk, pop", "[verse]\nla la\n" * 50, 69_822_014, 42)

# A small process between: until it execs, a child counts as large as the process it came from.
WITNESS = """
import json, resource, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=-1, stdout=-1)
child.stdin.write(sys.argv[1].encode() + b"\\n")
child.stdin.flush()
child.stdout.read()
child.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def main() -> None:
    """Print three Markdown tables; takes about 45 s on two idle cores."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("| WAV, 44.1 kHz stereo | CPU s | ms of CPU per s | peak MB | MP3 bytes | kb/s |")
        print("|---|---|---|---|---|---|")
        for seconds in LENGTHS:
            print(_cost(_written(folder / f"{seconds}.wav", seconds), seconds))
        print()
        print("| the loop's lateness, p99 | ms | times idle |")
        print("|---|---|---|")
        asyncio.run(_lateness(_written(folder / "loop.wav", SECONDS_AT_ONCE)))
        print()
        print(f"| {BUSY_AT_ONCE} songs of {LENGTHS[0]} s at once, median of {BUSY_ROUNDS} | s |")
        print("|---|---|")
        asyncio.run(_with_others(folder / f"{LENGTHS[0]}.wav"))


async def _with_others(source: Path) -> None:
    """How long songs take on a calm machine and on a busy one, in turns."""
    calm: list[float] = []
    busy: list[float] = []
    for _ in range(BUSY_ROUNDS):
        calm.append(await _timed(source))
        with _one_busy_process_per_core():
            busy.append(await _timed(source))
    calm_median, busy_median = statistics.median(calm), statistics.median(busy)
    print(f"| nothing else | {calm_median:.1f} |")
    print(f"| one busy process on each core | {busy_median:.1f} |")
    print(f"| later by (goal: {LATER_AT_MOST}) | **{busy_median - calm_median:.1f}** |")


async def _timed(source: Path) -> float:
    began = time.monotonic()
    await _in_children(source, at_once=BUSY_AT_ONCE, seconds=LENGTHS[0])
    return time.monotonic() - began


@contextlib.contextmanager
def _one_busy_process_per_core() -> Iterator[None]:
    """At the usual priority, in this session: Linux may weigh sessions against each other first."""
    spinning = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def _written(path: Path, seconds: int) -> Path:
    path.write_bytes(wav(seconds))
    return path


def _cost(source: Path, seconds: int) -> str:
    job = Job(source, source.with_suffix(".part"), LIMIT, seconds, TAGS)
    program = (sys.executable, "-m", encoder.__name__)
    done = subprocess.run(
        [sys.executable, "-c", WITNESS, job.to_line().strip(), *program],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    cpu, peak = json.loads(done.stdout)
    size = job.part.stat().st_size
    return (
        f"| {seconds} s, {source.stat().st_size:,} bytes | {cpu:.2f} | {cpu / seconds * 1000:.1f} "
        f"| {peak / 1024:.0f} | {size:,} | {size * 8 / seconds / 1000:.0f} |"
    )


async def _lateness(source: Path) -> None:
    """In turns, so that what else the machine does falls on all alike."""
    idle: list[float] = []
    children: list[float] = []
    threads: list[float] = []
    for _ in range(ROUNDS):
        idle += await lateness(asyncio.sleep(2))
        children += await lateness(_in_children(source, at_once=AT_ONCE, seconds=SECONDS_AT_ONCE))
        threads += await lateness(_in_threads(source))
    for name, late in (
        ("idle", idle),
        (f"{AT_ONCE} songs being transcoded", children),
        (f"the same in {AT_ONCE} threads, had we chosen them", threads),
    ):
        p99 = percentile(late, 99)
        print(f"| {name} | {p99:.2f} | {p99 / percentile(idle, 99):.2f} |")


async def _in_children(source: Path, *, at_once: int, seconds: int) -> None:
    transcoder = Transcoder(at_once=at_once)
    await asyncio.gather(
        *(
            transcoder.transcode(
                source,
                source.parent,
                stem=str(i),
                limit=LIMIT,
                tags=TAGS,
                requested_seconds=seconds,
            )
            for i in range(at_once)
        )
    )
    await transcoder.close()


async def _in_threads(source: Path) -> None:
    loop = asyncio.get_running_loop()
    jobs = [
        Job(source, source.with_suffix(f".{i}"), LIMIT, SECONDS_AT_ONCE, TAGS)
        for i in range(AT_ONCE)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, encoder.transcode, job) for job in jobs))


if __name__ == "__main__":
    main()
