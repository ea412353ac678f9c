"""`python bot.py` as a separate process, between the stand-ins of Discord and the song API."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from playground.song_api import SongApiServer
from tests.wire import DiscordWire

ROOT = Path(__file__).resolve().parents[1]
# What Python takes to start. Nothing else of the environment: an operator's settings stay out.
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "SYSTEMROOT", "TEMP", "TMPDIR")


class BotProcess:
    """One run of `bot.py` in `folder`, where its database, its data and its log are."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._folder = folder
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.output = ""
        """What it wrote, on both streams; there once it has ended."""

    @property
    def pid(self) -> int:
        assert self._process is not None, "it has not been started"
        return self._process.pid

    async def start(self, *arguments: str) -> None:
        """Returns at once; `DiscordWire.ready` tells when it is connected."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "bot.py"),
                *arguments,
                cwd=self._folder,
                env=kept | self._settings,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def ended(self, within: float = 10.0) -> int:
        """Its status, negative where a signal ended it. Raises TimeoutError."""
        assert self._process is not None, "it has not been started"
        status = await asyncio.wait_for(self._process.wait(), within)
        self.output = (self._folder / "log").read_text()
        return status

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 10.0) -> int:
        """Send it a signal; its status. Raises TimeoutError where it does not end in time."""
        assert self._process is not None, "it has not been started"
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        return await self.ended(within)

    async def clear(self) -> None:
        """Whatever has become of it, it is gone after this."""
        if self._process is not None and self._process.returncode is None:
            await self.stop(signal.SIGKILL)


def settings_for(wire: DiscordWire, api: SongApiServer, **more: str) -> dict[str, str]:
    """The environment of a bot between these two."""
    return {
        "DISCORD_TOKEN": wire.token,
        "DISCORD_API_URL": wire.api_url,
        "SEGMIND_API_KEY": api.key,
        "SEGMIND_API_URL": api.root,
        "DEFAULT_COOLDOWN": "0",
        "MEMBER_HOURLY_REFUNDS": "1000000",
        "DAILY_SONGS": "0",
        "SERVER_DAILY_SONGS": "0",
        **more,
    }


@contextlib.asynccontextmanager
async def bot_process(folder: Path, settings: dict[str, str]) -> AsyncIterator[BotProcess]:
    """A started bot; it is killed at the end, if it still runs."""
    process = BotProcess(folder, settings)
    await process.start()
    try:
        yield process
    finally:
        await process.clear()
