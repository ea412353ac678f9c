"""SQLite's write-ahead log, read and cut: https://www.sqlite.org/fileformat2.html#walformat"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = (0x377F0682, 0x377F0683)
HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoints, two salts, two checksums
FRAME = struct.Struct(">6I")  # page, pages after a commit or 0, two salts, two checksums


@dataclass(frozen=True, slots=True)
class Wal:
    """A log that has not been moved into its database, and where it may be cut."""

    content: bytes

    def __post_init__(self) -> None:
        (magic,) = struct.unpack_from(">I", self.content)
        if magic not in MAGIC:
            raise ValueError(f"no write-ahead log: it begins with {magic:#x}")

    @property
    def frame(self) -> int:
        """Bytes of a frame: a page and what stands before it."""
        return FRAME.size + int(HEADER.unpack_from(self.content)[2])

    def boundaries(self) -> Iterator[tuple[int, bool]]:
        """Where each frame ends, and whether a transaction does too.

        Frames of an earlier use of the file, which have other salts, are not counted.
        """
        salts = HEADER.unpack_from(self.content)[4:6]
        start = HEADER.size
        while start + self.frame <= len(self.content):
            _, pages, *found = FRAME.unpack_from(self.content, start)
            if tuple(found[:2]) != salts:
                return
            start += self.frame
            yield start, pages > 0

    def commits(self) -> list[int]:
        """Where each transaction ends."""
        return [end for end, commit in self.boundaries() if commit]

    def damaged_from(self, at: int, instead: bytes) -> int:
        """The first byte that is not as it was, with `instead` in place of all from `at` on.

        It may be later than `at`, since zeros may take the place of zeros.
        """
        pairs = zip(self.content[at:], instead, strict=False)
        differing = (n for n, (was, now) in enumerate(pairs) if was != now)
        return at + next(differing, len(instead))
