"""What Discord refuses in a body, as its documentation states it.

Messages: https://docs.discord.com/developers/resources/message
Components: https://docs.discord.com/developers/components/reference
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .calls import Refusal, refusal
from .permissions import Permission
from .state import Channel, Pings

ROW, BUTTON, SELECT, TEXT_INPUT, TEXT_DISPLAY = 1, 2, 3, 4, 10
SEPARATOR, CONTAINER, LABEL = 14, 17, 18
LINK, PREMIUM = 5, 6
CHOOSE_ONE = {"min_values": 1, "max_values": 1}
DEFAULTS: dict[int, dict[str, Any]] = {
    **dict.fromkeys((SELECT, 5, 6, 7, 8), CHOOSE_ONE),  # of texts, users, roles, either, channels
    SEPARATOR: {"spacing": 1, "divider": True},
    CONTAINER: {"accent_color": None, "spoiler": False},
}
EMBEDS, EMBED_CHARACTERS, FIELDS = 10, 6000, 25
ROWS, COMPONENTS, DISPLAYED_CHARACTERS = 5, 40, 4000
MENTION = re.compile(r"<@(&?)!?(\d+)>")

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Form:
    """Collects what is wrong with a body, to report it all at once."""

    errors: dict[str, Any] = field(default_factory=dict)

    def wrong(self, path: Path, code: str, message: str) -> None:
        at = self.errors
        for step in path:
            at = at.setdefault(str(step), {})
        at.setdefault("_errors", []).append({"code": code, "message": message})

    def length(self, path: Path, value: object, most: int, least: int = 0) -> None:
        if value is None and least == 0:
            return
        if not isinstance(value, str):
            self.wrong(path, "STRING_TYPE_CONVERT", "Could not interpret as string.")
        elif not least <= len(value) <= most:
            self.wrong(
                path, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length."
            )

    def count(self, path: Path, items: list[Any], most: int, least: int = 0) -> None:
        if not least <= len(items) <= most:
            self.wrong(
                path, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length."
            )

    def close(self) -> None:
        """Raises Refusal (400, 50035) if anything was wrong."""
        if self.errors:
            raise invalid(self.errors)


def invalid(errors: dict[str, Any]) -> Refusal:
    return refusal(400, 50035, "Invalid Form Body", errors)


def check_message(body: dict[str, Any], *, components_v2: bool, has_files: bool) -> None:
    """`body` is the complete message after the change. Raises Refusal (400)."""
    form = Form()
    form.length(("content",), body.get("content"), 2000)
    form.length(("nonce",), None if (n := body.get("nonce")) is None else str(n), 25)
    check_embeds(form, body.get("embeds") or [])
    check_components(form, body.get("components") or [], v2=components_v2)
    if components_v2 and (body.get("content") or body.get("embeds")):
        form.wrong(("content",), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", "Not both.")
    form.close()
    if not (body.get("content") or body.get("embeds") or body.get("components") or has_files):
        raise refusal(400, 50006, "Cannot send an empty message")


def check_embeds(form: Form, embeds: list[dict[str, Any]]) -> None:
    form.count(("embeds",), embeds, EMBEDS)
    total = 0
    for index, embed in enumerate(embeds):
        at: Path = ("embeds", index)
        texts = list(_embed_texts(embed))
        for path, text, most, least in texts:
            form.length((*at, *path), text, most, least)
        form.count((*at, "fields"), embed.get("fields") or [], FIELDS)
        total += sum(len(text) for _, text, _, _ in texts if isinstance(text, str))
    if total > EMBED_CHARACTERS:
        form.wrong(("embeds",), "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum of 6000")


def _embed_texts(embed: dict[str, Any]) -> Iterator[tuple[Path, object, int, int]]:
    yield ("title",), embed.get("title"), 256, 0
    yield ("description",), embed.get("description"), 4096, 0
    yield ("footer", "text"), (embed.get("footer") or {}).get("text"), 2048, 0
    yield ("author", "name"), (embed.get("author") or {}).get("name"), 256, 0
    for index, item in enumerate(embed.get("fields") or []):
        yield ("fields", index, "name"), item.get("name"), 256, 1
        yield ("fields", index, "value"), item.get("value"), 1024, 1


def check_components(form: Form, components: list[dict[str, Any]], *, v2: bool) -> None:
    every = list(walk(components))
    if v2:
        form.count(("components",), every, COMPONENTS)
        shown = sum(len(c.get("content") or "") for c in every if c.get("type") == TEXT_DISPLAY)
        if shown > DISPLAYED_CHARACTERS:
            form.wrong(("components",), "BASE_TYPE_MAX_LENGTH", "Must be 4000 or fewer in length.")
    else:
        form.count(("components",), components, ROWS)
        if any(c.get("type") != ROW for c in components):
            form.wrong(("components",), "UNION_TYPE_CHOICES", "Value of field must be one of (1,).")
    _check_custom_ids(form, every)
    for index, component in enumerate(every):
        _check_component(form, ("components", index), component)


def walk(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every component, those within others included."""
    for component in components:
        yield component
        yield from walk(component.get("components") or [])
        for inner in ("accessory", "component"):
            if component.get(inner):
                yield from walk([component[inner]])


def completed(
    components: list[dict[str, Any]], numbers: Iterator[int] | None = None
) -> list[dict[str, Any]]:
    """A copy with what Discord adds where it was left out: ids and defaults."""
    numbers = itertools.count(1) if numbers is None else numbers
    made = []
    for component in components:
        one = {**component, "id": component.get("id") or next(numbers)}
        one = {**DEFAULTS.get(component.get("type", 0), {}), **one}
        if component.get("components"):
            one["components"] = completed(component["components"], numbers)
        for inner in ("accessory", "component"):
            if component.get(inner):
                (one[inner],) = completed([component[inner]], numbers)
        made.append(one)
    return made


def _check_custom_ids(form: Form, components: list[dict[str, Any]]) -> None:
    ids = [c["custom_id"] for c in components if c.get("custom_id") is not None]
    for repeated in {i for i in ids if ids.count(i) > 1}:
        form.wrong(
            ("components",),
            "COMPONENT_CUSTOM_ID_DUPLICATED",
            f"Component custom id cannot be duplicated: {repeated}",
        )


def _check_component(form: Form, at: Path, component: dict[str, Any]) -> None:
    kind = component.get("type")
    if kind == ROW:
        inner = component.get("components") or []
        buttons = all(c.get("type") == BUTTON for c in inner)
        form.count((*at, "components"), inner, 5 if buttons else 1, 1)
    elif kind == BUTTON:
        form.length((*at, "label"), component.get("label"), 80)
        if component.get("style") not in {LINK, PREMIUM}:
            form.length((*at, "custom_id"), component.get("custom_id"), 100, 1)
    elif kind == SELECT:
        form.length((*at, "custom_id"), component.get("custom_id"), 100, 1)
        form.length((*at, "placeholder"), component.get("placeholder"), 150)
        form.count((*at, "options"), component.get("options") or [], 25, 1)
        for index, option in enumerate(component.get("options") or []):
            for name, least in (("label", 1), ("value", 1), ("description", 0)):
                form.length((*at, "options", index, name), option.get(name), 100, least)
    elif kind == TEXT_INPUT:
        _check_text_input(form, at, component)
    elif kind == LABEL:
        form.length((*at, "label"), component.get("label"), 45, 1)
        form.length((*at, "description"), component.get("description"), 100)


def _check_text_input(form: Form, at: Path, component: dict[str, Any]) -> None:
    form.length((*at, "custom_id"), component.get("custom_id"), 100, 1)
    form.length((*at, "label"), component.get("label"), 45)
    form.length((*at, "placeholder"), component.get("placeholder"), 100)
    form.length((*at, "value"), component.get("value"), min(4000, text_limit(component)))


def text_limit(component: dict[str, Any]) -> int:
    limit = component.get("max_length")
    return 4000 if limit is None else int(limit)


def check_modal(data: dict[str, Any]) -> None:
    """Raises Refusal (400, 50035)."""
    form = Form()
    components = data.get("components") or []
    form.length(("data", "custom_id"), data.get("custom_id"), 100, 1)
    form.length(("data", "title"), data.get("title"), 45, 1)
    form.count(("data", "components"), components, 5, 1)
    every = list(walk(components))
    _check_custom_ids(form, every)
    for index, component in enumerate(every):
        _check_component(form, ("data", "components", index), component)
    form.close()


def check_choices(data: dict[str, Any], option_type: int) -> None:
    """Raises Refusal (400, 50035). `option_type`: 3 text, 4 integer, 10 number."""
    form = Form()
    choices = data.get("choices") or []
    form.count(("data", "choices"), choices, 25)
    for index, choice in enumerate(choices):
        at: Path = ("data", "choices", index)
        form.length((*at, "name"), choice.get("name"), 100, 1)
        value = choice.get("value")
        if option_type == 3:
            form.length((*at, "value"), value, 100, 1)
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            form.wrong((*at, "value"), "NUMBER_TYPE_COERCE", f"Value {value!r} is not a number.")
    form.close()


def pings(
    content: str, components: list[dict[str, Any]], allowed: dict[str, Any] | None, where: Channel
) -> Pings:
    """Whom a new message notifies: https://docs.discord.com/developers/resources/message
    (allowed mentions). Embeds never notify; text displays do.
    """
    text = "\n".join([content, *(str(c.get("content") or "") for c in walk(components))])
    found = MENTION.findall(text)
    users = {int(i) for kind, i in found if not kind}
    roles = {int(i) for kind, i in found if kind}
    everyone = "@everyone" in text or "@here" in text
    if allowed is not None:
        parse = allowed.get("parse") or []
        users = users if "users" in parse else users & _ids(allowed.get("users"))
        roles = roles if "roles" in parse else roles & _ids(allowed.get("roles"))
        everyone = everyone and "everyone" in parse
    if where.guild is not None:
        users &= where.guild.members.keys()
        roles &= where.guild.roles.keys()
    everyone = everyone and where.allows(Permission.MENTION_EVERYONE)
    return Pings(frozenset(users), frozenset(roles), everyone)


def _ids(values: list[Any] | None) -> set[int]:
    return {int(value) for value in values or []}
