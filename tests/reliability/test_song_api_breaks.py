"""The song API breaks while songs are under way: each arrives, or its price goes back."""

from collections.abc import Callable

import pytest

from tests.reliability.faults import API
from tests.reliability.ordeal import Ordeal


@pytest.mark.parametrize("fault", API)
async def test_song_api_breaks(ordeal: Ordeal, fault: str, figure: Callable[[str], None]) -> None:
    figure(str(await ordeal(API[fault], most_submits=2)))
