"""Fitting the audio: what a song costs, and what the bot's loop feels of it. Linux."""

import array
import asyncio
import contextlib
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.audio import encoder
from services.audio.audio_file import Tags
from services.audio.transcoder import Transcoder

LIMIT = 10 * 2**20
HERTZ = 44_100
LENGTHS = (60, 240)
AT_ONCE = 4
SECONDS_AT_ONCE = 30
TICK = 0.002
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
answer = json.loads(child.stdout.read())
child.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([answer["size"], used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def main() -> None:
    """Print three Markdown tables; takes about 45 s on two idle cores."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("| WAV, 44.1 kHz stereo | CPU s | ms of CPU per s | peak MB | MP3 bytes | kb/s |")
        print("|---|---|---|---|---|---|")
        for seconds in LENGTHS:
            print(_cost(_write_wav(folder / f"{seconds}.wav", seconds), seconds))
        print()
        print("| the loop's lateness, p99 | ms | times idle |")
        print("|---|---|---|")
        asyncio.run(_lateness(_write_wav(folder / "loop.wav", SECONDS_AT_ONCE)))
        print()
        print(f"| {BUSY_AT_ONCE} songs of {LENGTHS[0]} s at once, median of {BUSY_ROUNDS} | s |")
        print("|---|---|")
        asyncio.run(_beside_others(folder / f"{LENGTHS[0]}.wav"))


async def _beside_others(source: Path) -> None:
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


def _write_wav(path: Path, seconds: int) -> Path:
    """Tones with some noise: silence would flatter the encoder."""
    noise = random.Random(1)  # the same music in each run
    block = array.array("h")
    for i in range(HERTZ):
        tones = math.sin(i * 0.0627) + 0.7 * math.sin(i * 0.176) + 0.2 * noise.uniform(-1, 1)
        block.extend([int(8_000 * tones), int(7_000 * tones)])
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, HERTZ, 0, "NONE", ""))
        for _ in range(seconds):
            file.writeframes(block.tobytes())
    return path


def _cost(source: Path, seconds: int) -> str:
    job = {
        "source": str(source),
        "part": str(source.with_suffix(".part")),
        "limit": LIMIT,
        "requested_seconds": seconds,
        "tags": {field: getattr(TAGS, field) for field in TAGS.__dataclass_fields__},
        "sandboxed": True,
    }
    program = (sys.executable, "-m", encoder.__name__)
    done = subprocess.run(
        [sys.executable, "-c", WITNESS, json.dumps(job), *program],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    size, cpu, peak = json.loads(done.stdout)
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
        await _watched(idle, lambda: asyncio.sleep(2))
        await _watched(
            children, lambda: _in_children(source, at_once=AT_ONCE, seconds=SECONDS_AT_ONCE)
        )
        await _watched(threads, lambda: _in_threads(source))
    base = _p99(idle)
    for name, late in (
        ("idle", idle),
        (f"{AT_ONCE} songs being transcoded", children),
        (f"the same in {AT_ONCE} threads, had we chosen them", threads),
    ):
        print(f"| {name} | {_p99(late):.2f} | {_p99(late) / base:.2f} |")


async def _watched(late: list[float], work: Callable[[], Awaitable[object]]) -> None:
    """Do the work while noting how late each tick of the loop comes, in milliseconds."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work())
    while not task.done():
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late.append((loop.time() - due) * 1000)
    await task


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
        encoder.Job(source, source.with_suffix(f".{i}"), LIMIT, SECONDS_AT_ONCE, TAGS)
        for i in range(AT_ONCE)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, encoder.transcode, job) for job in jobs))


def _p99(late: list[float]) -> float:
    return sorted(late)[int(len(late) * 0.99)]


if __name__ == "__main__":
    main()
