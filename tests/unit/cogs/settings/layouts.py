"""Read messages of components."""

from collections.abc import Iterator, Sequence
from typing import Any

import simcord

from cogs.settings.panel import Layout
from tests.wire.openapi import Description

EDIT = ("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/@original")
COMPONENTS_V2 = 1 << 15


def parts(components: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every component and those nested in it."""
    for part in components:
        yield part
        yield from parts(part.get("components", ()))
        yield from parts([part["accessory"]] if "accessory" in part else ())


def text_in(components: Sequence[dict[str, Any]]) -> str:
    return "\n".join(part["content"] for part in parts(components) if part["type"] == 10)


def buttons_in(components: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the `custom_id` of the first enabled button of each label."""
    found: dict[str, str] = {}
    for part in parts(components):
        if part["type"] == 2 and not part.get("disabled"):
            found.setdefault(part["label"], part["custom_id"])
    return found


def shown_in(result: simcord.InteractionResult) -> str:
    """Return all texts of the response to a command, a button or a form."""
    assert result.response is not None
    return text_in(result.response.components)


def filled_in(form: simcord.InteractionResult) -> dict[str, Any]:
    """Return the value of each field of an opened form."""
    assert form.modal is not None
    fields = [part["component"] for part in form.modal["components"] if "component" in part]
    return {field["custom_id"]: _value_of(field) for field in fields}


def _value_of(field: dict[str, Any]) -> Any:
    if "options" in field:
        return next(one["value"] for one in field["options"] if one.get("default"))
    if "default_values" in field or field["type"] in (5, 6, 8):
        return [int(one["id"]) for one in field.get("default_values") or ()]
    return field.get("value") or field.get("default") or ""


def sent_by(view: Layout) -> list[dict[str, Any]]:
    components: list[dict[str, Any]] = view.to_components()  # type: ignore[no-untyped-call]
    return components


def check_limits(view: Layout) -> list[dict[str, Any]]:
    """Check a message against Discord's limits and its description; return what it sends."""
    components = sent_by(view)
    found = list(parts(components))
    assert len(found) <= 40
    assert len("".join(part["content"] for part in found if part["type"] == 10)) <= 4_000
    ids = [part["custom_id"] for part in found if "custom_id" in part]
    assert len(set(ids)) == len(ids)
    if description := Description.load():
        body = {"components": components, "flags": COMPONENTS_V2}
        assert description.request_errors(*EDIT, body) == []
    return components
