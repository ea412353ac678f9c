"""The connection that this package's functions take, and one without a thread."""

import sqlite3
from collections.abc import Awaitable, Iterable
from typing import Any, Protocol


class Cursor(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """The number of rows that it changed."""
        ...


class Connection(Protocol):
    """An aiosqlite connection, or that of `Database.transact`."""

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
        """Run a statement and return all its rows."""
        ...


class InlineConnection:
    """Runs statements synchronously, for code on the writer's thread."""

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
        """Run a statement and return all its rows."""
        rows: list[sqlite3.Row] = self._connection.execute(sql, parameters).fetchall()
        return rows
