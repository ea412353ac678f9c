"""Discord breaks while songs are under way: at whatever step they are, none is lost."""

from collections.abc import Callable

import pytest

from tests.reliability.faults import DISCORD, FOR_A_MINUTE, GATEWAY
from tests.reliability.ordeal import A_MINUTE, LONG, SHORT, Ordeal


@pytest.mark.parametrize("fault", DISCORD)
async def test_discord_breaks(ordeal: Ordeal, fault: str, figure: Callable[[str], None]) -> None:
    long = A_MINUTE if fault in FOR_A_MINUTE else LONG
    told = await ordeal(DISCORD[fault], lengths=(long, SHORT))
    assert told.posted == told.asked - told.in_vain
    figure(str(told))


@pytest.mark.parametrize("fault", GATEWAY)
async def test_the_gateway_breaks(
    ordeal: Ordeal, fault: str, figure: Callable[[str], None]
) -> None:
    told = await ordeal(GATEWAY[fault])
    gateway = ordeal.world.wire.gateway
    assert told.posted == told.asked - told.in_vain
    figure(f"{told}; {gateway.identifies - 1} new sessions, {gateway.resumes} resumed")
