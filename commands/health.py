"""`bot.py health`: whether the bot is alive, for supervisors and container health checks."""

import sys
from pathlib import Path

from commands.exit_status import FAILED
from services.operations import heartbeat


def health(data_dir: Path) -> int:
    """Check the age of the heartbeat file; the exit status."""
    if heartbeat.alive(data_dir):
        return 0
    print(
        f"No heartbeat in {data_dir} for {heartbeat.MAX_AGE:.0f} s: the bot is not running, or "
        "hangs. Its log says which.",
        file=sys.stderr,
    )
    return FAILED
