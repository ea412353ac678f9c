"""Incidents: the operator is notified once of the begin and once of the end."""

import asyncio
import logging
from datetime import timedelta

import pytest

from db import operations
from db.database import Database
from services.errors import SongsPaused
from services.operations.incidents import API_DOWN_AFTER, PAUSING, Incidents, Kind
from tests.factories import SettableClock
from tests.unit.services.operations.conftest import FakeOperator


@pytest.fixture
def incidents(database: Database, operator: FakeOperator, clock: SettableClock) -> Incidents:
    return Incidents(database, operator, clock=clock)


@pytest.mark.parametrize("kind", Kind)
async def test_begin_and_end_are_notified_once(
    incidents: Incidents,
    operator: FakeOperator,
    kind: Kind,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert not await incidents.end(kind)
    assert await incidents.begin(kind, "401 from the API")
    assert not await incidents.begin(kind, "401 again")
    assert operator.received == [f"{kind} began: 401 from the API"]
    assert await incidents.end(kind)
    assert not await incidents.end(kind)
    assert operator.received[1:] == [f"{kind} ended"]
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.ERROR, logging.WARNING]
    assert await incidents.begin(kind, "once more")
    assert len(operator.received) == 3


async def test_simultaneous_findings_are_one_incident(
    incidents: Incidents, operator: FakeOperator
) -> None:
    found = await asyncio.gather(*(incidents.begin(Kind.API_DOWN, "no answer") for _ in range(5)))
    assert sorted(found) == [False] * 4 + [True]
    assert len(operator.received) == 1
    ended = await asyncio.gather(*(incidents.end(Kind.API_DOWN) for _ in range(5)))
    assert sorted(ended) == [False] * 4 + [True]
    assert len(operator.received) == 2


async def test_message_being_sent_is_not_sent_again(
    database: Database, incidents: Incidents, operator: FakeOperator
) -> None:
    operator.may_arrive.clear()
    beginning = asyncio.create_task(incidents.begin(Kind.API_DOWN, "no answer"))
    await operator.sending.wait()
    notifying = asyncio.create_task(incidents.notify_pending())
    for _ in range(3):  # reads are done in the order of their requests
        await operations.incidents(database.reader)
    operator.may_arrive.set()
    await asyncio.gather(beginning, notifying)
    assert len(operator.received) == 1


async def test_end_during_the_first_message_is_notified_after_it(
    incidents: Incidents, operator: FakeOperator
) -> None:
    operator.may_arrive.clear()
    beginning = asyncio.create_task(incidents.begin(Kind.API_DOWN, "no answer"))
    await operator.sending.wait()
    completion = asyncio.create_task(incidents.end(Kind.API_DOWN))
    await asyncio.sleep(0)
    operator.may_arrive.set()
    assert list(await asyncio.gather(beginning, completion)) == [True, True]
    assert operator.received == ["api_down began: no answer", "api_down ended"]


async def test_pending_incident_is_notified_later_once(
    incidents: Incidents, operator: FakeOperator
) -> None:
    operator.reachable = False
    assert await incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await incidents.notify_pending()
    assert operator.received == []
    operator.reachable = True
    await incidents.notify_pending()
    await incidents.notify_pending()
    assert len(operator.received) == 1


async def test_end_of_an_unnotified_incident_is_not_notified(
    incidents: Incidents, operator: FakeOperator
) -> None:
    operator.reachable = False
    await incidents.begin(Kind.OUT_OF_CREDITS, "406")
    operator.reachable = True
    assert await incidents.end(Kind.OUT_OF_CREDITS)
    await incidents.notify_pending()
    assert operator.received == []


async def test_incident_survives_a_restart_without_a_second_message(
    database: Database, incidents: Incidents, operator: FakeOperator, clock: SettableClock
) -> None:
    await incidents.begin(Kind.KEY_REFUSED, "401")
    after = Incidents(database, operator, clock=clock)
    await after.load()
    assert after.paused is Kind.KEY_REFUSED
    assert not await after.begin(Kind.KEY_REFUSED, "401")
    assert len(operator.received) == 1
    assert await after.end(Kind.KEY_REFUSED)
    assert len(operator.received) == 2


@pytest.mark.parametrize("kind", Kind)
async def test_the_operators_account_alone_pauses_songs(incidents: Incidents, kind: Kind) -> None:
    incidents.check_not_paused()
    await incidents.begin(kind, "detail")
    assert (incidents.paused is kind) is (kind in PAUSING)
    if kind in PAUSING:
        with pytest.raises(SongsPaused):
            incidents.check_not_paused()
    else:
        incidents.check_not_paused()


async def test_an_account_that_works_ends_every_pause(
    database: Database, incidents: Incidents
) -> None:
    for kind in (*PAUSING, Kind.API_DOWN, Kind.UNDELIVERED):
        await incidents.begin(kind, "detail")
    await incidents.account_works(refusals=incidents.refusals)
    assert incidents.paused is None
    rows = await operations.incidents(database.reader)
    assert [row.kind for row in rows] == [Kind.UNDELIVERED]


@pytest.mark.parametrize("kind", PAUSING)
async def test_an_answer_older_than_the_refusal_ends_no_pause(
    incidents: Incidents, operator: FakeOperator, kind: Kind
) -> None:
    asked_before = incidents.refusals
    await incidents.begin(kind, "detail")
    await incidents.begin(kind, "and once more, now that it is known")
    paused = []
    for refusals in (asked_before, incidents.refusals):
        await incidents.account_works(refusals=refusals)
        paused.append(incidents.paused)
    assert paused == [kind, None]
    assert len(operator.received) == 2


async def test_refusal_during_the_end_of_another_stays_open(
    incidents: Incidents, operator: FakeOperator
) -> None:
    await incidents.begin(Kind.KEY_REFUSED, "401")
    operator.may_arrive.clear()
    completion = asyncio.create_task(incidents.account_works(refusals=incidents.refusals))
    while incidents.paused:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0)
    beginning = asyncio.create_task(incidents.begin(Kind.OUT_OF_CREDITS, "406"))
    while not incidents.paused:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    operator.may_arrive.set()
    await asyncio.gather(completion, beginning)
    assert incidents.paused is Kind.OUT_OF_CREDITS


async def test_the_api_is_down_after_five_silent_minutes(
    incidents: Incidents, operator: FakeOperator, clock: SettableClock
) -> None:
    await incidents.api_silent("timeout")
    clock.now += API_DOWN_AFTER - timedelta(seconds=1)
    await incidents.api_silent("timeout")
    assert operator.received == []
    clock.advance(seconds=1)
    await incidents.api_silent("502")
    await incidents.api_silent("502")
    assert len(operator.received) == 1
    assert "502" in operator.received[0]
    await incidents.api_answered()
    assert len(operator.received) == 2


@pytest.mark.parametrize("hours", [2, -2])
async def test_a_clock_that_is_set_is_no_silence(
    incidents: Incidents, operator: FakeOperator, clock: SettableClock, hours: int
) -> None:
    await incidents.api_silent("timeout")
    clock.jump(hours=hours)
    await incidents.api_silent("timeout")
    assert operator.received == []
    clock.advance(minutes=5)
    await incidents.api_silent("timeout")
    assert len(operator.received) == 1


async def test_answer_restarts_the_five_minutes(
    incidents: Incidents, operator: FakeOperator, clock: SettableClock
) -> None:
    await incidents.api_silent("timeout")
    clock.advance(minutes=4)
    await incidents.api_answered()
    clock.advance(minutes=4)
    await incidents.api_silent("timeout")
    clock.advance(minutes=4)
    await incidents.api_silent("timeout")
    assert operator.received == []


async def test_one_song_that_loses_its_result_repeatedly_is_no_incident(
    incidents: Incidents, operator: FakeOperator
) -> None:
    for _ in range(5):
        await incidents.result_lost(1, "404")
    await incidents.result_lost(2, "404")
    assert operator.received == []
    await incidents.result_lost(3, "403")
    await incidents.result_lost(4, "403")
    assert len(operator.received) == 1
    assert "song 3: 403" in operator.received[0]
    await incidents.result_played()
    assert len(operator.received) == 2
