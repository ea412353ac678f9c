"""`bot.py play`: the bot in a simulated server in the browser, without a token or a key."""

from collections.abc import Callable
from typing import Any

from commands.exit_status import reject


def play(compose: Callable[..., Any], *, once: bool) -> int:
    """Open the playground, with `once` for one song only, and return the exit status."""
    # Imported here: a server does not install what the playground needs.
    try:
        from playground.discord import play as open_playground  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return reject(
            f"The playground needs {error.name}, which is not installed: `make play` installs what "
            "it needs, where this platform has it."
        )
    return open_playground(compose, once=once)
