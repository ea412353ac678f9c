"""Discord breaks while songs are under way: at whatever step they are, none is lost."""

from collections.abc import Callable

import pytest

from tests.outside import status_of
from tests.reliability.faults import CALLBACK, DISCORD, FOR_A_MINUTE, GATEWAY, SELDOM
from tests.reliability.ordeal import A_MINUTE, DURING, LONG, PATIENCE, SHORT, Ordeal, judge, let_go
from tests.wire import Fault

DOWN = "down"
"""No call comes so far that it could be met."""
ANSWERED = ("429 for years",)
"""What leaves callbacks alone."""
NEW_SESSION = ("dropped and not resumed", "session invalid")


@pytest.mark.parametrize("fault", DISCORD)
async def test_discord_breaks(ordeal: Ordeal, fault: str, figure: Callable[[str], None]) -> None:
    long = A_MINUTE if fault in FOR_A_MINUTE else LONG
    told = await ordeal(DISCORD[fault], lengths=(long, SHORT))
    assert told.posted == told.asked - told.in_vain
    # What was taken in before is done; and what is asked for after it.
    assert told.in_vain <= (0 if fault in ANSWERED else DURING)
    assert told.struck or fault in (DOWN, SELDOM)
    figure(str(told))


@pytest.mark.parametrize("fault", GATEWAY)
async def test_the_gateway_breaks(
    ordeal: Ordeal, fault: str, figure: Callable[[str], None]
) -> None:
    """A session that is resumed misses nothing; a new one knows nothing of what it missed."""
    told = await ordeal(GATEWAY[fault])
    gateway = ordeal.world.wire.gateway
    assert told.posted == told.asked - told.in_vain
    new = fault in NEW_SESSION
    assert (gateway.identifies - 1, gateway.resumes) == ((1, 0) if new else (0, 1))
    assert told.in_vain <= (DURING if new else 0)
    figure(f"{told}; {gateway.identifies - 1} new sessions, {gateway.resumes} resumed")


async def test_an_acknowledgement_is_said_to_have_failed(
    ordeal: Ordeal, figure: Callable[[str], None]
) -> None:
    """It was carried out, and discord.py repeats it: "already acknowledged" is by ourselves."""
    world = ordeal.world
    failed = Fault(status=502, body={"message": "502: Bad Gateway", "code": 0}, carried_out=True)
    ordeal.prepare()
    let_go(world, SHORT.running)
    async with ordeal.bot() as bot:
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
    await judge(world, bot)
    assert ends == ["COMPLETED", "COMPLETED"]
    refused = world.wire.answers["POST", CALLBACK, 400]
    assert refused == len(asked) + 1
    figure(f"{len(world.posts)} of {len(asked)} posted, {refused} acknowledged twice")
