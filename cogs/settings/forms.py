"""Forms: their fields, and what was typed into them.

A form's answer is handled from the raw interaction, so that it outlives a restart of the bot. Its
limits are Discord's ("Modals"): five fields, labels of 45 characters, descriptions of 100.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import discord
from discord import ui

from cogs.client.client import Services
from cogs.settings.places import ID
from services.errors import InvalidRequest
from services.settings.server_settings import Manager
from services.settings.settings import Defaults, Rules

LONGEST_NUMBER = 20
NUMBER = re.compile(r"\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+|\d+")
"""A whole number, with or without a mark between its thousands."""
UNLIMITED = frozenset({"unlimited", "no limit", "\N{INFINITY}"})


@dataclass(frozen=True, slots=True)
class Now:
    """What a form is filled in with before it opens: what stands. `subject_id` as in its id.

    `rules` has the rules about the subject, where that is a member.
    """

    rules: Rules
    defaults: Defaults
    at: datetime
    subject_id: int
    guild: discord.Guild | None


@dataclass(frozen=True, slots=True)
class Typed:
    """What a form was sent with: texts, ticks and chosen ids by the names of its fields."""

    values: Mapping[str, Any]
    resolved: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Typed":
        """From an interaction's data."""
        return cls(dict(_fields(data)), data.get("resolved") or {})

    def text(self, name: str) -> str:
        """A text, without spaces around it; empty where nothing was typed."""
        return str(self.values.get(name) or "").strip()

    def one(self, name: str) -> str:
        """What was chosen of a menu of texts; empty where nothing was."""
        chosen = self.values.get(name)
        return str(chosen[0]) if isinstance(chosen, list) and chosen else ""

    def ticked(self, name: str) -> bool:
        """Whether a box was ticked."""
        return self.values.get(name) is True

    def ids(self, name: str) -> list[int]:
        """The channels, roles or members that were chosen."""
        chosen = self.values.get(name)
        found = chosen if isinstance(chosen, list) else []
        return [int(one) for one in found if re.fullmatch(ID, str(one))]

    def is_bot(self, user_id: int) -> bool:
        """Whether a user that was chosen is a bot, as Discord says with the choice."""
        return bool(self.resolved.get("users", {}).get(str(user_id), {}).get("bot"))


@dataclass(frozen=True, slots=True)
class Sent:
    """A form that somebody sent who may: they manage the server."""

    interaction: discord.Interaction[Any]
    services: Services
    by: Manager
    subject_id: int
    typed: Typed


@dataclass(frozen=True, slots=True)
class Form:
    """What a form asks, and what becomes of it.

    `keep` names the field whose text comes back where it is refused: it was long to type.
    """

    title: str
    fields: Callable[[Now], Iterable[ui.Item[ui.Modal]]]
    apply: Callable[[Sent], Awaitable[None]]
    keep: str | None = None

    def open(self, custom_id: str, now: Now) -> ui.Modal:
        """The form, filled in with what stands."""
        modal = ui.Modal(title=self.title, custom_id=custom_id, timeout=None)
        for field in self.fields(now):
            modal.add_item(field)
        # discord.py would keep every form that was ever opened; ours needs no keeping.
        modal.stop()
        return modal


# --- fields ---------------------------------------------------------------------------------------


def text_field(
    name: str,
    label: str,
    note: str,
    *,
    value: str = "",
    placeholder: str | None = None,
    required: bool = True,
    longest: int = LONGEST_NUMBER,
) -> ui.Label[ui.Modal]:
    """A text to type."""
    return ui.Label(
        text=label,
        description=note,
        component=ui.TextInput(
            custom_id=name,
            default=value or None,
            placeholder=placeholder,
            required=required,
            max_length=longest,
        ),
    )


def tick_field(name: str, label: str, note: str) -> ui.Label[ui.Modal]:
    """A box to tick."""
    return ui.Label(text=label, description=note, component=ui.Checkbox(custom_id=name))


# --- what was typed -------------------------------------------------------------------------------


def number_typed(what: str, text: str) -> int:
    """A whole number.

    Raises:
        InvalidRequest: it is none.
    """
    if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
        raise InvalidRequest(f"Please type {what} as a whole number, like `20`.")
    return int(re.sub(r"\D", "", text))


def allowance_typed(text: str) -> int | None:
    """Credits, or None for `unlimited`.

    Raises:
        InvalidRequest: it is neither.
    """
    if text.casefold() in UNLIMITED:
        return None
    if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
        raise InvalidRequest(
            "Please type the credits as a whole number, like `20`, or `unlimited`."
        )
    return int(re.sub(r"\D", "", text))


def _fields(part: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    """Each field's name and value, however deep Discord nests it."""
    inner = [*(part.get("components") or ()), *filter(None, [part.get("component")])]
    own = part.get("value", part.get("values"))
    here = [(str(part.get("custom_id")), own)] if own is not None else []
    return [*here, *(field for one in inner for field in _fields(one))]
