"""Finding the points, and leaving the code as it was otherwise."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.crash_points import REPORTS, Plan, Points, points_of

SOURCE = '''
from contextlib import asynccontextmanager

CONSTANT = "a.b".replace(".", "/")

class House:
    """Its text stays where it is."""

    async def live(self, door, path, text):
        await door.knock(await door.bell())
        async with door.opened() as room, room.light:
            names = [guest async for guest in room.guests()]
        async for guest in room.guests():
            names.append(text.replace(guest, "?"))
        await door.knock(await door.bell())
        path.replace("there")
        return names
'''


def steps(points: tuple[str, ...]) -> list[str]:
    """Each without its place, and once for both sides."""
    assert [p for p in points if not p.startswith("rooms.House.live: ")] == []
    texts = [p.removeprefix("rooms.House.live: ") for p in points]
    assert [t.removesuffix(", before") for t in texts[::2]] == [
        t.removesuffix(", after") for t in texts[1::2]
    ]
    return [t.removesuffix(", before") for t in texts[::2]]


def test_each_step_is_a_point_before_and_after() -> None:
    assert steps(points_of("rooms", SOURCE).points) == [
        "door.knock(await door.bell())",
        "door.bell()",
        "door.opened(), entered",
        "door.opened(), left",
        "room.light, entered",
        "room.light, left",
        "each of room.guests()",
        "each of room.guests() (2)",
        "door.knock(await door.bell()) (2)",
        "door.bell() (2)",
        "path.replace('there')",
    ]


def test_whatever_changes_a_file_is_a_point() -> None:
    source = """
class House:
    def live(self, path, names, text):
        path.write_text(text)
        os.replace(path, "there")
        shutil.copyfile(path, text)
        open(path, "w")
        names.remove(text.replace("a", "b"))
        return names.copy()
"""
    assert steps(points_of("rooms", source).points) == [
        "path.write_text(text)",
        "os.replace(path, 'there')",
        "shutil.copyfile(path, text)",
        "open(path, 'w')",
    ]


class Door:
    def __init__(self) -> None:
        self.light = self.opened()

    async def bell(self) -> str:
        return "ding"

    async def knock(self, sound: str) -> None:
        assert sound == "ding"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Door"]:
        yield Door()

    async def guests(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"

    def replace(self, name: str) -> None:
        assert name == "there"


def house(points: Points) -> Any:
    code = points_of("rooms", SOURCE)
    names: dict[str, Any] = {REPORTS: points, "__name__": "rooms"}
    exec(compile(code.tree, "rooms", "exec"), names)
    return names["House"]()


async def test_rewritten_code_does_what_it_did_and_reports_each_pass(tmp_path: Path) -> None:
    points, record = Points(), tmp_path / "record"
    points.subject = lambda: 1
    points.follow(Plan(record=str(record)))
    ours = house(points)
    assert await ours.live(Door(), Door(), "abc") == ["a", "b", "?bc", "a?c"]
    assert ours.__doc__ == "Its text stays where it is."
    passed = record.read_text().splitlines()
    assert set(passed) == set(points_of("rooms", SOURCE).points)
    # Two guests and the end of them.
    assert passed.count("rooms.House.live: each of room.guests() (2), before") == 3


async def test_an_error_and_its_handling_stay_what_they_were() -> None:
    points = Points()

    class Closed(Door):
        @asynccontextmanager
        async def opened(self) -> AsyncIterator[Door]:
            try:
                yield self
            except RuntimeError as error:
                raise ValueError("closed") from error

        async def guests(self) -> AsyncIterator[str]:
            for nobody in ("",):
                if not nobody:
                    raise RuntimeError("nobody is in")
                yield nobody

    with pytest.raises(ValueError, match="closed"):
        await house(points).live(Closed(), Door(), "abc")


async def test_only_what_serves_a_song_that_is_not_spared_is_counted(tmp_path: Path) -> None:
    points, record = Points(), tmp_path / "record"
    points.follow(Plan(record=str(record), spare=[1]))
    for subject in (None, 1):
        points.subject = lambda subject=subject: subject  # type: ignore[misc]
        await house(points).live(Door(), Door(), "abc")
    assert record.read_text() == ""
    points.subject = lambda: 2
    await house(points).live(Door(), Door(), "abc")
    assert record.read_text() != ""


async def test_everywhere_is_everywhere(tmp_path: Path) -> None:
    points, record = Points(), tmp_path / "record"
    points.follow(Plan(record=str(record), everywhere=True))
    await house(points).live(Door(), Door(), "abc")
    assert record.read_text() != ""
