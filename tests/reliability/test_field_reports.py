"""What others met, with a running bot. Sources: docs/field-reports.md."""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence

import pytest

from playground.song_api import Call, Fault
from tests.music import short
from tests.reliability.fault_run import shorten_pauses
from tests.reliability.odd_audio import PLAYABLE, REFUSED
from tests.wire.permissions import ALL
from tests.world.sockets import SUBMIT, World, running, status_of

SUBMITS = {
    "a fraction of a second": Fault(status=429, headers={"Retry-After": "0.493"}),
    "seconds with a unit": Fault(status=429, headers={"Retry-After": "30s"}, body="queue is full"),
    "for ever": Fault(status=429, headers={"Retry-After": "Infinity"}),
    "no time at all": Fault(status=429, headers={"Retry-After": "-5"}),
    "warming up": Fault(status=503, headers={"Retry-After": "1"}),
}
"""What the first submit of a song gets."""
STATUSES = {
    "other words": ["IN_QUEUE", "IN_PROGRESS", "Starting"],
    "an empty body": ["", ""],
}
"""What its first status calls get: a status, or an empty body."""
FINAL_STATUSES = ["CANCEL", "deleted", "Failure", "EXPIRED"]
"""Final statuses that no page of the API names."""
RESULTS = {"cover first": ["cover", "song"], "cover by its name": {"image": "cover", "out": "song"}}
"""The output of its result; none of the addresses ends like audio."""


class Api:
    """An API with odd answers, by the song that meets them: its seed is its place in `NAMES`."""

    NAMES = (*SUBMITS, *STATUSES, *RESULTS)

    def __init__(self, world: World) -> None:
        self._world = world
        self._met: Counter[str] = Counter()

    def __call__(self, call: Call) -> Fault | None:
        if call.path == SUBMIT:
            name = self.NAMES[call.body["seed"]]
            self._met[name] += 1
            return SUBMITS.get(name) if self._met[name] == 1 else None
        if call.path == "/cover":
            return Fault(status=200, body=b"\x89PNG" + bytes(999))
        if call.path == "/song":
            return Fault(status=200, body=short())
        songs = self._world.api._songs.items()
        name = next((self.NAMES[s.parameters["seed"]] for i, s in songs if i in call.path), "")
        if call.path.endswith("/status"):
            return self._status(name)
        return self._result(name) if "/requests/" in call.path else None

    def _status(self, name: str) -> Fault | None:
        left = STATUSES.get(name, [])[self._met[f"{name} polled"] :]
        self._met[f"{name} polled"] += 1
        if not left:
            return None
        return Fault(status=200, body=json.dumps({"status": left[0]}) if left[0] else "")

    def _result(self, name: str) -> Fault | None:
        if name not in RESULTS:
            return None
        output = json.dumps(RESULTS[name])
        for place in ("cover", "song"):
            output = output.replace(f'"{place}"', f'"{self._world.api.root}/{place}"')
        return Fault(status=200, body=f'{{"status": "COMPLETED", "output": {output}}}')


async def each(
    world: World, monkeypatch: pytest.MonkeyPatch, names: Sequence[str]
) -> dict[str, sqlite3.Row]:
    """Let a running bot make a song for each name, all at once; their rows at their ends."""
    world.settings |= {"SEGMIND_CONCURRENCY": str(len(names))}
    async with running(world, monkeypatch):
        songs = [
            await world.song(world.wire.member(world.guild, name), seed=seed)
            for seed, name in enumerate(names)
        ]
        return {name: await world.ended(song) for name, song in zip(names, songs, strict=True)}


async def test_odd_answers_lose_no_song(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(world, monkeypatch)
    world.api._compose = short
    world.api.fault = Api(world)
    rows = await each(world, monkeypatch, Api.NAMES)
    assert {name: row["reason"] for name, row in rows.items() if not row["post_id"]} == {}


async def test_undocumented_final_statuses_fail_a_song_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were polled for half an hour."""
    shorten_pauses(world, monkeypatch)

    def status(call: Call) -> Fault | None:
        songs = world.api._songs.items()
        seed = next((s.parameters["seed"] for i, s in songs if i in call.path), None)
        if seed is None or not call.path.endswith("/status"):
            return None
        return Fault(status=200, body=json.dumps({"status": FINAL_STATUSES[seed]}))

    world.api.fault = status
    rows = await each(world, monkeypatch, FINAL_STATUSES)
    assert {status_of(row) for row in rows.values()} == {"FAILED"}
    entries = [world.entries(song) for song in world.requested.values()]
    assert entries == [["hold", "refund"]] * len(FINAL_STATUSES)


@pytest.mark.long
async def test_odd_audio_is_posted_or_refunded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a player plays is posted, the rest is FAILED and refunded."""
    files = PLAYABLE | REFUSED
    names = list(files)
    world.api._compose = lambda *, seed, **_: files[names[seed]]()
    rows = await each(world, monkeypatch, names)
    assert {name for name, row in rows.items() if row["post_id"]} == set(PLAYABLE)
    assert {name for name, row in rows.items() if status_of(row) == "FAILED"} == set(REFUSED)


async def test_channel_of_an_unknown_kind_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = world.wire.state.add_channel(world.guild, "new", int(ALL), kind=99)
    async with running(world, monkeypatch):
        options = {"genres": "funk", "lyrics": "Midnight train"}
        song = await world.wire.slash(world.alice, new, "song", **options)
        reply = await world.wire.until(lambda: song.original and song.original.content)
        assert "Please use a text channel" in str(reply)
    assert world.rows("SELECT * FROM songs") == []
