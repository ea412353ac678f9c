"""JSON of any size and shape, read in pieces: what it says, the songs inside, and what it costs."""

import base64
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from services.providers.json_stream import (
    LONG,
    MOST_KEPT,
    MOST_SONGS,
    Inner,
    Outline,
    Song,
    Spool,
    texts,
)
from tests.security.examples import rows

AUDIO = bytes(range(256)) * 400
TEXT = base64.b64encode(AUDIO).decode()
PIECES = (1, 7, 4_096, 2**16)


def outlined(
    body: bytes, folder: Path, *, piece: int = 2**16, limit: int = 2**20
) -> tuple[Any, Spool]:
    """What a body says, with all that was taken out."""
    spool = Spool(folder / "source", limit)
    reading = Outline(spool)
    for start in range(0, len(body), piece):
        reading.feed(body[start : start + piece])
    return reading.value(), spool


def read(body: bytes, folder: Path, **options: int) -> tuple[Any, list[Song]]:
    """What a body says, with the songs that were taken out in the order of their names."""
    value, spool = outlined(body, folder, **options)
    found = [part for _, part in texts(value, spool.taken) if isinstance(part, Song)]
    return value, found


DRESSES: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "unpadded": lambda text: text.rstrip("="),
    "slashes": lambda text: text.replace("/", "\\/"),
    "escapes": lambda text: text.replace("+", "\\u002B").replace("=", "\\u003d"),
    "the other alphabet": lambda text: text.replace("+", "-").replace("/", "_"),
    "lines": lambda text: "\\r\\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
    "data": lambda text: "data:audio/wav;base64," + text,
    "spaces": lambda text: f" \\n{text}\\n",
}


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("dress", DRESSES)
def test_song_is_decoded_to_a_file(tmp_path: Path, dress: str, piece: int) -> None:
    audio = AUDIO[:13_000] if piece == 1 else AUDIO  # a call for each byte
    written = DRESSES[dress](base64.b64encode(audio).decode())
    body = f'{{"status": "COMPLETED", "output": "{written}", "seed": 7}}'.encode()
    value, (song,) = read(body, tmp_path, piece=piece)
    assert (value["status"], value["seed"]) == ("COMPLETED", 7)
    assert (song.error, song.size) == (None, len(audio))
    assert song.file.read_bytes() == audio


@pytest.mark.parametrize("piece", PIECES[1:])
def test_song_in_json_in_a_string_is_decoded_too(tmp_path: Path, piece: int) -> None:
    inner = json.dumps({"audio": "data:audio/wav;base64," + TEXT, "seconds": 10})
    for output in (inner, json.dumps([inner])):
        _, (song,) = read(json.dumps({"output": output}).encode(), tmp_path, piece=piece)
        assert song.file.read_bytes() == AUDIO
    value, songs = read(json.dumps({"output": json.dumps([json.dumps(inner)])}).encode(), tmp_path)
    assert value is not None  # deeper is a text
    assert songs == []


def test_json_in_a_string_with_a_wrong_escape_is_malformed(tmp_path: Path) -> None:
    inner = json.dumps(["la " * LONG])[1:-1].replace('"', '\\"')
    body = f'{{"output": "[{inner}\\q]", "seed": 7}}'.encode()
    _, spool = outlined(body, tmp_path)
    (part,) = spool.taken.values()
    assert isinstance(part, Inner)
    assert part.value() is None


def test_values_next_to_a_song_are_read(tmp_path: Path) -> None:
    says: dict[str, Any] = {
        "error": "why? " * LONG,
        "lyrics": 'la\\"\u5929 ' * LONG,
        "list": [1, {"a": None}],
    }
    body = json.dumps({"before": says, "output": [TEXT], "after": says}).encode()
    value, (song,) = read(body, tmp_path, piece=999)
    assert song.file.read_bytes() == AUDIO
    for left in (value["before"], value["after"]):
        assert left["list"] == [1, {"a": None}]
        for name in ("error", "lyrics"):
            assert says[name].startswith(left[name])
            assert 500 < len(left[name]) < LONG


@pytest.mark.parametrize(
    ("written", "error"),
    [
        (TEXT + "!", "Only base64 data is allowed"),
        (TEXT[:40_000] + "=" + TEXT[40_000:], "base64: "),
        (TEXT[:20_000] + "====" * 5_000, "padding before the end"),
        (TEXT[:20_001], "Invalid base64-encoded string"),
        (TEXT[:20_000] + "\\q" + TEXT, "an escape that JSON doesn't have"),
        (base64.b64encode(AUDIO * 11).decode(), "over 1,048,576 bytes"),
        ("data:audio/wav;base64," + " " * LONG, "empty"),
    ],
)
def test_broken_song_leaves_no_file(tmp_path: Path, written: str, error: str) -> None:
    body = f'{{"output": "{written}"}}'.encode()
    _, spool = outlined(body, tmp_path)
    (song,) = spool.taken.values()
    assert isinstance(song, Song)
    assert error in str(song.error)
    assert list(tmp_path.iterdir()) == []


def test_number_of_songs_is_limited_and_all_but_one_are_removed(tmp_path: Path) -> None:
    body = json.dumps({"output": [TEXT[:20_000]] * (MOST_SONGS + 5)}).encode()
    value, spool = outlined(body, tmp_path)
    assert len(list(tmp_path.iterdir())) == MOST_SONGS
    assert value["output"][-1] == TEXT[:9_216]
    last = spool.taken["\0" + str(MOST_SONGS - 1)]
    assert isinstance(last, Song)
    spool.discard(but=last.file)
    assert list(tmp_path.iterdir()) == [last.file]
    spool.discard()
    assert list(tmp_path.iterdir()) == []


def test_song_that_breaks_off_can_be_discarded(tmp_path: Path) -> None:
    value, spool = outlined(f'{{"output": "{TEXT}'.encode(), tmp_path)
    assert value is None
    assert len(list(tmp_path.iterdir())) == 1
    spool.discard()
    assert list(tmp_path.iterdir()) == []


def test_no_song_is_saved_from_an_answer_without_a_workspace(tmp_path: Path) -> None:
    reading = Outline(Spool())
    reading.feed(json.dumps({"request_id": "a", "output": TEXT}).encode())
    assert reading.value() == {"request_id": "a", "output": TEXT[:9_216]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>" + b"a" * 100_000,
        b'{"a": 1',
        b'{"a": "' + b"? " * 100_000,
        b'{"a": "\\u12',
        b'{"a": "\\uZZZZ"}' + b" " * 100_000,
        b'{"a": "\\q"}',
        b'{"a": "' + b"\\q" * 100_000 + b'"}',
        b"[" * 100_000,
        b'{"a":' * 30_000,
        b"[" + b"9" * 5_000 + b"]",
        b"[" + b"1," * MOST_KEPT + b"1]",
        b"[" + b'"",' * MOST_KEPT + b'""]',
    ],
)
def test_malformed_json_has_no_value(tmp_path: Path, body: bytes) -> None:
    assert read(body, tmp_path) == (None, [])
    assert list(tmp_path.iterdir()) == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.text(alphabet='"\\/\n\u00e9 {}[]', min_size=1, max_size=9).map(lambda s: s * 2_000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


def test_outline_equals_json_but_for_long_strings(tmp_path: Path) -> None:
    def shortened(value: Any, like: Any) -> bool:
        if isinstance(value, dict):
            pairs = zip(value.values(), like.values(), strict=True)
            return list(value) == list(like) and all(shortened(a, b) for a, b in pairs)
        if isinstance(value, list):
            return all(shortened(a, b) for a, b in zip(value, like, strict=True))
        if isinstance(value, str):
            # A character that was cut in two is the last one.
            return bool(value == like or (len(like) > 2_000 and like.startswith(value[:-1])))
        return bool(value == like)

    def judge(row: list[tuple[Any, bool, int]]) -> None:
        for said, plain, piece in row:
            reading = Outline(Spool())
            body = json.dumps(said, ensure_ascii=plain).encode(errors="replace")
            meant = json.loads(body)
            for start in range(0, len(body), piece):
                reading.feed(body[start : start + piece])
            if len(body) < MOST_KEPT:
                assert shortened(reading.value(), meant)

    rows(st.tuples(JSON, st.booleans(), st.integers(50, 9_999)), judge, count=200, in_a_row=5)


SHAPES: dict[str, Callable[[int], bytes]] = {
    "a song": lambda n: b'{"output": "' + b"QUJD" * (n // 4) + b'"}',
    "backslashes": lambda n: b'{"output": "' + b"\\" * n + b'"}',
    "escapes": lambda n: b'{"output": "' + b"\\u0041" * (n // 6) + b'"}',
    "spaces": lambda n: b'{"output": "' + b"A" * 80 + b" " * n + b'"}',
    "padding": lambda n: b'{"output": "' + b"A" * 80 + b"=" * n + b'"}',
    "json in a string": lambda n: json.dumps({"output": "[" + "[]," * (n // 3)}).encode(),
    "quotes": lambda n: b'"' * n,
    "numbers": lambda n: b"[" + b"1," * (n // 2),
    "brackets": lambda n: b"[" * n,
    "keys": lambda n: b"{" + b",".join(b'"%d":{}' % i for i in range(n // 12)) + b"}",
    "long strings": lambda n: (b'"' + b"x" * LONG + b'",') * (n // LONG),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_takes_memory(tmp_path: Path, shape: str) -> None:
    body = SHAPES[shape](4 * 2**20)
    tracemalloc.start()
    read(body, tmp_path, limit=2**24)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * 2**20


def test_long_name_above_many_texts_is_not_copied_for_each() -> None:
    """0.9 MB of it would have taken 19 GiB."""
    value = {"k" * 450_000: ["x"] * 100_000}
    list(texts(value, {}))  # the coverage tool replaces code that runs for the first time
    tracemalloc.start()
    names = {name for name, _ in texts(value, {})}
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {len(name) for name in names} == {101}
    assert most < 2**20
