"""The ledger: what the schema itself refuses, whoever writes."""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from db import ledger, servers
from db.connection import Connection
from db.database import Database
from db.records import Lot, LotSums, Reason, State, to_ms
from services.credits.credits import Credits
from services.settings.settings import Member
from tests.factories import (
    MEMBER,
    NOON,
    SERVER,
    add_held_song,
    add_song,
    make_song,
    sums_of,
)

WHO = Member(SERVER, MEMBER)
TODAY = NOON.replace(hour=0)


async def enter(database: Database, kind: str, after: str | None = None, **other: Any) -> bool:
    """One entry for song 1, as the schema wants it unless `other` says otherwise."""
    values: dict[str, Any] = {
        "kind": kind,
        "song_id": 1,
        "after_id": f"{after}:1" if after else None,
        "amount": {"hold": -2, "settle": 0}.get(kind, 2),
        "price": 2,
        "period_at": TODAY if kind == "hold" else None,
        "at": NOON,
    }
    values |= other
    entry_id = values.pop("entry_id", f"{kind}:1")
    account = Member(values.pop("server_id", SERVER), values.pop("member_id", MEMBER))
    async with database.write() as connection:
        return await ledger.insert(connection, entry_id, account, **values)


@pytest.fixture
async def held(database: Database, credits: Credits) -> None:
    await add_held_song(database, credits)


@pytest.mark.usefixtures("held")
async def test_fact_is_entered_once(database: Database) -> None:
    assert not await enter(database, "hold")
    assert await enter(database, "settle", "hold")
    assert not await enter(database, "settle", "hold")
    assert await enter(database, "compensate", "settle")
    assert not await enter(database, "compensate", "settle")


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(("first", "second"), [("settle", "refund"), ("refund", "settle")])
async def test_hold_has_one_end(database: Database, first: str, second: str) -> None:
    assert await enter(database, first, "hold")
    with pytest.raises(sqlite3.IntegrityError, match=r"ledger\.song_id"):
        await enter(database, second, "hold")


@pytest.mark.usefixtures("held")
async def test_only_a_settled_song_is_compensated(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await enter(database, "compensate", "settle")
    await enter(database, "refund", "hold")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await enter(database, "compensate", "settle")
    for wrong in ("refund", "hold"):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            await enter(database, "compensate", wrong)


@pytest.mark.parametrize("kind", ["settle", "refund"])
async def test_end_needs_a_hold(database: Database, kind: str) -> None:
    await add_song(database)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await enter(database, kind, "hold")


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("hold", {"amount": 1}),
        ("hold", {"amount": -1}),
        ("hold", {"amount": -3}),
        ("hold", {"price": None}),
        ("hold", {"period_at": None}),
        ("hold", {"entry_id": "hold:2"}),
        ("hold", {"after_id": "hold:1"}),
        ("hold", {"song_id": None}),
        ("settle", {"amount": -1}),
        ("settle", {"price": None}),
        ("settle", {"period_at": TODAY}),
        ("settle", {"amount": 1}),
        ("settle", {"after_id": None}),
        ("refund", {"amount": -1}),
        ("refund", {"amount": 1}),
        ("refund", {"amount": 3}),
        ("refund", {"price": None}),
        ("refund", {"after_id": None}),
        ("refund", {"entry_id": "refund:one"}),
        ("compensate", {"amount": -1}),
        ("compensate", {"amount": 1}),
        ("grant", {"song_id": None, "amount": 0}),
        ("grant", {"song_id": None, "amount": -1}),
        ("grant", {"song_id": 1}),
        ("expire", {"song_id": None, "amount": 0}),
        ("expire", {"song_id": None, "amount": 1}),
        ("allowance", {"song_id": 1, "amount": 1}),
        ("gift", {"song_id": None, "amount": 0}),
        ("gift", {"song_id": 1}),
        ("take", {"song_id": None, "amount": 1}),
        ("take", {"song_id": 1, "amount": -1}),
        ("take", {"song_id": None, "amount": -1, "period_at": TODAY}),
        ("loan", {"song_id": None, "amount": 1}),
    ],
)
async def test_inconsistent_entry_is_refused(
    database: Database, kind: str, other: dict[str, Any]
) -> None:
    after = {"settle": "hold", "refund": "hold", "compensate": "settle"}.get(kind)
    if kind == "compensate":
        await enter(database, "settle", "hold")
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await enter(database, kind, **{"after_id": f"{after}:1" if after else None} | other)


@pytest.mark.parametrize("amount", [0, -2])
async def test_free_song_records_its_price(database: Database, amount: int) -> None:
    """An unlimited member's hold is 0, and then its return as well."""
    await add_song(database)
    assert await enter(database, "hold", amount=amount)
    assert await enter(database, "refund", "hold", amount=-amount)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    ("kind", "amount"),
    [("take", 0), ("take", -1), ("gift", 1), ("gift", -1), ("grant", 1), ("expire", -1)],
)
async def test_sign_of_entries_without_a_song(database: Database, kind: str, amount: int) -> None:
    assert await enter(
        database, kind, entry_id=f"{kind}:5", song_id=None, amount=amount, price=None
    )


@pytest.mark.parametrize(
    ("other"),
    [
        {"member_id": 5},
        {"server_id": 5},
        {"song_id": 5, "entry_id": "hold:5"},
    ],
)
async def test_entry_needs_a_member_and_a_song(database: Database, other: dict[str, Any]) -> None:
    await add_song(database)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await enter(database, "hold", **other)


async def add_lot(database: Database, **changes: Any) -> None:
    async with database.write() as connection:
        await servers.ensure_server(connection, SERVER)
        await servers.ensure_member(connection, SERVER, MEMBER)
        await ledger.insert_lot(connection, "lot", WHO, kind="grant", amount=5, expires_at=None)
        for name, value in changes.items():
            await connection.execute(f"UPDATE lots SET {name} = ?", (value,))


async def read_lot(connection: Connection) -> Lot:
    found = await ledger.get_lot(connection, "lot")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "value"), [("remaining", -1), ("remaining", 6), ("amount", 4), ("kind", "loan")]
)
async def test_lot_is_neither_overdrawn_nor_overfilled(
    database: Database, name: str, value: object
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await add_lot(database, **{name: value})


@pytest.mark.parametrize(
    ("by", "resize", "left"), [(-5, False, (5, 0)), (-5, True, (0, 0)), (3, True, (8, 8))]
)
async def test_lot_changes_only_as_it_was_read_and_within_its_amount(
    database: Database, by: int, resize: bool, left: tuple[int, int]
) -> None:
    await add_song(database)
    await add_lot(database, revision=1)
    await enter(database, "hold")
    lot = await read_lot(database.reader)
    async with database.write() as connection:
        for other in (replace(lot, revision=0), replace(lot, lot_id="none")):
            assert not await ledger.change_lot(connection, "hold:1", other, by=-1)
        assert not await ledger.change_lot(connection, "hold:1", lot, by=-6, resize=resize)
        assert not await ledger.change_lot(connection, "hold:1", lot, by=1)
        assert await ledger.parts(connection, "hold:1") == []
        assert await ledger.change_lot(connection, "hold:1", lot, by=by, resize=resize)
        assert not await ledger.change_lot(connection, "hold:1", lot, by=0)
    lot = await read_lot(database.reader)
    assert (lot.amount, lot.remaining) == left
    assert await ledger.parts(database.reader, "hold:1") == [(lot, by)]


async def test_lots_are_sorted_by_expiry(database: Database) -> None:
    await add_lot(database)
    async with database.write() as connection:
        for lot_id, hours in (("b", 2), ("a", 2), ("c", 1), ("over", 0), ("empty", 1)):
            await ledger.insert_lot(
                connection,
                lot_id,
                WHO,
                kind="allowance",
                amount=0 if lot_id == "empty" else 1,
                expires_at=NOON + timedelta(hours=hours),
            )
    reader = database.reader
    spendable = await ledger.spendable(reader, WHO, at=NOON)
    assert [lot.lot_id for lot in spendable] == ["c", "a", "b", "lot"]
    assert spendable[::-1] == await ledger.lasting_longest(reader, WHO, at=NOON)
    granted = await ledger.spendable(reader, WHO, at=NOON, granted_only=True)
    assert granted == [lot for lot in spendable if lot.kind != "allowance"]
    assert await ledger.sums(reader, WHO, at=NOON) == sums_of(spendable)
    assert await ledger.sums(reader, Member(SERVER, 404), at=NOON) == LotSums()
    (over,) = await ledger.expired(reader, WHO, at=NOON, except_id="a")
    assert over.lot_id == "over"
    assert await ledger.expired(reader, WHO, at=NOON, except_id="over") == []


# --- What a song's row can't hold ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (State.COMPLETED, {"ended_at": None}),
        (State.WAITING, {"ended_at": NOON}),
        (State.WAITING, {"processing": 1}),
        (State.COMPLETED, {"post_id": None}),
        (State.COMPLETED, {"reason": Reason.CHANNEL_GONE}),
        (State.COMPLETED, {"posting_at": None}),
        (State.COMPLETED, {"file": "1.mp3"}),
        (State.COMPLETED, {"in_doubt": True}),
        (State.COMPLETED, {"fault": "service"}),
        (State.UNDELIVERED, {"post_id": 5}),
        (State.UNDELIVERED, {"reason": None}),
        (State.UNDELIVERED, {"file": None}),
        (State.UNDELIVERED, {"in_doubt": 2}),
        (State.REFUNDED, {"reason": None}),
        (State.REFUNDED, {"in_doubt": True}),
        (State.FAILED, {"reason": None}),
        (State.FAILED, {"fault": "member"}),
        (State.FAILED, {"post_id": 5}),
        (State.CANCELLED, {"submits": 1}),
        (State.CANCELLED, {"request_id": "r"}),
        (State.CANCELLED, {"fault": "request"}),
        (State.CANCELLED, {"lyrics": "[verse]\nMidnight train"}),
        (State.SUBMITTED, {"submitted_at": None}),
        (State.DOWNLOADED, {"submitted_at": None}),
        (State.READY, {"file": None}),
        (State.POSTING, {"posting_at": None}),
        (State.POSTING, {"in_doubt": True}),
        (State.SUBMITTING, {"submits": 3}),
        (State.WAITING, {"price": -1}),
        (State.WAITING, {"token": "t"}),
        (State.WAITING, {"token_until": NOON}),
        (State.WAITING, {"fault": "member"}),
        (State.WAITING, {"state": "lost"}),
    ],
)
async def test_inconsistent_song_is_refused(
    database: Database, state: State, fields: dict[str, Any]
) -> None:
    base = make_song(1, state=state)
    await add_song(database, 2)
    song = {name: getattr(base, name) for name in type(base).__dataclass_fields__} | fields
    columns = ", ".join(song)
    values = [to_ms(v) if v is NOON else v for v in song.values()]
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await database._writer.execute(
            f"INSERT INTO songs ({columns}) VALUES ({', '.join('?' * len(song))})", values
        )
