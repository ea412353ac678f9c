"""The song API names an address inside as the place of a song. Nothing there hears of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from services.providers import addresses
from tests.security import answers
from tests.security.answers import AUDIO, ROOT, SIGNED
from tests.security.house import house_on_a_line
from tests.security.line import Reply

HTTP = ("http", "https")
NOT_FETCHED = "The song service's result could not be fetched."

# Loopback, link-local, private, shared and special addresses, as people and libraries write them.
LITERAL = (
    *("127.0.0.1", "127.1", "127.255.255.254", "0", "0.0.0.0", "2130706433", "0x7f000001"),
    *("0177.0.0.1", "017700000001", "0x7f.1", "127.0.0.1.", "\u2460\u2461\u2466.0.0.1"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]"),
    *("[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fe80::1%25lo]"),
    *("[fc00::1]", "[fd00:ec2::254]", "169.254.169.254", "2852039166", "[::ffff:a9fe:a9fe]"),
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200", "168.63.129.16"),
    *("192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "localhost", "localhost."),
    *("LOCALHOST", "sub.localhost", "inside.example", "a@127.0.0.1", "songs.example@127.0.0.1"),
)
ELSEWHERE = (
    *(
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "gopher://127.0.0.1:{port}/a",
        "//127.0.0.1:{port}",
    ),
    *("http:\\\\127.0.0.1:{port}\\a", "http:127.0.0.1:{port}", "jar:http://127.0.0.1:{port}!/"),
    *("http://songs.example:{port}#@127.0.0.1/", "dict://127.0.0.1:{port}/", "unix:///run/x.sock"),
)


class Names(AbstractResolver):
    """A DNS that says of every name what the test wants, one answer after the other."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        address = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        about = {"hostname": host, "host": address, "port": port, "family": kind, "proto": 0}
        return [cast("ResolveResult", {**about, "flags": socket.AI_NUMERICHOST})]

    async def close(self) -> None:
        """Nothing is open."""


class Inside:
    """A server on this machine, such as a cloud's metadata would be; it remembers who came."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[str] = []
        self.location: str | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append(request.path)
        if self.location and request.path == "/first":
            return web.Response(status=302, headers={"Location": self.location})
        return web.Response(body=AUDIO)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator["Inside"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    async with Inside().up() as inside:
        yield inside


def naming(outputs: Sequence[str]) -> Callable[[str, URL], Reply]:
    """An API whose songs, one after the other, are said to be there."""
    left = ["", *outputs]

    def answer(method: str, url: URL) -> Reply:
        if method == "POST":
            del left[0]
            return answers.WELL["submit"]
        return answers.well({"status": "COMPLETED", "output": left[0]})

    return answer


async def test_no_song_is_fetched_from_inside(
    tmp_path: Path, inside: Inside, figure: Callable[[str], None]
) -> None:
    """However the address is spelled, and whatever the system's resolver would make of it."""
    outputs = [
        *(f"{scheme}://{host}:{inside.port}/a.wav?{SIGNED}" for host in LITERAL for scheme in HTTP),
        *(text.format(port=inside.port) for text in ELSEWHERE),
    ]
    async with house_on_a_line(tmp_path, naming(outputs), resolver=Names("127.0.0.1")) as house:
        for number, output in enumerate(outputs, start=1):
            assert await asyncio.wait_for(house.fails(number), 10) == NOT_FETCHED, output
    assert inside.heard == []
    figure(f"{len(outputs)} spellings, none dialled")


async def test_no_redirect_leads_inside(tmp_path: Path, inside: Inside) -> None:
    """Neither from the API's own host, which is trusted with the key, nor over several hops."""
    targets = [f"http://{host}:{inside.port}/a?{SIGNED}" for host in LITERAL]
    targets += [f"//127.0.0.1:{inside.port}/a", "file:///etc/passwd", "/hop"]
    api, left = naming([f"{ROOT}/files/a.wav?{SIGNED}"] * len(targets)), ["", *targets]

    def answer(method: str, url: URL) -> Reply:
        if method == "POST":
            del left[0]
        if "/files/" not in url.path and url.path != "/hop":
            return api(method, url)
        location = "/hop" if url.path == "/hop" else left[0]
        head = f"HTTP/1.1 302 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        return Reply(head.encode())

    async with house_on_a_line(tmp_path, answer, resolver=Names("127.0.0.1")) as house:
        for number, target in enumerate(targets, start=1):
            assert await asyncio.wait_for(house.fails(number), 10) == NOT_FETCHED, target
    assert inside.heard == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"),
        *("64:ff9b::7f00:1", "fd00:ec2::254", "0.0.0.0", "100.64.0.1"),
    ],
)
async def test_no_name_leads_inside(tmp_path: Path, inside: Inside, address: str) -> None:
    outputs = [f"http://storage.example:{inside.port}/a.wav?{SIGNED}"]
    names = Names(address)
    async with house_on_a_line(tmp_path, naming(outputs), resolver=names) as house:
        assert await house.fails(1) == NOT_FETCHED
    assert names.asked == ["storage.example"]
    assert inside.heard == []


async def test_a_name_that_changes_its_mind_leads_nowhere_inside(
    tmp_path: Path, inside: Inside
) -> None:
    """What was public when it was first resolved is judged again for each socket (rebinding).

    Loopback's first address plays the open internet here.
    """
    inside.location = f"http://storage.example:{inside.port}/second"
    names = Names("127.0.0.1", "127.0.0.2")
    outputs = [f"http://storage.example:{inside.port}/first"]
    first = [ip_network("127.0.0.1")]
    async with house_on_a_line(tmp_path, naming(outputs), resolver=names, allow=first) as house:
        assert await house.fails(1) == NOT_FETCHED
    assert names.asked == ["storage.example"] * 2
    assert inside.heard == ["/first"]


async def test_the_judged_address_is_the_dialled_one(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the judging and the dialling nobody asks the DNS again."""
    judged: list[str] = []

    def is_public(address: str) -> bool:
        judged.append(address)
        return True

    monkeypatch.setattr(addresses, "is_public", is_public)
    monkeypatch.setattr(addresses, "is_own", lambda *_: False)
    names = Names("127.0.0.1", "10.0.0.1")
    outputs = [f"http://storage.example:{inside.port}/song.wav"]
    async with house_on_a_line(tmp_path, naming(outputs), resolver=names) as house:
        await house.add(1)
        await house.start(1)
        assert (await house.song(1)).status == "COMPLETED"
    assert judged == ["127.0.0.1"]
    assert names.asked == ["storage.example"]
    assert inside.heard == ["/song.wav"]


async def test_no_song_is_fetched_from_this_machine(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from an address that is public: a firewall may stand before its ports."""
    monkeypatch.setattr(addresses, "is_public", lambda _: True)
    outputs = [
        f"http://{host}:{inside.port}/a.wav?{SIGNED}" for host in ("127.0.0.1", "me.example")
    ]
    names = Names("127.0.0.1")
    async with house_on_a_line(tmp_path, naming(outputs), resolver=names) as house:
        for number in (1, 2):
            assert await house.fails(number) == NOT_FETCHED
    assert inside.heard == []
