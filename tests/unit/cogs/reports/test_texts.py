"""Texts about usage and exports."""

from datetime import date

from syrupy.assertion import SnapshotAssertion

from cogs.client.texts import refusal_text
from cogs.reports import texts
from services.reports.export import DaysReversed

TODAY = date(2026, 3, 14)


def test_wording(snapshot: SnapshotAssertion) -> None:
    assert [
        refusal_text(DaysReversed(TODAY, TODAY)),
        texts.EXPORT_RUNNING,
        texts.EXPORT_TOO_LONG,
        texts.not_yet(TODAY, today=TODAY),
        texts.unreadable_day(TODAY),
        texts.export_done(0, "from A to B", compressed=False),
        texts.export_done(1, "from A to B", compressed=False),
        texts.export_done(2_000, "from A to B", compressed=True),
        texts.usage_summary(0, 0, "UTC"),
        texts.usage_summary(1, 1, "UTC"),
        texts.usage_summary(2_000, 3, "Europe/Berlin"),
    ] == snapshot
