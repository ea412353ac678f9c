"""The song API breaks while songs are under way: each arrives, or its price goes back."""

from collections.abc import Callable

import pytest

from tests.reliability.fault_run import A_MINUTE, DURING, LONG, SHORT, FaultRun, refusals
from tests.reliability.faults import (
    API,
    DEFERS_SUBMITS,
    FOR_A_MINUTE,
    LOSES_SUBMITS,
    SELDOM,
    key_refused,
    one_song_refused,
)
from tests.world.sockets import status_of

DOWN, GARBAGE = "down", "garbage"
LOST_TWICE = "The song service's answer was lost twice."
UNREADABLE = (
    "The song service's result could not be fetched.",
    "The song API sent something that can't be played.",
)
"""Why a song fails whose result, or whose file, makes no sense."""


@pytest.mark.parametrize("fault", API)
async def test_song_api_breaks(
    fault_run: FaultRun, fault: str, figure: Callable[[str], None]
) -> None:
    long = A_MINUTE if fault in FOR_A_MINUTE else LONG
    again = fault in LOSES_SUBMITS | DEFERS_SUBMITS
    outcome = await fault_run(API[fault], lengths=(long, SHORT), most_submits=2 if again else 1)
    assert outcome.not_accepted == 0
    assert outcome.posted + outcome.failed == outcome.asked
    assert outcome.faults_met or fault in (DOWN, SELDOM)
    world = fault_run.world
    for song in world.asked.values():
        row = world.row(song)
        if row is not None and status_of(row) == "FAILED":
            lost_twice = row["reason"] == LOST_TWICE and world.submits(song) == 2
            assert lost_twice if fault != GARBAGE else lost_twice or row["reason"] in UNREADABLE
            assert fault in LOSES_SUBMITS
    figure(str(outcome))


async def test_the_key_is_refused(fault_run: FaultRun, figure: Callable[[str], None]) -> None:
    """Of those that were made the API keeps the results, and of the others it has nothing."""
    outcome = await fault_run(key_refused, most_submits=3)
    assert outcome.failed == 1
    assert outcome.posted == outcome.asked - outcome.failed - outcome.not_accepted
    assert outcome.not_accepted <= DURING
    said = refusals(fault_run.world)
    assert len(said) == outcome.not_accepted
    assert all(text.startswith("Songs are paused") for text in said)
    figure(str(outcome))


async def test_one_song_is_refused(fault_run: FaultRun, figure: Callable[[str], None]) -> None:
    """By a firewall, for its words: the key works, so nobody else notices."""
    outcome = await fault_run(one_song_refused)
    assert (outcome.failed, outcome.not_accepted) == (1, 0)
    assert outcome.posted == outcome.asked - 1
    assert refusals(fault_run.world) == []
    assert fault_run.world.rows("SELECT kind FROM incidents") == []
    figure(str(outcome))
