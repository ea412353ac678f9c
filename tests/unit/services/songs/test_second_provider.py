"""Songs of a provider that the pipeline has never heard of."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_provider import AUDIO, FakeProvider
from tests.world.services import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as house:
        yield house


async def test_pipeline_runs_the_songs_of_each_provider(house: House) -> None:
    fake = FakeProvider(house.rate_limiter)
    house.other_providers = {fake.name: fake}
    house.restart()
    await house.add(1, provider=fake.name, genres="jazz")
    await house.add(2)
    await house.start(1)
    await house.start(2)
    for song_id in (1, 2):
        await house.has_completed(song_id)
    assert house.channel.posts == {1: [AUDIO], 2: [house.audio]}
    assert [request.genres for request in fake.requests.values()] == ["jazz"]


async def test_resumed_song_stays_with_its_provider(house: House) -> None:
    fake = FakeProvider(house.rate_limiter)
    house.other_providers = {fake.name: fake}
    house.restart()
    await house.add(provider=fake.name, state="submitted", request_id="job-7")
    await house.carry()
    await house.has_completed()
    assert (fake.requests, house.server.calls) == ({}, [])
