"""How long the picture of `/quota usage` takes, and how late the event loop is meanwhile."""

import asyncio
import statistics
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from services.reports.usage_picture import UsageArtist, UsagePicture
from tests.processes import lateness, percentile

PICTURES = 30
FRESH = 3

PICTURE = UsagePicture(
    title="Usage of the last 30 days",
    days=[(date(2026, 3, 1) + timedelta(days=n), 40 + n * 37 % 90) for n in range(30)],
    members=[(f"member number {n}", 300 - 25 * n) for n in range(10)],
    genres=[
        (genre, 250 - 20 * n) for n, genre in enumerate(("funk", "pop", "rock", "jazz", "soul"))
    ],
)


def main() -> None:
    """Print what was measured, as Markdown."""
    print("\n".join(asyncio.run(_measured())))


async def _measured() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="songwright-bench-") as folder:
        first: list[float] = []
        fresh: list[float] = []
        warm: list[float] = []
        for _ in range(FRESH + 1):
            artist = UsageArtist(Path(folder))
            (fresh if first else first).append(await _drawn(artist))
            if len(fresh) == FRESH:
                idle = percentile(await lateness(asyncio.sleep(1.0)), 99)
                late = percentile(await lateness(_many(artist, warm)), 99)
            await artist.close()
    return [
        "## The picture of usage",
        "",
        "30 days, ten members, five genres; the drawing is in a child process.",
        "",
        "| | |",
        "|---|---|",
        f"| a warm child, median of {PICTURES} | {_ms(statistics.median(warm))} |",
        f"| a new child, median of {FRESH} | {_ms(statistics.median(fresh))} |",
        f"| the first ever, which searches for fonts | {_ms(first[0])} |",
        f"| the event loop's lateness, p99, drawing and idle | {late:.1f} ms, {idle:.1f} ms |",
    ]


async def _drawn(artist: UsageArtist) -> float:
    began = time.perf_counter()
    await artist.draw(PICTURE)
    return time.perf_counter() - began


async def _many(artist: UsageArtist, took: list[float]) -> None:
    took.extend([await _drawn(artist) for _ in range(PICTURES)])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


if __name__ == "__main__":
    main()
