"""The song API breaks while songs are under way: each arrives, or its price goes back."""

from collections.abc import Callable

import pytest

from tests.reliability.faults import API, FOR_A_MINUTE, LOSES_SUBMITS, key_refused
from tests.reliability.ordeal import A_MINUTE, LONG, SHORT, Ordeal


@pytest.mark.parametrize("fault", API)
async def test_song_api_breaks(ordeal: Ordeal, fault: str, figure: Callable[[str], None]) -> None:
    long = A_MINUTE if fault in FOR_A_MINUTE else LONG
    told = await ordeal(API[fault], lengths=(long, SHORT), most_submits=2)
    assert told.in_vain == 0
    assert told.posted == told.asked or fault in LOSES_SUBMITS
    figure(str(told))


async def test_the_key_is_refused(ordeal: Ordeal, figure: Callable[[str], None]) -> None:
    """Of those that were made the API keeps the results, and of the others it has nothing."""
    told = await ordeal(key_refused, most_submits=3)
    assert told.failed == 1
    assert told.posted == told.asked - told.failed - told.in_vain
    figure(str(told))
