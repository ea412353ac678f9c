"""Discord breaks while songs are under way: at whatever step they are, none is lost."""

from collections.abc import Callable

import pytest

from tests.outside import World
from tests.reliability.faults import DISCORD, doors
from tests.reliability.ordeal import LONG, SHORT, bot_of, put_through


@pytest.mark.parametrize("fault", DISCORD)
async def test_discord_breaks(
    world: World,
    fault: str,
    long: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    figure: Callable[[str], None],
) -> None:
    length = LONG if long else SHORT
    async with (
        doors(world) as door,
        bot_of(world, long=long, monkeypatch=monkeypatch, caplog=caplog) as bot,
    ):
        figure(str(await put_through(world, bot, door, DISCORD[fault], length)))
