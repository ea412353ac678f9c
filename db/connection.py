"""What the functions of this room need of a connection, and one that needs no thread of its own."""

import sqlite3
from collections.abc import Awaitable, Iterable
from typing import Any, Protocol


class Cursor(Protocol):
    """What a statement left behind."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...


class Connection(Protocol):
    """An aiosqlite connection, or one that `Database.transact` hands out."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Awaitable[Cursor]:  # noqa: ANN401
        """Run a statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Awaitable[Cursor]:
        """Run a statement for each row of parameters."""
        ...

    def execute_fetchall(
        self,
        sql: str,
        parameters: Any = ...,  # noqa: ANN401
        /,
    ) -> Awaitable[Iterable[sqlite3.Row]]:
        """Run a statement and give all its rows."""
        ...


class InlineConnection:
    """A connection whose statements have run when they return: for code on the writer's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Any = (), /) -> Cursor:  # noqa: ANN401
        """Run a statement."""
        return self._connection.execute(sql, parameters)

    async def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        """Run a statement for each row of parameters."""
        return self._connection.executemany(sql, parameters)

    async def execute_fetchall(
        self,
        sql: str,
        parameters: Any = (),  # noqa: ANN401
        /,
    ) -> Iterable[sqlite3.Row]:
        """Run a statement and give all its rows."""
        rows: list[sqlite3.Row] = self._connection.execute(sql, parameters).fetchall()
        return rows
