"""Worlds: the bot with everything around it. The database is always a real file.

- `simulated`: simcord as Discord, in memory; the bot in the test's loop. For tests of cogs.
- `sockets`: `tests.wire` as Discord, over sockets; the bot in the test's loop or as a process. For
  reliability, security and benchmarks.
- `direct`: `tests.wire` without sockets; the bot in the test's loop. For generated inputs.
- `services`: no Discord; the services, and the song API over sockets. Time passes when somebody
  sleeps. For the pipeline, the scheduler and the delivery.
- `answered`: as `services`, but a test answers for the song API, without sockets.
"""

from tests.world.simulated import (
    SOON,
    World,
    buttons_of,
    custom_id,
    running,
    said,
    text_of,
    tiny_wav,
)

__all__ = [
    "SOON",
    "World",
    "buttons_of",
    "custom_id",
    "running",
    "said",
    "text_of",
    "tiny_wav",
]
