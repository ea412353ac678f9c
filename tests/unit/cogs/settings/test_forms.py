"""What was typed into a form, however Discord nests it."""

from typing import Any

import pytest

from cogs.settings.forms import Typed, allowance_typed, number_typed
from services.errors import InvalidRequest


def sent(*fields: dict[str, Any], **data: Any) -> Typed:
    labels = [{"type": 18, "component": field} for field in fields]
    return Typed.of({"custom_id": "settings:form", "components": labels, **data})


def test_fields_are_found_in_labels_and_in_rows() -> None:
    row = {"type": 1, "components": [{"type": 4, "custom_id": "old", "value": "way"}]}
    label = {"type": 18, "component": {"type": 4, "custom_id": "new", "value": " way "}}
    typed = Typed.of({"components": [row, {"type": 10}, label]})
    assert (typed.text("old"), typed.text("new")) == ("way", "way")


def test_what_was_left_out_is_empty() -> None:
    typed = sent({"custom_id": "text", "value": None}, {"custom_id": "menu", "values": []})
    assert typed.text("text") == typed.text("absent") == typed.one("menu") == typed.one("no") == ""
    assert typed.ids("menu") == typed.ids("absent") == []
    assert not typed.ticked("absent")


def test_only_ids_count_as_chosen() -> None:
    typed = sent({"custom_id": "roles", "values": ["12", "x", "9" * 30, "-1", 34]})
    assert typed.ids("roles") == [12, 34]
    assert sent({"custom_id": "roles", "value": "12"}).ids("roles") == []


def test_a_tick_is_true_and_nothing_else() -> None:
    assert sent({"custom_id": "box", "value": True}).ticked("box")
    assert not sent({"custom_id": "box", "value": "yes"}).ticked("box")


def test_bots_are_known_by_what_came_with_the_choice() -> None:
    typed = sent(resolved={"users": {"5": {"bot": True}, "6": {}}})
    assert typed.is_bot(5)
    assert not typed.is_bot(6)
    assert not typed.is_bot(7)


@pytest.mark.parametrize(
    ("text", "number"),
    [("20", 20), ("007", 7), ("1,000", 1_000), ("1 000 000", 1_000_000), ("1.000", 1_000)],
)
def test_whole_numbers_with_any_mark_between_thousands(text: str, number: int) -> None:
    assert number_typed("the amount", text) == allowance_typed(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "ten", "1,00", "1e3", "9" * 21, "\u00b2"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Please type the amount as a whole number"):
        number_typed("the amount", text)
    with pytest.raises(InvalidRequest, match="as a whole number, like `20`, or `unlimited`"):
        allowance_typed(text)


@pytest.mark.parametrize("text", ["unlimited", "Unlimited", "NO LIMIT", "\N{INFINITY}"])
def test_unlimited_is_a_value(text: str) -> None:
    assert allowance_typed(text) is None
