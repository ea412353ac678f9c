"""Discord breaks while songs are in progress: whatever state they are in, none is lost."""

from collections.abc import Callable

import pytest

from tests.reliability.fault_run import (
    A_MINUTE,
    DURING,
    LONG,
    PATIENCE,
    SHORT,
    FaultRun,
    check_guarantees,
    release_songs,
)
from tests.reliability.faults import DISCORD, FOR_A_MINUTE, GATEWAY, RARE
from tests.wire import Fault
from tests.wire.limits import CALLBACK
from tests.world.sockets import status_of

DOWN = "down"
"""No call gets so far that it could meet it."""
ANSWERED = ("429 for years",)
"""What leaves callbacks alone."""
NEW_SESSION = ("dropped and not resumed", "session invalid")


@pytest.mark.parametrize("fault", DISCORD)
async def test_discord_breaks(
    fault_run: FaultRun, fault: str, figure: Callable[[str], None]
) -> None:
    long = A_MINUTE if fault in FOR_A_MINUTE else LONG
    outcome = await fault_run(DISCORD[fault], lengths=(long, SHORT))
    assert outcome.posted == outcome.requested - outcome.not_accepted
    # What was accepted before is done, and what is requested after it.
    assert outcome.not_accepted <= (0 if fault in ANSWERED else DURING)
    assert outcome.faults_met or fault in (DOWN, RARE)
    figure(str(outcome))


@pytest.mark.parametrize("fault", GATEWAY)
async def test_the_gateway_breaks(
    fault_run: FaultRun, fault: str, figure: Callable[[str], None]
) -> None:
    """A session that is resumed misses nothing; a new one knows nothing of what it missed."""
    outcome = await fault_run(GATEWAY[fault])
    gateway = fault_run.world.wire.gateway
    assert outcome.posted == outcome.requested - outcome.not_accepted
    new = fault in NEW_SESSION
    assert (gateway.identifies - 1, gateway.resumes) == ((1, 0) if new else (0, 1))
    assert outcome.not_accepted <= (DURING if new else 0)
    figure(f"{outcome}; {gateway.identifies - 1} new sessions, {gateway.resumes} resumed")


async def test_acknowledgement_that_seems_to_have_failed(
    fault_run: FaultRun, figure: Callable[[str], None]
) -> None:
    """It was carried out, and discord.py repeats it: the bot itself had acknowledged it already."""
    world = fault_run.world
    failed = Fault(status=502, body={"message": "502: Bad Gateway", "code": 0}, carried_out=True)
    fault_run.prepare()
    release_songs(world, SHORT.running)
    async with fault_run.bot() as bot:
        opened = await world.wire.slash(
            world.alice, world.channel, "song", genres="funk", seconds=10
        )
        await opened.acknowledged()
        world.wire.faults.plan(failed, route=CALLBACK, times=2)
        songs = [
            await world.song(),
            await world.wire.submit(world.alice, opened, lyrics="[verse]\nMidnight train"),
        ]
        world.requested[int(songs[1].id)] = songs[1]
        ends = [status_of(await world.ended(song, PATIENCE)) for song in songs]
        world.wire.faults.plan(failed, route=CALLBACK)
        shown = await world.wire.slash(world.alice, world.channel, "history")
        await shown.wait_message(lambda m: not m.loading, PATIENCE)
        await bot.stop()
    await check_guarantees(world, bot)
    assert ends == ["COMPLETED", "COMPLETED"]
    refused = world.wire.answers["POST", CALLBACK, 400]
    assert refused == len(songs) + 1
    figure(f"{len(world.posts)} of {len(songs)} posted, {refused} acknowledged twice")
