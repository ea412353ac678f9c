"""Shared by the tests of operations."""

import asyncio

import pytest


class FakeOperator:
    """An operator who may be unreachable, or slow to reach."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.reachable = True
        self.sending = asyncio.Event()
        self.may_arrive = asyncio.Event()
        self.may_arrive.set()

    async def notify(self, text: str, *, detail: str = "") -> bool:
        self.sending.set()
        await self.may_arrive.wait()
        if self.reachable:
            self.received.append(f"{text} {detail}".strip())
        return self.reachable


@pytest.fixture
def operator() -> FakeOperator:
    return FakeOperator()
