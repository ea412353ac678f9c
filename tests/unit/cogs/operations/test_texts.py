"""Texts of the messages to the operator."""

from syrupy.assertion import SnapshotAssertion

from cogs.operations import texts
from db.records import Server
from services.operations.incidents import Kind

SERVERS = [Server(1_000, "Synths", None), *(Server(n, None, None) for n in range(1_001, 1_012))]


def test_wording(snapshot: SnapshotAssertion) -> None:
    assert [
        *(texts.BEGINS[kind] for kind in Kind),
        *(texts.ENDS[kind] for kind in Kind),
        texts.added(1, allowed=True),
        texts.added(12, allowed=False),
        texts.names_of(SERVERS[:1]),
        texts.names_of(SERVERS),
    ] == snapshot
