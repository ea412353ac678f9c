"""The song API breaks while songs are under way: each arrives, or its price goes back."""

from collections.abc import Callable

import pytest

from tests.outside import status_of
from tests.reliability.faults import (
    API,
    DEFERS_SUBMITS,
    FOR_A_MINUTE,
    LOSES_SUBMITS,
    SELDOM,
    key_refused,
    one_song_refused,
)
from tests.reliability.ordeal import A_MINUTE, DURING, LONG, SHORT, Ordeal, turned_away

DOWN, GARBAGE = "down", "garbage"
LOST_TWICE = "The song service's answer was lost twice."
UNREADABLE = (
    "The song service's result could not be fetched.",
    "The song API sent something that can't be played.",
)
"""Why a song fails whose result, or whose file, makes no sense."""


@pytest.mark.parametrize("fault", API)
async def test_song_api_breaks(ordeal: Ordeal, fault: str, figure: Callable[[str], None]) -> None:
    long = A_MINUTE if fault in FOR_A_MINUTE else LONG
    again = fault in LOSES_SUBMITS | DEFERS_SUBMITS
    told = await ordeal(API[fault], lengths=(long, SHORT), most_submits=2 if again else 1)
    assert told.in_vain == 0
    assert told.posted + told.failed == told.asked
    assert told.struck or fault in (DOWN, SELDOM)
    world = ordeal.world
    for song in world.asked.values():
        row = world.row(song)
        if row is not None and status_of(row) == "FAILED":
            lost_twice = row["reason"] == LOST_TWICE and world.submits(song) == 2
            assert lost_twice if fault != GARBAGE else lost_twice or row["reason"] in UNREADABLE
            assert fault in LOSES_SUBMITS
    figure(str(told))


async def test_the_key_is_refused(ordeal: Ordeal, figure: Callable[[str], None]) -> None:
    """Of those that were made the API keeps the results, and of the others it has nothing."""
    told = await ordeal(key_refused, most_submits=3)
    assert told.failed == 1
    assert told.posted == told.asked - told.failed - told.in_vain
    assert told.in_vain <= DURING
    said = turned_away(ordeal.world)
    assert len(said) == told.in_vain
    assert all(text.startswith("Songs are paused") for text in said)
    figure(str(told))


async def test_one_song_is_refused(ordeal: Ordeal, figure: Callable[[str], None]) -> None:
    """By a firewall, for its words: the key works, so nobody else notices."""
    told = await ordeal(one_song_refused)
    assert (told.failed, told.in_vain) == (1, 0)
    assert told.posted == told.asked - 1
    assert turned_away(ordeal.world) == []
    assert ordeal.world.rows("SELECT kind FROM incidents") == []
    figure(str(told))
