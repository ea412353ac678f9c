"""Read JSON of any size and shape in pieces: an outline is kept, songs inside go to files.

Strings are the only thing in JSON that is long for a good reason, and where one begins and ends can
be seen from quotes and backslashes alone. So long strings are removed while the text is read; what
is left is small, and `json` parses it. Everything here blocks, and belongs into a thread; no single
step is long enough to keep the others from the interpreter (decision 0027, and 0041 for libraries).
"""

import binascii
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MOST_KEPT = 256 * 2**10
"""Bytes of a text without its long strings; one with more is malformed."""

LONG = 16 * 2**10
"""Bytes of a string, as written, from which it is taken out."""

MOST_SONGS = 16
"""Long strings of one text that are saved; of others the beginning stays."""

# Bytes of a long string that stay, if it is no song: more than an address may have (8,190), so that
# one that was cut is none.
_SHOWN = 9 * 2**10
_DEEPEST = 2  # JSON in strings of JSON

_QUOTE = ord('"')
# As far as a string goes, but for an escape that is not complete.
_STRING = re.compile(rb'(?:[^"\\]++|\\u[0-9a-fA-F]{4}|\\[^u])*+', re.DOTALL)
_LONGEST_ESCAPE = 6

DATA = re.compile(r"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
_BASE64 = re.compile(r"\s*[A-Za-z0-9+/_-]{64}")
JSON = re.compile(r"\s*[\[{]")


def parse(text: bytes) -> object:
    """Parse a JSON text; None if it is none."""
    try:
        # A wrong character in the text must not hide the status.
        return json.loads(text.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None


@dataclass
class Spool:
    """Where the songs in a text go, and what they may take.

    Args:
        file: their files have this name and a number behind it; None keeps no songs.
        limit: bytes of one, decoded.
    """

    file: Path | None = None
    limit: int = 0
    taken: "dict[str, Song | Inner]" = field(default_factory=dict)
    """What was taken out, by the text that stands in its place."""

    def take(self, start: str, depth: int) -> "tuple[str, Song | Inner] | None":
        """Return the text that stands for a string with this start, and where the string goes.

        None: it is cut.
        """
        if self.file is None or len(self.taken) >= MOST_SONGS:
            return None
        # Whoever writes such a text into an answer only points at another part of the same answer.
        name = f"\0{len(self.taken)}"
        part: Song | Inner
        if DATA.match(start) or _BASE64.match(start):
            file = self.file.with_name(f"{self.file.name}.answer{len(self.taken)}")
            part = Song(file, self.limit)
        elif depth < _DEEPEST and JSON.match(start):
            part = Inner(self, depth + 1)
        else:
            return None
        self.taken[name] = part
        return name, part

    def discard(self, *, but: Path | None = None) -> None:
        """Remove the files of all songs but one."""
        for part in self.taken.values():
            if isinstance(part, Song) and part.file != but:
                part.discard()


class Outline:
    """A JSON text, read in pieces.

    Its memory is bounded by `MOST_KEPT`, `LONG` and the pieces; its files by what it is fed.
    """

    def __init__(self, spool: Spool, depth: int = 0) -> None:
        self._spool = spool
        self._depth = depth
        self._kept = bytearray()
        self._fits = True
        self._inside = False
        # Of the string that it is inside of: its beginning, or where the rest goes.
        self._start = bytearray()
        self._part: Song | Inner | None = None
        self._cut = False
        self._escape = b""

    def feed(self, piece: bytes) -> None:
        """Read the next piece.

        Raises:
            OSError: a song can't be written.
        """
        text, self._escape = self._escape + piece, b""
        at = 0
        while at < len(text) and self._fits:
            if self._inside:
                at = self._read_string(text, at)
            else:
                quote = text.find(b'"', at)
                end = len(text) if quote < 0 else quote + 1
                self._keep(text[at:end])
                self._inside, at = quote >= 0, end

    def value(self) -> object:
        """Return what it says, long strings replaced (see `Spool`) or cut; None if malformed."""
        return parse(bytes(self._kept)) if self._fits and not self._inside else None

    def _read_string(self, text: bytes, at: int) -> int:
        """Read what belongs to the string, and return where to go on."""
        end = text.find(b'"', at)
        if text.find(b"\\", at, end if end >= 0 else None) >= 0:
            found = _STRING.match(text, at)
            end = found.end() if found else at
        elif end < 0:
            end = len(text)
        self._add(text[at:end])
        if end < len(text) and text[end] == _QUOTE:
            if isinstance(self._part, Song):
                self._part.close()
            self._keep(bytes(self._start) + b'"')
            self._start.clear()
            self._part, self._cut, self._inside = None, False, False
            return end + 1
        self._escape = text[end:]
        if len(self._escape) >= _LONGEST_ESCAPE:
            self._fits = False  # an escape that JSON doesn't have
        return len(text)

    def _add(self, raw: bytes) -> None:
        """Add to the string, which is taken out once it has become a long one."""
        if self._part is not None:
            self._part.feed(raw)
            return
        if self._cut:
            return
        self._start += raw
        if len(self._start) <= LONG:
            return
        start, self._start = bytes(self._start), bytearray()
        found = _STRING.match(start, 0, _SHOWN)
        shown = start[: found.end() if found else 0]
        place = self._spool.take(_unescaped(shown) or "", self._depth)
        if place is None:
            self._cut = True
            self._keep(shown)
        else:
            name, self._part = place
            self._keep(json.dumps(name)[1:-1].encode())
            self._part.feed(start)

    def _keep(self, text: bytes) -> None:
        self._kept += text
        if len(self._kept) > MOST_KEPT:
            self._fits = False
            self._kept.clear()


class Inner(Outline):
    """JSON in a string, as the vendor's own SDK expects of some models."""

    def feed(self, piece: bytes) -> None:
        """Read the next part of the string, as written in JSON."""
        text = _unescaped(piece)
        self._fits = self._fits and text is not None
        super().feed((text or "").encode(errors="replace"))


class Song:
    """A song in base64, decoded to a file while it is read.

    Either alphabet, with or without line breaks and padding, also behind `data:...;base64,`.
    """

    def __init__(self, file: Path, limit: int) -> None:
        self.file = file
        self.size = 0
        """Bytes, decoded."""
        self.length = 0
        """Of the string, as written."""
        self.error: str | None = None
        """Why it is no song after all; then it has no file."""
        self._limit = limit
        self._text = ""
        self._open: BinaryIO | None = None

    def feed(self, raw: bytes) -> None:
        """Read the next part of the string, as written in JSON.

        Raises:
            OSError: it can't be written.
        """
        self.length += len(raw)
        text = _unescaped(raw)
        if text is None:
            self._fail("an escape that JSON doesn't have")
        elif self.error is None:
            if self._open is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._open = self.file.open("wb")
                data = DATA.match(text)
                text = text[data.end() if data else 0 :]
            # The usual alphabet, without line breaks.
            self._text += "".join(text.split()).translate({ord("-"): "+", ord("_"): "/"})
            # The last characters may be padding, which belongs to the end.
            complete = len(self._text.rstrip("=")) // 4 * 4
            self._write(self._text[:complete])
            self._text = self._text[complete:]
            if len(self._text) > _LONGEST_ESCAPE:
                self._fail("padding before the end")

    def close(self) -> None:
        """End the string.

        Raises:
            OSError: it can't be written.
        """
        self._write(self._text)
        if self._open is not None:
            self._open.close()
        if self.size == 0:
            self._fail("empty")

    def discard(self) -> None:
        """Remove the file."""
        if self._open is not None:
            with suppress(OSError):  # closing writes what is buffered: the disk is full
                self._open.close()
            self.file.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        if self.error is None and self._open is not None:
            text = text.rstrip("=")  # there may be padding or not
            try:
                data = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
            except ValueError as error:
                self._fail(str(error))
                return
            self.size += len(data)
            if self.size > self._limit:
                self._fail(f"over {self._limit:,} bytes")
            else:
                self._open.write(data)

    def _fail(self, why: str) -> None:
        if self.error is None:
            self.error = f"base64: {why}"
            self.discard()


def _unescaped(raw: bytes) -> str | None:
    """Decode a part of a string, with complete escapes; None if JSON has no such."""
    try:
        text: str = json.loads(b'"%b"' % raw.decode("utf-8", "replace").encode(), strict=False)
    except ValueError:
        return None
    return text


def texts(
    value: object, taken: Mapping[str, Song | Inner], name: str = "", depth: int = 0
) -> Iterator[tuple[str, str | Song]]:
    """Yield the strings in a value, five levels deep, each with the names that lead to it.

    Of each name its beginning: above many strings a long one would be copied for each.
    """
    if isinstance(value, str):
        part = taken.get(value)
        if isinstance(part, Song):
            yield name, part
            return
        inner: object = None
        if depth < 5 and part is not None:
            inner = part.value()
        elif depth < 5 and JSON.match(value):
            inner = parse(value.encode(errors="replace"))
        if isinstance(inner, dict | list):
            yield from texts(inner, taken, name, depth + 1)
        else:
            yield name, value
    elif depth < 5 and isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, taken, f"{name} {key[:100]}", depth + 1)
    elif depth < 5 and isinstance(value, list):
        for inner in value:
            yield from texts(inner, taken, name, depth + 1)
