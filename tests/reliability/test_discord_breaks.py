"""Discord breaks while songs are under way: at whatever step they are, none is lost."""

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
from tests.reliability.faults import CALLBACK, DISCORD, FOR_A_MINUTE, GATEWAY, SELDOM
from tests.wire import Fault
from tests.world.sockets import status_of

DOWN = "down"
"""No call comes so far that it could be met."""
ANSWERED = ("429 for years",)
"""What leaves callbacks alone."""
NEW_SESSION = ("dropped and not resumed", "session invalid")


@pytest.mark.parametrize("fault", DISCORD)
async def test_discord_breaks(
    fault_run: FaultRun, fault: str, figure: Callable[[str], None]
) -> None:
    long = A_MINUTE if fault in FOR_A_MINUTE else LONG
    outcome = await fault_run(DISCORD[fault], lengths=(long, SHORT))
    assert outcome.posted == outcome.asked - outcome.not_accepted
    # What was taken in before is done; and what is asked for after it.
    assert outcome.not_accepted <= (0 if fault in ANSWERED else DURING)
    assert outcome.faults_met or fault in (DOWN, SELDOM)
    figure(str(outcome))


@pytest.mark.parametrize("fault", GATEWAY)
async def test_the_gateway_breaks(
    fault_run: FaultRun, fault: str, figure: Callable[[str], None]
) -> None:
    """A session that is resumed misses nothing; a new one knows nothing of what it missed."""
    outcome = await fault_run(GATEWAY[fault])
    gateway = fault_run.world.wire.gateway
    assert outcome.posted == outcome.asked - outcome.not_accepted
    new = fault in NEW_SESSION
    assert (gateway.identifies - 1, gateway.resumes) == ((1, 0) if new else (0, 1))
    assert outcome.not_accepted <= (DURING if new else 0)
    figure(f"{outcome}; {gateway.identifies - 1} new sessions, {gateway.resumes} resumed")


async def test_an_acknowledgement_is_said_to_have_failed(
    fault_run: FaultRun, figure: Callable[[str], None]
) -> None:
    """It was carried out, and discord.py repeats it: "already acknowledged" is by ourselves."""
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
        asked = [
            await world.song(),
            await world.wire.submit(world.alice, opened, lyrics="[verse]\nMidnight train"),
        ]
        world.asked[int(asked[1].id)] = asked[1]
        ends = [status_of(await world.ended(song, PATIENCE)) for song in asked]
        world.wire.faults.plan(failed, route=CALLBACK)
        looked = await world.wire.slash(world.alice, world.channel, "history")
        await looked.wait_message(lambda m: not m.loading, PATIENCE)
        await bot.stop()
    await check_guarantees(world, bot)
    assert ends == ["COMPLETED", "COMPLETED"]
    refused = world.wire.answers["POST", CALLBACK, 400]
    assert refused == len(asked) + 1
    figure(f"{len(world.posts)} of {len(asked)} posted, {refused} acknowledged twice")
