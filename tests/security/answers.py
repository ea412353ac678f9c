"""What the song API, and whatever stands between it and the bot, can answer: for Hypothesis."""

import base64
import functools
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from yarl import URL

from tests.security.inputs import BEYOND, NASTY
from tests.world.answered import KEY, REFUSED, ROOT, Reply
from tests.world.services import quiet

SIGNED = "Signature=0a1b2c3d"
"""In every address: it opens the file to whoever reads it."""
ID = "0123456789abcdef"
AUDIO = quiet()


class Long(str):
    """A text whose repr is short, for where a test fails."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self):,} characters: {self[:20]}...>"


class Big(bytes):
    """A body whose repr is short."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self):,} bytes: {self[:40]!r}...>"


def kind_of(method: str, url: URL) -> str:
    """Return what a call is for."""
    if "/files/" in url.path:
        return "file"
    if method == "POST":
        return "submit" if "/v2/" in url.path else "make"
    if url.path.endswith("/status"):
        return "poll"
    return "credits" if url.path.endswith("credits") else "result"


BASE64 = Long(base64.b64encode(AUDIO).decode())
ADDRESSES = (
    *(f"{ROOT}/files/song.wav?{SIGNED}", f"{ROOT}/files/song?{SIGNED}#{SIGNED}", "/files/song"),
    *(f"https://storage.example/a.wav?{SIGNED}", f"http://127.0.0.1:9/a.mp3?{SIGNED}"),
    *(f"http://169.254.169.254/latest?{SIGNED}", f"http://[::1]/?{SIGNED}", "file:///etc/passwd"),
    *(f"http://songs.example:x/?{SIGNED}", "http://", f"//songs.example/files?{SIGNED}", "data:,"),
    *(f"http://a:b@songs.example/?{SIGNED}", f"HTTP://SONGS.EXAMPLE/api/files/1?{SIGNED}"),
    *(f"http://{'a' * 64}.example/?{SIGNED}", f"http://a..b/?{SIGNED}", f"http://\ud800/?{SIGNED}"),
    *(f"http://xn--a/?{SIGNED}", Long(f"http://songs.example/{'a' * 9_000}?{SIGNED}")),
    *("http://%00/", BASE64, Long(f"data:audio/wav;base64,{BASE64}"), "A" * 80),
    f"data:audio/wav;base64,{BASE64[:99]}",
)
REASONS = (
    *("The content was blocked.", f"key {KEY} is unknown", f"see {ADDRESSES[0]}", "<b>no</b>"),
    *("@everyone", "\x1b[2J", "a\nb\r\n2026-01-01 CRITICAL", "&lt;i&gt;&#0;", Long("x" * 10_000)),
)


# --- values ---------------------------------------------------------------------------------------


class Raw(str):
    """A number as it is written: JSON allows more of them than Python writes."""

    __slots__ = ()


NUMBERS = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from(BEYOND),
    st.sampled_from([Raw("1e400"), Raw("-1e400"), Raw("-0"), Raw("1e-400"), Raw("9" * 5_000)]),
)
TEXTS = st.one_of(
    st.text(st.characters(), max_size=20),
    st.sampled_from([text for text in NASTY if len(text) < 500]),
    st.sampled_from(ADDRESSES),
    st.sampled_from(REASONS),
)
KNOWN = ("status", "output", "error", "message", "detail", "url", "audio", "credits", "request_id")
NAMES = st.one_of(st.sampled_from(KNOWN), st.text(max_size=5))
VALUES: SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


def likely(*values: Any) -> SearchStrategy[Any]:
    """One of these, mostly."""
    known = st.sampled_from(values)
    return st.one_of(known, known, known, VALUES)


STATES = ("QUEUED", "PROCESSING", "COMPLETED", "FAILED")
ODD_STATES = ("completed", " Failed\n", "SUCCEEDED", "", "queued", "COMPLETED\0")
STATUS = likely(*STATES, *STATES, *ODD_STATES)
OUTPUT = st.one_of(
    st.sampled_from(ADDRESSES[:2]),
    st.sampled_from(ADDRESSES),
    st.lists(st.sampled_from(ADDRESSES) | VALUES, max_size=3),
    st.dictionaries(NAMES, st.sampled_from(ADDRESSES) | VALUES, max_size=3),
    VALUES,
)
ERROR = st.one_of(
    st.sampled_from(REASONS),
    st.sampled_from(REASONS).map(lambda text: {"message": text}),
    st.sampled_from(REASONS).map(lambda text: [{"msg": text, "loc": ["body", 1]}] * 7),
    VALUES,
)


fields = st.fixed_dictionaries
METRICS = fields({"inference_time": st.one_of(st.just(11.56), NUMBERS, VALUES)})
DOCUMENTED: dict[str, SearchStrategy[Any]] = {
    "submit": fields(
        {"request_id": likely(ID, ID, "..", "a/b", "\u00e9", "x" * 201, "a?b#c%2f")},
        optional={"status": STATUS, "status_url": TEXTS, "response_url": TEXTS, "error": ERROR},
    ),
    "poll": fields(
        {"status": STATUS},
        optional={"output": OUTPUT, "metrics": METRICS | VALUES, "error": ERROR, "detail": ERROR},
    ),
    "result": fields(
        {"status": likely("COMPLETED", *ODD_STATES), "output": OUTPUT},
        optional={"metrics": METRICS | VALUES, "error": ERROR, "detail": ERROR},
    ),
    "credits": fields({"credits": NUMBERS | VALUES}, optional={"error": ERROR}),
    "make": fields({"output": OUTPUT}, optional={"status": STATUS, "error": ERROR, "image": TEXTS}),
    "error": fields(
        {}, optional={"error": ERROR, "detail": ERROR, "message": TEXTS, "status": STATUS}
    ),
}


def _raw(value: Any) -> Any:
    """Mark what has to be written as it is."""
    match value:
        case Raw():
            return f"<<{value}>>"
        case dict():
            return {name: _raw(inner) for name, inner in value.items()}
        case list():
            return [_raw(inner) for inner in value]
    return value


def written(value: Any, *, escaped: bool = True) -> bytes:
    """Write JSON, with all that its readers accept and its standard does not."""
    text = json.dumps(_raw(value), ensure_ascii=escaped)
    text = text.replace('"<<', "").replace('>>"', "")
    return text.encode("utf-8", "surrogatepass")


# --- bodies ---------------------------------------------------------------------------------------

HUGE = (
    *(b" " * 2**21, b"A" * 2**21, b"[" * 2**20, b"[" * 100_000 + b"]" * 100_000, b"\0" * 2**21),
    *(b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b"[" + b"1," * 700_000 + b"1]"),
    b'{"status": "COMPLETED", "output": "' + b"A" * 2**21 + b'"}',
    b'{"status": "FAILED", "error": "' + b"<" * 2**19 + b'"}',
    b'{"status": "FAILED", "error": "' + b"http://a?" * 50_000 + b'"}',
    b'{"status": "QUEUED", "x": "' + b"\\ud800" * 100_000 + b'"}',
)
PAGES = (
    *(b"<!DOCTYPE html><title>502</title>", b"<html>\xff\xfe</html>", b"Bad Gateway", b"", b"null"),
    *(b"#EXTM3U\nhttp://127.0.0.1/", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"ID3", b"OggS", b"RIFF"),
    *(b"\xef\xbb\xbf{}", b"{", b'"', b"[]", b"NaN", b"\x1f\x8b", b"\0", b"\xff" * 100),
)
CUT = (AUDIO[:-1], AUDIO[:5_000], AUDIO[4:], AUDIO * 2)
SOUNDS = (Big(AUDIO), Big(AUDIO), *map(Big, CUT), b"RIFF" + bytes(100))


@functools.cache  # a new strategy for each draw takes ten times as long
def bodies(kind: str) -> SearchStrategy[bytes]:
    """Of an answer to a call of this kind: as documented, near it, far from it."""
    near = st.builds(written, DOCUMENTED[kind])
    texts = st.builds(
        lambda value, escaped: written(value, escaped=escaped),
        st.one_of(DOCUMENTED[kind], DOCUMENTED["error"], VALUES),
        st.booleans(),
    )
    cut = st.builds(lambda body, at: body[: at % (len(body) + 1)], texts, st.integers(0, 500))
    coded = st.builds(
        lambda value, code: json.dumps(_raw(value)).encode(code),
        DOCUMENTED[kind],
        st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7"]),
    )
    plain = st.one_of(near, near, texts, cut, coded, st.binary(max_size=50), st.sampled_from(PAGES))
    huge, sounds = st.sampled_from(HUGE).map(Big), st.sampled_from(SOUNDS)
    # What is huge is rare: it takes a thousand times as long.
    return st.integers(0, 199).flatmap(lambda n: huge if n == 57 else sounds if n < 8 else plain)


FILES = st.one_of(
    st.sampled_from(SOUNDS), st.sampled_from(SOUNDS), st.sampled_from(PAGES), st.binary(max_size=60)
)

# --- headers --------------------------------------------------------------------------------------


def _gzip(body: bytes, level: int = 1) -> bytes:
    return gzip.compress(body, level, mtime=0)


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "deflate": lambda body: zlib.compress(body, 1),
    "DEFLATE": lambda body: zlib.compress(body, 1)[2:-4],
    "x-gzip": _gzip,
    "gzip, gzip": lambda body: _gzip(_gzip(body)),
    "identity": lambda body: body,
    "br": lambda body: body,
    "zstd": lambda body: b"\x28\xb5\x2f\xfd" + body,
    "": lambda body: body,
}
WAITS = (
    *(
        "0",
        "1",
        "10",
        "-1",
        "1.5",
        "1e9",
        "9" * 400,
        "99999",
        "NaN",
        "inf",
        "",
        " 3 ",
        "\xb2",
        "3s",
    ),
    *("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 99 Oct 2026 07:28:00 GMT", "tomorrow", "1, 2", "0x10"),
    *("Wed, 21 Oct 0001 07:28:00", "Fri, 31 Dec 9999 23:59:59 GMT"),
    "Mon, 01 Jan 0001 00:00:00 +2359",
)
TYPES = (
    *("application/json", "application/json; charset=utf-8", "application/json; charset=none"),
    *("text/html", "audio/wav", "audio/mpeg; a", "multipart/form-data; boundary=", "", ";", "\xff"),
)
ODD = (
    *("Set-Cookie: a=b; Domain=.example", "Set-Cookie: =;;=\xff", "X: \xff\xfe", "X:", ": x", "X"),
    *("Connection: close", "Connection: upgrade\r\nUpgrade: websocket", "X: a\0b", "X: a\rb"),
    *("X y: z", "Date: -", "Link: <x>", "Content-Type: a\r\nContent-Type: b"),
    *("X: " + "a" * 9_000, "\r\n".join(f"X{n}: 1" for n in range(300)), " folded", "Date: \xff"),
    *("Date: Wed, 21 Oct 2026 07:28:00 GMT", "Content-Length: 1", "Content-Length: -1"),
    "Content-Length: 99999999999999999999",
    *("Content-Length: x", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, gzip"),
    *("Trailer: X", "X: \x1b[2J", "Content-Encoding: gzip\r\nContent-Encoding: gzip"),
)

GOOD, BAD = (200, 200, 200, 201, 202), (400, 401, 403, 404, 406, 408, 422, 429, 500, 502, 503, 504)
STATUS_CODES = st.one_of(
    st.sampled_from(GOOD), st.sampled_from(GOOD), st.sampled_from(BAD), st.integers(100, 599)
)
FILE_CODES = st.one_of(st.sampled_from(GOOD), st.sampled_from((*GOOD, *BAD, 206, 301, 302, 307)))
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LINES = (
    *(
        b"HTTP/1.1 999 X\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"\r\n\r\n",
    ),
    *(b"HTTP/1.1 200\r\n\r\n{}", b"ICY 200 OK\r\n\r\n", b"HTTP/1.1 -1 X\r\n\r\n", b"SSH-2.0-x\r\n"),
    *(b"", b"H", OK + b"A", OK + b"\r\n", b"\x16\x03\x01\x02\0", b"\0", b"{}"),
    *(b"HTTP/1.1 200 " + b"a" * 9_000 + b"\r\n\r\n", b"HTTP/1.1 200 \xff\x1b[2J\r\n\r\n{}"),
    b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + OK + b"Content-Length: 2\r\n\r\n{}",
    *(CHUNKED + b"fffffffffffffffff\r\n", CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n"),
    CHUNKED + b"2;" + b"x" * 9_000 + b"\r\n{}\r\n0\r\n\r\n",
    OK + b"Content-Length: 2\r\n\r\n{}" + OK + b"Content-Length: 0\r\n\r\n",
)


def _reply(
    code: int,
    body: bytes,
    framing: str,
    coding: tuple[str, bool],
    headers: list[str],
    cut: int | None,
) -> Reply:
    """Put a reply together; `coding` is a name, and whether the body is really coded so."""
    name, truly = coding
    if name:
        headers = [*headers, f"Content-Encoding: {name}"]
        body = CODINGS[name](body) if truly else body
    if framing == "chunked":
        headers = [*headers, "Transfer-Encoding: chunked"]
        half = len(body) // 2
        parts = [part for part in (body[:half], body[half:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    elif framing != "until it closes":
        headers = [*headers, f"Content-Length: {max(len(body) + int(framing), 0)}"]
    head = "\r\n".join([f"HTTP/1.1 {code} X", *headers]).encode("latin-1", "replace")
    content = head + b"\r\n\r\n" + body
    kept = content if cut is None else content[: cut % len(content)]
    return Reply(Big(kept) if len(kept) > 1_000 else kept, reset=cut is not None)


FRAMING = st.sampled_from(["0", "0", "0", "0", "chunked", "until it closes", "7", "-3"])
CODING = st.one_of(
    st.just(("", True)),
    st.just(("", True)),
    st.tuples(st.sampled_from(sorted(CODINGS)), st.booleans()),
)
HEADERS = st.lists(
    st.one_of(
        st.sampled_from(TYPES).map("Content-Type: {}".format),
        st.sampled_from(WAITS).map("Retry-After: {}".format),
        st.sampled_from(ADDRESSES[:-4]).map("Location: {}".format),
        st.sampled_from(ODD),
    ),
    max_size=3,
)


@functools.cache
def _bomb(coding: str) -> Reply:
    """A small reply that becomes 32 MiB."""
    body = b'{"status": "COMPLETED", "output": "' + b"A" * 2**25 + b'"}'
    packed = _gzip(body, 9) if coding == "gzip" else zlib.compress(body, 9)
    return _reply(200, packed, "0", ("", True), [f"Content-Encoding: {coding}"], None)


RARE = st.one_of(
    st.sampled_from(["deflate", "gzip"]).map(_bomb),
    st.just(REFUSED),
    st.builds(Reply, st.sampled_from(LINES), st.booleans()),
    st.builds(Reply, st.binary(max_size=60), st.booleans()),
)


@functools.cache
def replies(kind: str) -> SearchStrategy[Reply]:
    """To a call of this kind; `file` is the fetching of a song."""
    well_made = st.builds(
        _reply,
        FILE_CODES if kind == "file" else STATUS_CODES,
        FILES if kind == "file" else bodies(kind),
        FRAMING,
        CODING,
        HEADERS,
        st.none() | st.none() | st.none() | st.integers(0, 400),
    )
    fine = st.builds(
        lambda body: _reply(200, body, "0", ("", True), [], None),
        st.just(Big(AUDIO)) if kind == "file" else bodies(kind),
    )
    return st.integers(0, 19).flatmap(lambda n: RARE if n == 13 else fine if n < 5 else well_made)


def well(value: object) -> Reply:
    """A good answer of the API."""
    return _reply(200, written(value), "0", ("", True), ["Content-Type: application/json"], None)


WELL = {
    "submit": well({"request_id": ID, "status": "QUEUED"}),
    "poll": well({"status": "COMPLETED"}),
    "result": well({"status": "COMPLETED", "output": f"{ROOT}/files/song.wav?{SIGNED}"}),
    "credits": well({"credits": 12.5}),
    "make": _reply(200, AUDIO, "0", ("", True), ["Content-Type: audio/wav"], None),
    "file": _reply(200, AUDIO, "0", ("", True), ["Content-Type: audio/wav"], None),
}
"""What the API answers when all is well."""
