"""A file whose age tells from outside whether the bot is alive: the image's health check."""

import asyncio
import logging
import time
from pathlib import Path

log = logging.getLogger(__name__)

EVERY = 15.0
"""Seconds between beats."""
TOO_OLD = 60.0
"""Seconds after which nobody is alive."""


def path(data_dir: Path) -> Path:
    """Where the heartbeat is."""
    return data_dir / "heartbeat"


async def beat(data_dir: Path) -> None:
    """Touch the file, until cancelled. A loop that hangs does not beat."""
    while True:
        try:
            await asyncio.to_thread(path(data_dir).touch)
        except OSError as error:  # a full disk, say: the bot is alive all the same
            log.warning("no heartbeat: %s", error)
        await asyncio.sleep(EVERY)


def alive(data_dir: Path) -> bool:
    """Whether the last beat is recent.

    Beats of a time to come are none: the clock was set back, and who is alive beats again soon.
    """
    try:
        return abs(time.time() - path(data_dir).stat().st_mtime) < TOO_OLD
    except FileNotFoundError:
        return False
