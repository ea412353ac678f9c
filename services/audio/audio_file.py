"""The file of a song: its format, its tags, its name, and the job to transcode it.

Pure, since the child process that transcodes a song imports it.
"""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

MAX_STEM = 60
"""Characters of a file name before the dot: at most 4 bytes each, so under every system's 255."""


class AudioFormat(StrEnum):
    """The formats that are posted. The value is the file's extension."""

    MP3 = "mp3"
    OGG = "ogg"
    M4A = "m4a"


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of the file, for players outside of Discord."""

    title: str
    artist: str
    genres: str
    lyrics: str
    seed: int
    number: int
    request: str = ""
    """The other parameters as text, like "60 s, 50 steps, cfg 4"; may be blank."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a child process transcodes. `limit` is in bytes; the result is written to `part`."""

    source: Path
    part: Path
    limit: int
    requested_seconds: int
    tags: Tags
    sandboxed: bool = True

    @property
    def timeout(self) -> float:
        """Seconds to wait for a child: encoding may take as long as the song plays."""
        return 30.0 + self.requested_seconds

    def to_line(self) -> bytes:
        """Return one line of JSON. Paths are absolute: the child changes its working directory."""
        paths = {"source": str(self.source.absolute()), "part": str(self.part.absolute())}
        return json.dumps(asdict(self) | paths).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Job":
        """Parse what `to_line` returned."""
        fields = json.loads(line)
        paths = {name: Path(fields[name]) for name in ("source", "part")}
        return cls(**fields | paths | {"tags": Tags(**fields["tags"])})


def file_stem(number: int, title: str) -> str:
    """Return the name of a song's file without the extension, like `42-midnight-train`.

    At most `MAX_STEM` characters: lower-case letters and digits of any script (with their vowel
    signs) and single hyphens, which every file system accepts and Discord's Markdown leaves
    unchanged. With the number in front it is no reserved name of Windows.
    """
    words = "".join(_name_characters(title)).split()
    stem = "-".join([str(number), *words])[:MAX_STEM].rstrip("-")
    return unicodedata.normalize("NFC", stem)[:MAX_STEM]


def _name_characters(title: str) -> Iterator[str]:
    """Yield letters, digits and their marks, and a space for everything else."""
    kept = False
    for c in unicodedata.normalize("NFKC", title).lower():
        if c in "'\u2019":  # "don't" is one word
            continue
        # A mark belongs to the letter before it. Hangul fillers and variation selectors are
        # letters and marks in Unicode, but invisible.
        invisible = c in "\u115f\u1160\u034f" or "\ufe00" <= c <= "\ufe0f" or c >= "\U000e0000"
        kept = not invisible and (c.isalnum() or (kept and unicodedata.category(c)[0] == "M"))
        yield c if kept else " "
