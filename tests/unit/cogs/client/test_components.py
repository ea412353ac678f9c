"""Buttons and menus that discord.py need not keep."""

import asyncio

from tests.world import World


async def test_nothing_is_kept_of_what_was_shown(world: World) -> None:
    """Else a task would wait for each, for 15 minutes."""
    await world.song()
    before = asyncio.all_tasks()
    await world.alice.slash(world.channel, "queue")
    await world.alice.slash(world.channel, "history")
    await world.mona.slash(world.channel, "quota channels")
    await world.spawner.rest()
    kept = [task for task in asyncio.all_tasks() - before if "timeout" in repr(task.get_coro())]
    assert kept == []
