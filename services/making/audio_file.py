"""The file of a song: its format, its tags and its name. Pure.

The child process that fits a song starts with this: it knows nothing of the bot beside it.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

MAX_STEM = 60
"""Characters of a file's name before the dot; at most 4 bytes each, so under every system's 255."""

HEAD = 16 * 1024
"""Bytes `recognise` wants to see, if the file has as many."""


class AudioFormat(StrEnum):
    """What we can read. The value is also the file's extension."""

    WAV = "wav"
    MP3 = "mp3"
    FLAC = "flac"
    OGG = "ogg"
    M4A = "m4a"


@dataclass(frozen=True, slots=True)
class Tags:
    """What is written into the file, for whoever meets it outside of Discord."""

    title: str
    artist: str
    genres: str
    lyrics: str
    seed: int
    number: int
    request: str = ""
    """The other parameters in words, like "60 s, 50 steps, cfg 4"; blank leaves them out."""


def recognise(head: bytes) -> AudioFormat | None:
    """Say what a file is by its first `HEAD` bytes, or None: nothing we post.

    Video, pictures and playlists are None, as is raw AAC (ADTS), which can't be tagged. An MP3
    whose ID3 tag is longer than `head` is taken at the tag's word; decoding will tell. Never
    raises.
    """
    start = 0
    while length := id3_length(head[start : start + 10]):
        start += length
        if start >= len(head):
            return AudioFormat.MP3
    head = head[start:]
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return AudioFormat.WAV
    if head.startswith(b"fLaC"):
        return AudioFormat.FLAC
    if head.startswith(b"OggS"):
        return AudioFormat.OGG if _is_ogg_audio(head) else None
    if head[4:8] == b"ftyp":
        return AudioFormat.M4A if _is_m4a(head) else None
    # Some taggers leave more zeros behind their tag than they declare.
    return AudioFormat.MP3 if _is_mpeg_layer_3(head.lstrip(b"\0")) else None


def id3_length(head: bytes) -> int:
    """Bytes that the ID3v2 tag at the start of `head` takes, 0 if there is none.

    Source: ID3v2.4 structure, section 3.1: ten bytes, the size in four times seven bits.
    """
    if len(head) < 10 or head[:3] != b"ID3" or 0xFF in head[3:5] or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    footer = 10 if head[5] & 0x10 else 0
    return 10 + size + footer


def _is_ogg_audio(head: bytes) -> bool:
    """Whether the first stream's first packet is of a codec we know (RFC 3533, section 6)."""
    packet = head[27 + head[26] :] if len(head) > 26 else b""
    return packet.startswith((b"\x01vorbis", b"OpusHead", b"\x7fFLAC"))


def _is_m4a(head: bytes) -> bool:
    """Whether the `ftyp` box says audio: an M4V or AVIF may well list M4A as compatible.

    Source: ISO/IEC 14496-12, section 4.3 (major brand, version, compatible brands).
    """
    major = head[8:12]
    brands = head[16 : int.from_bytes(head[:4], "big")]
    listed = {brands[i : i + 4] for i in range(0, min(len(brands), 256), 4)}
    generic = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"dash")
    return major in (b"M4A ", b"M4B ") or (major in generic and b"M4A " in listed)


def _is_mpeg_layer_3(head: bytes) -> bool:
    """Whether two frames follow each other: eleven set bits alone occur in any noise."""
    length = _mpeg_frame_length(head[:4])
    return (
        length > 0
        and _mpeg_frame_length(head[length : length + 4]) > 0
        # Version, layer and sample rate stay the same within a file.
        and (head[1] ^ head[length + 1]) & 0xFE == 0
        and (head[2] ^ head[length + 2]) & 0x0C == 0
    )


def _mpeg_frame_length(header: bytes) -> int:
    """Bytes of the layer III frame with this header, 0 if it is none (ISO/IEC 11172-3, 13818-3)."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version = header[1] >> 3 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    bit_rate, sample_rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bit_rate in (0, 15) or sample_rate == 3:
        return 0
    if version == 3:
        kilobits = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[bit_rate - 1]
    else:
        kilobits = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[bit_rate - 1]
    hertz = (44_100, 48_000, 32_000)[sample_rate] >> {3: 0, 2: 1, 0: 2}[version]
    padding = header[2] >> 1 & 1
    return (144 if version == 3 else 72) * kilobits * 1000 // hertz + padding


def file_stem(number: int, title: str) -> str:
    """Name a song's file as people see it, without the extension: `42-midnight-train`.

    At most `MAX_STEM` characters, and only lower-case letters and digits of any script (with
    their vowel signs) and single hyphens: what every file system takes and Discord's Markdown
    leaves alone. The number in front also keeps it off Windows' reserved names.
    """
    words = "".join(_name_characters(title)).split()
    stem = "-".join([str(number), *words])[:MAX_STEM].rstrip("-")
    return unicodedata.normalize("NFC", stem)[:MAX_STEM]


def _name_characters(title: str) -> Iterator[str]:
    """Letters, digits and their marks; a space for all that parts words."""
    kept = False
    for c in unicodedata.normalize("NFKC", title).lower():
        if c in "'\u2019":  # "don't" is one word
            continue
        # A mark belongs to the letter before it. Hangul fillers and variation selectors are
        # letters and marks to Unicode, but nobody sees them.
        invisible = c in "\u115f\u1160\u034f" or "\ufe00" <= c <= "\ufe0f" or c >= "\U000e0000"
        kept = not invisible and (c.isalnum() or (kept and unicodedata.category(c)[0] == "M"))
        yield c if kept else " "
