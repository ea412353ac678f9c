"""The song API breaks while songs are under way: each arrives, or its price goes back."""

from collections.abc import Callable

import pytest

from tests.outside import World
from tests.reliability.faults import API, doors
from tests.reliability.ordeal import LONG, SHORT, bot_of, put_through


@pytest.mark.parametrize("fault", API)
async def test_song_api_breaks(
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
        told = await put_through(world, bot, door, API[fault], length, most_submits=2)
        figure(str(told))
