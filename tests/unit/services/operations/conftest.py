"""Shared by the tests of operations."""

import asyncio
from collections.abc import Sequence

import pytest

from db.records import Server
from services.operations.incidents import Kind


class FakeOperator:
    """An operator who may be unreachable, or slow to reach."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.reachable = True
        self.sending = asyncio.Event()
        self.may_arrive = asyncio.Event()
        self.may_arrive.set()

    async def incident_began(self, kind: Kind, detail: str) -> bool:
        return await self._send(f"{kind} began: {detail}")

    async def incident_ended(self, kind: Kind) -> bool:
        return await self._send(f"{kind} ended")

    async def bot_added(self, servers: Sequence[Server], *, allowed: bool) -> bool:
        names = ", ".join(server.name or "" for server in servers)
        return await self._send(f"{'allowed' if allowed else 'refused'}: {names}")

    async def _send(self, message: str) -> bool:
        self.sending.set()
        await self.may_arrive.wait()
        if self.reachable:
            self.received.append(message)
        return self.reachable


@pytest.fixture
def operator() -> FakeOperator:
    return FakeOperator()
