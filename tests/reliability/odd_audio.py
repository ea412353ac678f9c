# mypy: allow-untyped-calls
# (mutagen has no annotations)
"""Files as song services, encoders and taggers really write them, by the public report of each."""

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3

SECONDS = 10


def tone(hertz: int, channels: int, seconds: int = SECONDS) -> Any:
    """-1 to 1, shaped (channels, samples)."""
    time = np.arange(hertz * seconds) / hertz
    return np.stack([0.3 * np.sin(2 * np.pi * 220 * (c + 1) * time) for c in range(channels)])


def encoded(
    container: str,
    codec: str,
    *,
    hertz: int = 44_100,
    layout: str = "stereo",
    options: dict[str, str] | None = None,
    sample_format: str | None = None,
    seconds: int = SECONDS,
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as out:
        stream: Any = out.add_stream(codec, rate=hertz, layout=layout)
        if sample_format:
            stream.format = sample_format
        wave = tone(hertz, stream.layout.nb_channels, seconds).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave, "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = hertz, 0, Fraction(1, hertz)
        fifo = av.AudioResampler(stream.format, layout, hertz, stream.frame_size or None)
        for piece in [*fifo.resample(frame), *fifo.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return file.getvalue()


def extensible_24_bit() -> bytes:
    """WAVE_FORMAT_EXTENSIBLE, 24 bits, 96 kHz (wavefile 11, wavio 4, librosa 694)."""
    hertz, channels = 96_000, 2
    values = (tone(hertz, channels) * (2**23 - 1)).astype("<i4").T.reshape(-1)
    data = values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    guid = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x008\x9bq"
    fmt = struct.pack("<HHIIHHHHI", 0xFFFE, channels, hertz, hertz * 6, 6, 24, 22, 24, 3) + guid
    return riff((b"fmt ", fmt), (b"data", data))


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WAVE" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chained_ogg() -> bytes:
    """Two Ogg streams, one behind the other (QMPlay2 94)."""
    half = encoded("ogg", "libvorbis", seconds=SECONDS // 2)
    return half + half


def ogg_without_an_end() -> bytes:
    """Its last page is missing (music-metadata 608)."""
    complete = encoded("ogg", "libopus", hertz=48_000)
    return complete[: complete.rindex(b"OggS")]


def fragmented_mp4() -> bytes:
    """No sample table in front (mutagen 133)."""
    return encoded("mp4", "aac", options={"movflags": "frag_keyframe+empty_moov", "brand": "M4A "})


def mp3_with_a_large_cover() -> bytes:
    """A picture of 3 MB in front, and an APE tag behind (MusicBot and taggers)."""
    file = io.BytesIO(encoded("mp3", "libmp3lame"))
    tags = ID3()
    tags.add(APIC(mime="image/png", type=3, desc="", data=b"\x89PNG" + b"\0" * 3_000_000))
    tags.save(file)
    file.seek(0)
    ape = APEv2()
    ape["Title"] = "x"
    ape.save(file)
    return file.getvalue()


def flac_with_a_picture() -> bytes:
    file = io.BytesIO(encoded("flac", "flac", sample_format="s16"))
    flac = FLAC(file)
    picture = Picture()
    picture.type, picture.mime, picture.data = 3, "image/png", b"\x89PNG" + b"\0" * 100_000
    flac.add_picture(picture)
    file.seek(0)
    flac.save(file)
    return file.getvalue()


PLAYABLE: dict[str, Callable[[], bytes]] = {
    "24-bit extensible WAV": extensible_24_bit,
    "8-bit mono WAV of 8 kHz": lambda: encoded("wav", "pcm_u8", hertz=8_000, layout="mono"),
    "64-bit float WAV": lambda: encoded("wav", "pcm_f64le"),
    "5.1 WAV": lambda: encoded("wav", "pcm_s16le", layout="5.1"),
    "mu-law WAV": lambda: encoded("wav", "pcm_mulaw", hertz=8_000, layout="mono"),
    "ADPCM WAV": lambda: encoded("wav", "adpcm_ms"),
    "RF64": lambda: encoded("wav", "pcm_s16le", options={"rf64": "always"}),
    "chained Ogg": chained_ogg,
    "Ogg without its last page": ogg_without_an_end,
    "fragmented MP4": fragmented_mp4,
    "ALAC in M4A": lambda: encoded("ipod", "alac"),
    "MP3 with a large cover": mp3_with_a_large_cover,
    "FLAC with a picture": flac_with_a_picture,
    "MP3 of 8 kHz": lambda: encoded("mp3", "libmp3lame", hertz=8_000, layout="mono"),
    "FLAC in Ogg": lambda: encoded("ogg", "flac", sample_format="s16"),
}
REFUSED: dict[str, Callable[[], bytes]] = {
    "AVI with sound": lambda: encoded("avi", "pcm_s16le"),
    "AC-3": lambda: encoded("ac3", "ac3"),
}
