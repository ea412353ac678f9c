"""A file whose age shows the image's health check whether the bot is alive."""

import asyncio
import logging
import time
from pathlib import Path

log = logging.getLogger(__name__)

INTERVAL = 15.0
MAX_AGE = 60.0
"""Seconds after which the bot counts as dead."""


def path(data_dir: Path) -> Path:
    """Return the file's path."""
    return data_dir / "heartbeat"


async def beat(data_dir: Path) -> None:
    """Touch the file regularly until cancelled; a blocked event loop does not."""
    while True:
        try:
            await asyncio.to_thread(path(data_dir).touch)
        except OSError as error:  # a full disk, say: the bot is alive anyway
            log.warning("no heartbeat: %s", error)
        await asyncio.sleep(INTERVAL)


def alive(data_dir: Path) -> bool:
    """Return whether the last heartbeat is recent.

    One in the future does not count: the clock was set back, and a live bot touches the file soon.
    """
    try:
        return abs(time.time() - path(data_dir).stat().st_mtime) < MAX_AGE
    except FileNotFoundError:
        return False
