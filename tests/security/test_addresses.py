"""The song API says that a song is at an address inside. Nothing there gets a request."""

from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from db.records import Reason
from services.providers import addresses
from tests.security import answers
from tests.security.answers import AUDIO, SIGNED
from tests.world.answered import ROOT, Answer, Names, Reply, answered_world

HTTP = ("http", "https")
NOT_FETCHED = Reason.NOT_FETCHED

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
    *("file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1:{port}/a"),
    *("http:\\\\127.0.0.1:{port}\\a", "http:127.0.0.1:{port}", "jar:http://127.0.0.1:{port}!/"),
    *("http://songs.example:{port}#@127.0.0.1/", "dict://127.0.0.1:{port}/", "unix:///run/x.sock"),
    "//127.0.0.1:{port}",
)


class Inside:
    """A server on this machine, as a cloud's metadata would be, and the requests that it got."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[str] = []
        self.location: str | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        if self.location and request.path == "/first":
            return web.Response(status=302, headers={"Location": self.location})
        return web.Response(body=AUDIO)


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    inside, app = Inside(), web.Application()
    app.router.add_route("*", "/{path:.*}", inside.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    inside.port = runner.addresses[0][1]
    yield inside
    await runner.cleanup()


def with_outputs(outputs: Sequence[str]) -> Answer:
    """An API whose songs, one after the other, are at these addresses."""
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
    names = Names("127.0.0.1")
    async with answered_world(tmp_path, with_outputs(outputs), resolver=names) as world:
        for number, output in enumerate(outputs, start=1):
            assert await world.fails(number) == NOT_FETCHED, output
    assert inside.requests == []
    figure(f"{len(outputs)} spellings, none connected to")


async def test_no_redirect_leads_inside(tmp_path: Path, inside: Inside) -> None:
    """Neither from the API's own host, which is trusted with the key, nor over several hops."""
    targets = [f"http://{host}:{inside.port}/a?{SIGNED}" for host in LITERAL]
    targets += [f"//127.0.0.1:{inside.port}/a", "file:///etc/passwd", "/hop"]
    api, left = with_outputs([f"{ROOT}/files/a.wav?{SIGNED}"] * len(targets)), ["", *targets]

    def answer(method: str, url: URL) -> Reply:
        if method == "POST":
            del left[0]
        if "/files/" not in url.path and url.path != "/hop":
            return api(method, url)
        location = "/hop" if url.path == "/hop" else left[0]
        head = f"HTTP/1.1 302 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        return Reply(head.encode())

    async with answered_world(tmp_path, answer, resolver=Names("127.0.0.1")) as world:
        for number, target in enumerate(targets, start=1):
            assert await world.fails(number) == NOT_FETCHED, target
    assert inside.requests == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"),
        *("64:ff9b::7f00:1", "fd00:ec2::254", "0.0.0.0", "100.64.0.1"),
    ],
)
async def test_no_name_leads_inside(tmp_path: Path, inside: Inside, address: str) -> None:
    api = with_outputs([f"http://storage.example:{inside.port}/a.wav?{SIGNED}"])
    names = Names(address)
    async with answered_world(tmp_path, api, resolver=names) as world:
        assert await world.fails(1) == NOT_FETCHED
    assert names.resolved == ["storage.example"]
    assert inside.requests == []


async def test_rebound_name_does_not_lead_inside(tmp_path: Path, inside: Inside) -> None:
    """An address that was public when it was first resolved is checked again for each socket.

    Loopback's first address plays the open internet here.
    """
    inside.location = f"http://storage.example:{inside.port}/second"
    names, public = Names("127.0.0.1", "127.0.0.2"), [ip_network("127.0.0.1")]
    api = with_outputs([f"http://storage.example:{inside.port}/first"])
    async with answered_world(tmp_path, api, resolver=names, allow=public) as world:
        assert await world.fails(1) == NOT_FETCHED
    assert names.resolved == ["storage.example"] * 2
    assert inside.requests == ["/first"]


async def test_checked_address_is_the_connected_one(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is not resolved again between the check and the connection."""
    checked: list[str] = []

    def is_public(address: str) -> bool:
        checked.append(address)
        return True

    monkeypatch.setattr(addresses, "is_public", is_public)
    monkeypatch.setattr(addresses, "is_own", lambda *_: False)
    names = Names("127.0.0.1", "10.0.0.1")
    api = with_outputs([f"http://storage.example:{inside.port}/song.wav"])
    async with answered_world(tmp_path, api, resolver=names) as world:
        await world.completes(1)
    assert checked == ["127.0.0.1"]
    assert names.resolved == ["storage.example"]
    assert inside.requests == ["/song.wav"]


async def test_no_song_is_fetched_from_this_machine(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even from its public address: a firewall may protect its ports from others."""
    monkeypatch.setattr(addresses, "is_public", lambda _: True)
    hosts = ("127.0.0.1", "me.example")
    api = with_outputs([f"http://{host}:{inside.port}/a.wav?{SIGNED}" for host in hosts])
    async with answered_world(tmp_path, api, resolver=Names("127.0.0.1")) as world:
        for number in (1, 2):
            assert await world.fails(number) == NOT_FETCHED
    assert inside.requests == []
