"""The song API breaks while songs are in progress: each is posted, or refunded."""

from collections.abc import Callable

import pytest

from db.records import Reason
from tests.reliability.fault_run import A_MINUTE, DURING, LONG, SHORT, FaultRun, refusals
from tests.reliability.faults import (
    API,
    DEFERS_SUBMITS,
    FOR_A_MINUTE,
    LOSES_SUBMITS,
    RARE,
    key_refused,
    one_song_refused,
)
from tests.world.sockets import status_of

DOWN, GARBAGE = "down", "garbage"
LOST_TWICE = Reason.ANSWER_LOST_TWICE
UNREADABLE = (
    Reason.NOT_FETCHED,
    Reason.NOT_AUDIO,
)
"""Why a song fails whose result or file is malformed."""


@pytest.mark.parametrize("fault", API)
async def test_song_api_breaks(
    fault_run: FaultRun, fault: str, figure: Callable[[str], None]
) -> None:
    long = A_MINUTE if fault in FOR_A_MINUTE else LONG
    again = fault in LOSES_SUBMITS | DEFERS_SUBMITS
    outcome = await fault_run(API[fault], lengths=(long, SHORT), most_submits=2 if again else 1)
    assert outcome.not_accepted == 0
    assert outcome.posted + outcome.failed == outcome.requested
    assert outcome.faults_met or fault in (DOWN, RARE)
    world = fault_run.world
    for song in world.requested.values():
        row = world.row(song)
        if row is not None and status_of(row) == "FAILED":
            lost_twice = row["reason"] == LOST_TWICE and world.submits(song) == 2
            assert lost_twice if fault != GARBAGE else lost_twice or row["reason"] in UNREADABLE
            assert fault in LOSES_SUBMITS
    figure(str(outcome))


async def test_the_key_is_refused(fault_run: FaultRun, figure: Callable[[str], None]) -> None:
    """The API keeps the results of songs that it made; of the others it has nothing."""
    outcome = await fault_run(key_refused, most_submits=3)
    assert outcome.failed == 1
    assert outcome.posted == outcome.requested - outcome.failed - outcome.not_accepted
    assert outcome.not_accepted <= DURING
    texts = refusals(fault_run.world)
    assert len(texts) == outcome.not_accepted
    assert all(text.startswith("Songs are paused") for text in texts)
    figure(str(outcome))


async def test_one_song_is_refused(fault_run: FaultRun, figure: Callable[[str], None]) -> None:
    """By a firewall, for its text: the key works, so nobody else notices."""
    outcome = await fault_run(one_song_refused)
    assert (outcome.failed, outcome.not_accepted) == (1, 0)
    assert outcome.posted == outcome.requested - 1
    assert refusals(fault_run.world) == []
    assert fault_run.world.rows("SELECT kind FROM incidents") == []
    figure(str(outcome))
