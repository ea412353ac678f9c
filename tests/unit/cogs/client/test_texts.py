"""Sentences of refusals."""

from collections.abc import Iterator

import pytest
from syrupy.assertion import SnapshotAssertion

import bot  # noqa: F401 - imports the texts of all subjects
from cogs.client.texts import refusal_text
from services.errors import OutOfRange, Refusal, TooLong


def every(base: type[Refusal]) -> Iterator[type[Refusal]]:
    for refusal in base.__subclasses__():
        yield refusal
        yield from every(refusal)


def known_by_name() -> list[type[Refusal]]:
    """In the same order in each process, without what a dataclass with slots has replaced."""
    found = {str(refusal): refusal for refusal in every(Refusal)}
    return [found[name] for name in sorted(found) if "services.errors." not in name]


@pytest.mark.parametrize("refusal", known_by_name(), ids=str)
def test_each_refusal_of_a_service_has_a_sentence(refusal: type[Refusal]) -> None:
    assert refusal_text.dispatch(refusal) is not refusal_text.dispatch(Refusal)


def test_wording(snapshot: SnapshotAssertion) -> None:
    refusals = [OutOfRange("seconds", 10, 1_240), OutOfRange("cfg", 1.0, 15.0), TooLong("a", 9, 8)]
    assert [refusal_text(refusal) for refusal in refusals] == snapshot
