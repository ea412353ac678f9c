"""Songs of a provider that the pipeline has never heard of."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_provider import AUDIO, FakeProvider
from tests.world.services import SongWorld, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SongWorld]:
    async with open_world(tmp_path) as world:
        yield world


async def test_pipeline_runs_the_songs_of_each_provider(world: SongWorld) -> None:
    fake = FakeProvider(world.rate_limiter)
    world.other_providers = {fake.name: fake}
    world.restart()
    await world.add(1, provider=fake.name, genres="jazz")
    await world.add(2)
    await world.start(1)
    await world.start(2)
    for song_id in (1, 2):
        await world.has_completed(song_id)
    assert world.channel.posts == {1: [AUDIO], 2: [world.audio]}
    assert [request.genres for request in fake.requests.values()] == ["jazz"]


async def test_resumed_song_stays_with_its_provider(world: SongWorld) -> None:
    fake = FakeProvider(world.rate_limiter)
    world.other_providers = {fake.name: fake}
    world.restart()
    await world.add(provider=fake.name, state="submitted", request_id="job-7")
    await world.run_song()
    await world.has_completed()
    assert (fake.requests, world.server.calls) == ({}, [])
