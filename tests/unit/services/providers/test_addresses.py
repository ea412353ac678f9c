"""Which addresses downloads may reach, and how names are resolved."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest

from services.errors import BadOutput, NotReached
from services.providers import addresses, downloads
from services.providers.addresses import GuardedSockets, Network, Resolver, is_own, is_public
from tests.unit.services.providers.song_api_wire import AUDIO, Names, Wire, answering, failing


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1"),
        *("2606:4700::1111", "2a00:1450:4001::200e", "64:ff9b::808:808"),
    ],
)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.2.1", "198.18.0.1"),
        *("203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("168.63.129.16", "192.0.0.1", "192.0.0.192", "192.0.0.255", "192.88.99.1", "3fff::1"),
        *("::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1"),
        *("2001:db8::1", "2001::1", "2002:7f00:1::", "2002:808:808::", "100::1", "4000::1"),
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808"),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("address", "own"), [("127.0.0.1", True), ("8.8.8.8", False), ("192.0.2.1", False)]
)
@pytest.mark.parametrize("binds_anything", [False, True])
def test_kernel_knows_this_machines_addresses(
    monkeypatch: pytest.MonkeyPatch, address: str, *, own: bool, binds_anything: bool
) -> None:
    if binds_anything:  # as where `ip_nonlocal_bind` is set
        monkeypatch.setattr(addresses, "_can_bind", lambda *_: True)
    assert is_own(socket.AF_INET, (address, 80)) is own


def test_unreachable_address_is_not_this_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "_can_bind", lambda *_: True)
    assert not is_own(socket.AF_INET, ("255.255.255.255", 80))


@pytest.mark.parametrize(
    ("allow", "reached"),
    [
        ([ip_network("198.18.0.0/15")], False),
        ([ip_network("127.0.0.0/8")], True),
        (["storage.example"], True),
        (["example"], False),
        ([ip_network("::/0"), "other.example"], False),
    ],
)
async def test_what_the_operator_allows_is_reached(
    wire: Wire, allow: list[Network | str], *, reached: bool
) -> None:
    await wire.start(answering(), resolver=Names("127.0.0.1"), allow=allow)
    storage = await wire.serve(answering(200, AUDIO))
    port = storage.rsplit(":", 1)[1]
    download = wire.download(f"http://Storage.Example.:{port}/a?sig=SECRET")
    if reached:
        assert await download == len(AUDIO)
    else:
        error = await failing(download, BadOutput, "SECRET")
        reason = "127.0.0.1 is not a public address (DOWNLOAD_ALLOW can allow it)"
        assert str(error).endswith(reason)


def test_guard_lets_a_public_address_through_after_a_refused_one() -> None:
    """A name may have both, and the client tries one after the other."""
    guard = GuardedSockets("storage.example")
    tcp = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    with pytest.raises(PermissionError, match="not a public address"):
        guard((*tcp, ("10.0.0.1", 80)))
    guard((*tcp, ("8.8.8.8", 80))).close()
    assert guard.refused is not None


class Dns:
    """The system's resolver: `dead.example` and its like are never answered for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resolved: list[str] = []
        self.answer = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, **_: object) -> list[Any]:
        self.resolved.append(host)
        if "dead" in host:
            assert self.answer.wait(30)
        if "none" in host:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", port))]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dns]:
    dns = Dns(monkeypatch)
    yield dns
    dns.answer.set()


async def test_names_without_an_answer_delay_no_file_work(
    wire: Wire, dns: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_TIMEOUT", aiohttp.ClientTimeout(connect=0.05))
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await wire.start(answering(200, AUDIO))

    async def fetch(name: str) -> None:
        await failing(wire.download(f"http://{name}.example/a?sig=SECRET"), NotReached, "SECRET")

    async with asyncio.timeout(5):
        await asyncio.gather(*(fetch(f"dead{n % 8}") for n in range(16)))
        # In the thread for files, which none of them has.
        assert await wire.download() == len(AUDIO)
    assert sorted(dns.resolved) == [f"dead{n}.example" for n in range(8)]  # one thread for each


async def test_lookup_ends_as_the_systems_does(dns: Dns) -> None:
    resolver = Resolver()
    (found,) = await resolver.resolve("storage.example", 80)
    assert (found["hostname"], found["host"], found["port"]) == ("storage.example", "192.0.2.7", 80)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolver.resolve("none.example", 80)
    waiting = asyncio.create_task(resolver.resolve("dead.example", 80))
    await asyncio.sleep(0.01)
    waiting.cancel()
    assert dns.resolved == ["storage.example", "none.example", "none.example", "dead.example"]
    again = asyncio.create_task(resolver.resolve("dead.example", 80))
    await asyncio.sleep(0)
    dns.answer.set()
    assert await again == [found | {"hostname": "dead.example"}]
    assert len(dns.resolved) == 4


async def test_lookups_that_nobody_waits_for_end_with_the_resolver(dns: Dns) -> None:
    resolver = Resolver()
    waiting = asyncio.create_task(resolver.resolve("dead.example", 80))
    await asyncio.sleep(0)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
