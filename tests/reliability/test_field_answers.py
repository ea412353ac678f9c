"""Odd answers of queue APIs, given to a running bot. Sources: docs/field-reports.md."""

import json
from collections import Counter

import pytest

from playground.song_api import Call, Fault
from tests.music import short
from tests.reliability.fault_run import shorten_pauses
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
LAST_WORDS = ["CANCEL", "deleted", "Failure", "EXPIRED"]
"""Final statuses that no page of the API names."""
RESULTS = {"cover first": ["cover", "song"], "cover by its name": {"image": "cover", "out": "song"}}
"""What it is made of, as the result says it; none of the addresses ends like audio."""


class Api:
    """The API's odd ways, by the song that meets them: its seed is its place in `NAMES`."""

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
        said = STATUSES.get(name, [])[self._met[f"{name} polled"] :]
        self._met[f"{name} polled"] += 1
        return (
            Fault(status=200, body=json.dumps({"status": said[0]}) if said[0] else "")
            if said
            else None
        )

    def _result(self, name: str) -> Fault | None:
        if name not in RESULTS:
            return None
        output = json.dumps(RESULTS[name])
        for place in ("cover", "song"):
            output = output.replace(f'"{place}"', f'"{self._world.api.root}/{place}"')
        return Fault(status=200, body=f'{{"status": "COMPLETED", "output": {output}}}')


async def test_odd_answers_lose_no_song(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(world, monkeypatch)
    world.api._compose = short
    world.api.fault = Api(world)
    world.settings |= {"SEGMIND_CONCURRENCY": str(len(Api.NAMES))}
    async with running(world, monkeypatch):
        songs = [
            await world.song(world.wire.member(world.guild, name), seed=seed)
            for seed, name in enumerate(Api.NAMES)
        ]
        rows = {name: await world.ended(song) for name, song in zip(Api.NAMES, songs, strict=True)}
    assert {name: row["reason"] for name, row in rows.items() if not row["post_id"]} == {}


async def test_final_words_that_are_not_documented_end_a_song_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were polled for half an hour."""
    shorten_pauses(world, monkeypatch)

    def say(call: Call) -> Fault | None:
        songs = world.api._songs.items()
        seed = next((s.parameters["seed"] for i, s in songs if i in call.path), None)
        if seed is None or not call.path.endswith("/status"):
            return None
        return Fault(status=200, body=json.dumps({"status": LAST_WORDS[seed]}))

    world.api.fault = say
    async with running(world, monkeypatch):
        songs = [
            await world.song(world.wire.member(world.guild, word), seed=seed)
            for seed, word in enumerate(LAST_WORDS)
        ]
        rows = [await world.ended(song) for song in songs]
    assert [status_of(row) for row in rows] == ["FAILED"] * len(LAST_WORDS)
    assert [world.entries(song) for song in songs] == [["hold", "refund"]] * len(LAST_WORDS)
