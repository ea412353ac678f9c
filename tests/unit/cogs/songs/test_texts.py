"""What people read about songs."""

from syrupy.assertion import SnapshotAssertion

from cogs.client.texts import refusal_text
from services.errors import ServerNotAllowed, SongsPaused
from services.songs.admission import (
    BlockedWord,
    Cooldown,
    MemberBlocked,
    MemberHasUndelivered,
    ServerHasUndelivered,
    ServerPaused,
    SongTooLarge,
    TooManyElsewhere,
    TooManyInProgress,
    TooManyRefunds,
    WrongChannel,
)
from tests.factories import NOON


def test_wording(snapshot: SnapshotAssertion) -> None:
    refusals = [
        ServerNotAllowed(7),
        SongsPaused(),
        MemberHasUndelivered(5),
        ServerHasUndelivered(25),
        ServerPaused(""),
        ServerPaused("exams"),
        MemberBlocked("spam", None),
        MemberBlocked("spam", NOON),
        WrongChannel([12, 13]),
        SongTooLarge("seconds", 60),
        BlockedWord("spam"),
        TooManyRefunds(2, NOON),
        TooManyElsewhere(1),
        TooManyInProgress(1, 1),
        Cooldown(60, NOON),
    ]
    assert [refusal_text(refusal) for refusal in refusals] == snapshot
