"""Which addresses a song may be fetched from, and how names are resolved.

Own code, since the maintained guards are for httpx or requests, and aiohttp's resolver works
in the threads that all file work shares.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Collection
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_LOOKUPS = 32
"""Names that are resolved at the same time."""

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
# Public by number, or to some versions of Python's `ipaddress`: Azure's host of a machine; IETF's
# assignments, where Oracle's metadata are; the relays of 6to4 (RFC 7526); documentation (RFC 9637).
_SPECIAL = [
    ipaddress.ip_network(network)
    for network in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "3fff::/20")
]


class GuardedSockets:
    """Makes sockets to addresses that downloads may reach; remembers why it refused one.

    aiohttp calls it with the very address that it connects to, so neither a literal address, a
    name that resolves differently the second time, nor a redirect gets past it.

    Args:
        host: whose address it will be, as the URL says.
        allowed: networks and names of hosts that may be reached besides the public ones, this
            machine's own addresses among them.
    """

    def __init__(self, host: str, allowed: Collection[Network | str] = ()) -> None:
        self._any = host.lower().rstrip(".") in allowed
        self._networks = [one for one in allowed if not isinstance(one, str)]
        self.refused: str | None = None

    def __call__(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        text = str(address[0])
        ip = ipaddress.ip_address(text)
        if not self._any and not any(ip in network for network in self._networks):
            public = is_public(text)
            if not public or is_own(family, address):
                what = "this machine's own" if public else "not a public"
                self.refused = f"{text} is {what} address (DOWNLOAD_ALLOW can allow it)"
                raise PermissionError(self.refused)
        return socket.socket(family, kind, protocol)


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the open internet.

    Not: loopback, private, link-local, shared (CGNAT), multicast, reserved and documentation
    ranges (IANA's special-purpose registries), and IPv6 that stands for an IPv4 of that kind.
    """
    ip = ipaddress.ip_address(address)
    if any(ip in network for network in _SPECIAL):
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not (ip.is_multicast or ip.is_reserved)
    if ip in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)))
    # 6to4 and Teredo are obsolete (RFC 7526) and no storage is reached through them.
    return ip in _GLOBAL_UNICAST and ip.is_global and not (ip.sixtofour or ip.teredo)


# Documentation's (RFC 5737, RFC 3849): no machine has them.
_NOBODYS: dict[int, str] = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def is_own(family: int, address: tuple[Any, ...]) -> bool:
    """Return whether an address, as sockets have it, belongs to this machine.

    The kernel knows, while a list of the interfaces would take a dependency. It binds sockets to no
    other addresses, unless `ip_nonlocal_bind` is set, as with keepalived. Then what goes to the
    machine itself still leaves from the same address, but for second addresses of one network.
    """
    if not _can_bind(family, str(address[0])):
        return False
    if not _can_bind(family, _NOBODYS[family]):
        return True
    # Connecting a datagram socket chooses the sender and sends nothing.
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):  # no way there
        probe.connect(address)
        sender = ipaddress.ip_address(str(probe.getsockname()[0]))
        return sender == ipaddress.ip_address(str(address[0]))
    return False


def _can_bind(family: int, host: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.bind((host, 0))
        return True
    return False


class Resolver(AbstractResolver):
    """Resolves names in threads that nothing else uses, one for each name.

    A name whose DNS never answers keeps its thread for as long as the system's resolver tries. Such
    threads must neither keep file work waiting nor, as those of an executor do, the process's end.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MOST_LOOKUPS)
        self._running: dict[tuple[str, int, int], asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name; callers that need the same one share a lookup.

        Raises:
            OSError: there is no such name, or no DNS.
            UnicodeError: a name that can't be written for the DNS.
        """
        key = (host, port, family)
        lookup = self._running.get(key)
        if lookup is None:
            lookup = asyncio.create_task(self._resolve(*key), name=f"resolve {host}")
            self._running[key] = lookup
            lookup.add_done_callback(lambda _: self._running.pop(key))
            # The last caller may be gone when it fails: the error counts as seen.
            lookup.add_done_callback(lambda done: done.cancelled() or done.exception())
        # The caller may give up; the thread can't.
        return list(await asyncio.shield(lookup))

    async def close(self) -> None:
        """Forget the lookups that nobody waits for any more."""
        for lookup in list(self._running.values()):
            lookup.cancel()

    async def _resolve(self, host: str, port: int, family: int) -> list[ResolveResult]:
        # Only families that this machine has; Windows finds no localhost with that.
        flags = 0 if host.lower().rstrip(".") == "localhost" else socket.AI_ADDRCONFIG
        future: Future[list[Any]] = Future()

        def work() -> None:
            """May last for as long as the system's resolver tries."""
            try:
                kind = socket.SOCK_STREAM
                future.set_result(
                    socket.getaddrinfo(host, port, family=family, type=kind, flags=flags)
                )
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                future.set_exception(error)

        async with self._free:
            future.set_running_or_notify_cancel()
            threading.Thread(target=work, daemon=True, name="DNS").start()
            found = await asyncio.shield(asyncio.wrap_future(future))
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=kind,
                proto=protocol,
                flags=numeric,
            )
            for kind, _, protocol, _, address in found
        ]
