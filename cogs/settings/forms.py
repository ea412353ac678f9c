"""The forms of the panel: one for each setting, or group of settings, of the catalogue.

A form's answer is handled from the raw interaction, so that it outlives a restart of the bot. Its
limits are Discord's ("Modals"): five fields, labels of 45 characters, descriptions of 100. A form
states complete values: of two managers at once the later one counts, and the history has both.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import discord
from discord import ui

from cogs.client.components import ID
from cogs.client.people import roles_of
from cogs.client.quota import NO_BOTS, QuotaCommands, check_role, moment_of
from cogs.settings.channels import REQUESTED_IN, WRITTEN_IN, check_channels
from cogs.settings.panel import LISTED, sections
from services.amounts import MAX_AMOUNT, MAX_REASON
from services.calendar import LONGEST_NAME, Calendar, Every
from services.errors import InvalidRequest
from services.moments import LONGEST_TYPED
from services.settings import kinds
from services.settings.blocked_words import MAX_TYPED, parse_words
from services.settings.catalogue import About, Setting, Topic
from services.settings.reader import Settings
from services.settings.server_settings import Manager
from services.settings.settings import Block, Member, Override

LONGEST_NUMBER = 20
NUMBER = re.compile(r"\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+|\d+")
"""A whole number, with or without a mark between its thousands."""
UNLIMITED = frozenset({"unlimited", "no limit", "\N{INFINITY}"})
UNTIL = "Like: 7d, 3 months, tomorrow, 2026-12-31 18:00. Empty: {}"
EVERY = {
    Every.DAY: ("Every day", None),
    Every.WEEK: ("Every week", "On Monday"),
    Every.MONTH: ("Every month", "On the 1st"),
}
Field = ui.Item[ui.Modal]


@dataclass(frozen=True, slots=True)
class Current:
    """What a form is filled in with. `subject_id`: the role or member in its id, or 0.

    `settings` has those about the subject, if that is a member.
    """

    settings: Settings
    at: datetime
    subject_id: int
    guild: discord.Guild | None

    def is_set(self, setting: Setting[Any]) -> bool:
        """Return whether there is a value, not just the default."""
        if setting.about is About.ROLE:
            return self.subject_id in self.settings.roles
        return not self.settings.is_default(setting)

    def value(self, setting: Setting[Any]) -> Any:  # noqa: ANN401
        """Return the value in force."""
        if setting.about is About.ROLE:
            return self.settings.roles.get(self.subject_id)
        return self.settings[setting]


@dataclass(frozen=True, slots=True)
class Typed:
    """What a form was sent with: texts, ticks and chosen ids by the names of its fields."""

    values: Mapping[str, Any]
    resolved: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Typed":
        """Read an interaction's data."""
        return cls(dict(_fields(data)), data.get("resolved") or {})

    def text(self, name: str) -> str:
        """Return a text, or what was chosen of a menu of texts; empty if there is nothing."""
        value = self.values.get(name)
        return str((value[0] if isinstance(value, list) and value else value) or "").strip()

    def ids(self, name: str) -> list[int]:
        """Return the channels, roles or members that were chosen."""
        chosen = self.values.get(name)
        found = chosen if isinstance(chosen, list) else []
        return [int(one) for one in found if re.fullmatch(ID, str(one))]

    def member_id(self, name: str) -> int:
        """Return the member that was chosen.

        Raises:
            InvalidRequest: nobody, or a bot, as Discord says with the choice.
        """
        member_id = next(iter(self.ids(name)), 0)
        person = self.resolved.get("users", {}).get(str(member_id), {})
        if not member_id or person.get("bot"):
            raise InvalidRequest(NO_BOTS)
        return member_id


@dataclass(frozen=True, slots=True)
class Sent:
    """A form that somebody sent who manages the server. `subject_id`: as in its id."""

    interaction: discord.Interaction[Any]
    services: QuotaCommands
    by: Manager
    subject_id: int
    typed: Typed

    def member_id(self) -> int:
        """Return the member that it is about, in its id or chosen; raises as `Typed.member_id`."""
        return self.subject_id or self.typed.member_id("subject")

    async def moment(self, name: str) -> datetime | None:
        """Return a moment that was typed; None if the field is empty."""
        return await moment_of(self.interaction, self.typed.text(name) or None)


@dataclass(frozen=True, slots=True)
class Form:
    """A form: its fields, and what is done with what was typed.

    `returned` names the field whose text comes back if the form is refused: it was long to type.
    """

    title: str
    fields: Callable[[Current], Iterable[Field]]
    apply: Callable[[Sent], Awaitable[object]]
    returned: str | None = None

    def open(self, custom_id: str, current: Current) -> ui.Modal:
        """Return the form, filled in with the values in force."""
        modal = ui.Modal(title=self.title, custom_id=custom_id, timeout=None)
        for field in self.fields(current):
            modal.add_item(field)
        # discord.py would keep every form that was ever opened; ours needs no keeping.
        modal.stop()
        return modal


# --- the fields of a setting ----------------------------------------------------------------------


def _setting_fields(settings: Sequence[Setting[Any]], current: Current) -> Iterator[Field]:
    first = settings[0]
    if first.about is not About.SERVER:
        yield _subject_field(first.about, current.subject_id)
    for setting in settings:
        yield from _value_fields(setting, current)
    if first.about is not About.SERVER and current.is_set(first):
        yield ui.Label(
            text="Remove",
            description="Go back to what others of their roles, or the server, give",
            component=ui.Checkbox(custom_id="remove"),
        )


def _value_fields(setting: Setting[Any], current: Current) -> Iterator[Field]:
    key, value = setting.key, current.value(setting)
    match setting.kind:
        case kinds.Credits():
            yield _credits_field(setting, current, value)
        case kinds.CreditsUntil():
            yield _credits_field(setting, current, value and value.credits)
            yield _until_field(_end_typed(current.settings, value, at=current.at))
        case kinds.BlockUntil():
            yield text_field(key, "Reason", "They see it", longest=MAX_REASON)
            yield _until_field("")
        case kinds.Number() as kind:
            yield _number_field(setting, kind, current, value)
        case kinds.Reason():
            note = "Members who request a song see it. It can be empty"
            yield text_field(
                *(key, "Reason", note), value=value or "", required=False, longest=MAX_REASON
            )
        case kinds.Words():
            yield text_field(
                *(key, "Words and phrases"),
                "One in each line. Whole words are found, whatever their case and accents.",
                value="\n".join(value),
                required=False,
                longest=MAX_TYPED,
                style=discord.TextStyle.paragraph,
            )
        case kinds.Channel() as kind:
            chosen = [] if value is None else [value]
            yield _channel_field(setting, current.guild, WRITTEN_IN, chosen, kind.none, 1)
        case kinds.Channels() as kind:
            yield _channel_field(setting, current.guild, REQUESTED_IN, value, kind.none, kind.most)
        case kinds.Refill():
            yield from _refill_fields(value)


def _subject_field(about: About, subject_id: int) -> Field:
    """Name whom a form is about, or let them be chosen."""
    if about is About.ROLE:
        if subject_id:
            return ui.TextDisplay(f"For <@&{subject_id}>")
        return ui.Label(text="Role", component=ui.RoleSelect(custom_id="subject", required=True))
    if subject_id:
        return ui.TextDisplay(f"For <@{subject_id}>")
    return ui.Label(text="Member", component=ui.UserSelect(custom_id="subject", required=True))


def _number_field(
    setting: Setting[Any], kind: kinds.Number, current: Current, value: int | None
) -> Field:
    default = setting.default(current.settings.defaults)
    empty = "none" if default is None else f"{default:,}"
    return text_field(
        *(setting.key, setting.label),
        f"{kind.low:,} to {kind.high:,} {kind.unit}. Empty: {empty}",
        value="" if value is None else str(value),
        placeholder=empty,
        required=False,
    )


def _credits_field(setting: Setting[Any], current: Current, credits: int | None) -> Field:
    """An allowance, filled in unless there is none yet. To remove it, it may stay empty."""
    one_of_many = setting.about is not About.SERVER
    typed = "unlimited" if credits is None else str(credits)
    return text_field(
        *(setting.key, "Credits in each period", f"0 to {MAX_AMOUNT:,}, or: unlimited"),
        value="" if one_of_many and not current.is_set(setting) else typed,
        placeholder="20",
        required=not (one_of_many and current.is_set(setting)),
    )


def _channel_field(
    setting: Setting[Any],
    guild: discord.Guild | None,
    types: list[discord.ChannelType],
    chosen: Sequence[int],
    none: str,
    most: int,
) -> Field:
    # Discord accepts only channels that exist as already chosen.
    known = guild is not None and not guild.unavailable
    existing = [each for each in chosen if not known or (guild and guild.get_channel(each))]
    return ui.Label(
        text=setting.label,
        description=f"{setting.help} Nothing chosen: {none}"[:100],
        component=ui.ChannelSelect(
            custom_id=setting.key,
            channel_types=types,
            placeholder=none.capitalize(),
            required=False,
            min_values=0,
            max_values=most,
            default_values=list(map(discord.Object, existing)),
        ),
    )


def _refill_fields(calendar: Calendar) -> Iterator[Field]:
    options = [
        discord.RadioGroupOption(
            label=label, value=every, description=note, default=every is calendar.every
        )
        for every, (label, note) in EVERY.items()
    ]
    yield ui.Label(text="How often", component=ui.RadioGroup(custom_id="every", options=options))
    hours = [
        discord.SelectOption(label=f"{hour:02}:00", value=str(hour), default=hour == calendar.hour)
        for hour in range(24)
    ]
    yield ui.Label(
        text="At",
        description="On the clocks of the time zone, summer and winter",
        component=ui.Select(custom_id="hour", options=hours),
    )
    note = "A city in it, as in Europe/Paris or America/New_York; or UTC"
    yield text_field("zone", "Time zone", note, value=calendar.zone, longest=LONGEST_NAME)


def _until_field(value: str) -> Field:
    note = UNTIL.format("no end")
    return text_field(
        *("until", "Until when", note), value=value, required=False, longest=LONGEST_TYPED
    )


def text_field(
    name: str,
    label: str,
    note: str,
    *,
    value: str = "",
    placeholder: str | None = None,
    required: bool = True,
    longest: int = LONGEST_NUMBER,
    style: discord.TextStyle = discord.TextStyle.short,
) -> Field:
    """Return a text to type."""
    return ui.Label(
        text=label,
        description=note,
        component=ui.TextInput(
            custom_id=name,
            style=style,
            default=value or None,
            placeholder=placeholder,
            required=required,
            max_length=longest,
        ),
    )


# --- what was typed -------------------------------------------------------------------------------


async def _apply_settings(settings: Sequence[Setting[Any]], sent: Sent) -> None:
    server_settings, first = sent.services.server_settings, settings[0]
    if first.about is About.SERVER:
        values = {setting: await _typed_value(setting, sent) for setting in settings}
        await server_settings.set_all(sent.by, values)
        return
    is_role = first.about is About.ROLE
    chosen = sent.subject_id or next(iter(sent.typed.ids("subject")), 0)
    subject_id = chosen if is_role else sent.member_id()
    if sent.typed.values.get("remove") is True:
        await server_settings.reset(sent.by, first, subject_id)
        return
    if is_role:
        check_role(sent.interaction.guild, subject_id)
    await server_settings.set(sent.by, first, await _typed_value(first, sent), subject_id)


async def _typed_value(setting: Setting[Any], sent: Sent) -> Any:  # noqa: ANN401
    """Return a setting's value as it was typed, checked as far as Discord knows about it.

    Raises:
        InvalidRequest: it can't be read.
        NotPermitted: the bot can't use a channel that was chosen.
    """
    typed, text = sent.typed, sent.typed.text(setting.key)
    match setting.kind:
        case kinds.Credits():
            return allowance_typed(text)
        case kinds.CreditsUntil():
            return Override(allowance_typed(text), await _override_end(setting, sent))
        case kinds.BlockUntil():
            return Block(text, await sent.moment("until"))
        case kinds.Number():
            default = setting.default(sent.services.defaults)
            return number_typed(f"“{setting.label}”", text) if text else default
        case kinds.Words():
            return parse_words(text)
        case kinds.Channel() as kind:
            chosen = typed.ids(setting.key)[:1]
            check_channels(sent.interaction.guild, chosen, songs=kind.takes_songs)
            return next(iter(chosen), None)
        case kinds.Channels():
            check_channels(sent.interaction.guild, typed.ids(setting.key), songs=True)
            return typed.ids(setting.key)
        case kinds.Refill():
            hour = number_typed("the hour", typed.text("hour"))
            zone = typed.text("zone") or Calendar().zone
            return Calendar.parse(typed.text("every"), hour, zone)
    return text


async def _override_end(setting: Setting[Any], sent: Sent) -> datetime | None:
    """Return the end that was typed; left as it was filled in, it stays the same to the second."""
    settings = await sent.services.server_settings.read(sent.by.server_id, sent.member_id())
    stored: Override | None = settings[setting]
    filled_in = _end_typed(settings, stored, at=sent.services.clock())
    if stored and sent.typed.text("until") == filled_in:
        return stored.until
    return await sent.moment("until")


def _end_typed(settings: Settings, override: Override | None, *, at: datetime) -> str:
    """Return an end as it would be typed, on the server's clocks; empty if there is none."""
    if override is None or override.until is None:
        return ""
    return f"{override.until.astimezone(ZoneInfo(settings.timeline.at(at).zone)):%Y-%m-%d %H:%M}"


def number_typed(what: str, text: str, *, otherwise: str = "") -> int:
    """Return a whole number.

    Raises:
        InvalidRequest: it is none. The sentence ends with what else could be typed.
    """
    if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
        raise InvalidRequest(f"Please type {what} as a whole number, like `20`{otherwise}.")
    return int(re.sub(r"\D", "", text))


def allowance_typed(text: str) -> int | None:
    """Return credits, or None for `unlimited`.

    Raises:
        InvalidRequest: it is neither.
    """
    if text.casefold() in UNLIMITED:
        return None
    return number_typed("the credits", text, otherwise=", or `unlimited`")


def _fields(part: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    """Return each field's name and value, however deep Discord nests it."""
    inner = [*(part.get("components") or ()), *filter(None, [part.get("component")])]
    own = part.get("value", part.get("values"))
    here = [(str(part.get("custom_id")), own)] if own is not None else []
    return [*here, *(field for one in inner for field in _fields(one))]


# --- granting and taking credits ------------------------------------------------------------------


def _transfer_fields(note: str, current: Current, *, expires: bool) -> Iterator[Field]:
    yield _subject_field(About.MEMBER, current.subject_id)
    yield text_field("amount", "Credits", note, placeholder="5")
    yield text_field("reason", "Reason", "They see it in /credits", longest=MAX_REASON)
    if expires:
        label, note = "When what is left of it expires", UNTIL.format("never")
        yield text_field("expires", label, note, required=False, longest=LONGEST_TYPED)


async def _grant(sent: Sent) -> None:
    await sent.services.transfers.grant(
        await member_by_id(sent.interaction, sent.member_id()),
        grant_id=sent.interaction.id,
        actor_id=sent.by.actor_id,
        amount=number_typed("the credits", sent.typed.text("amount")),
        reason=sent.typed.text("reason"),
        expires_at=await sent.moment("expires"),
    )


async def _take(sent: Sent) -> None:
    await sent.services.transfers.take(
        await member_by_id(sent.interaction, sent.member_id()),
        take_id=sent.interaction.id,
        actor_id=sent.by.actor_id,
        amount=number_typed("the credits", sent.typed.text("amount")),
        reason=sent.typed.text("reason"),
    )


async def member_by_id(interaction: discord.Interaction[Any], member_id: int) -> Member:
    """Return a member as they are now: the bot stores none, so Discord is requested for roles.

    Raises:
        discord.HTTPException: it does not answer.
    """
    guild = interaction.guild
    assert guild is not None  # noqa: S101 - `manager_of` has refused what is in no server
    try:
        person = await guild.fetch_member(member_id)
    except discord.NotFound:
        return Member(guild.id, member_id, None)
    return Member(guild.id, member_id, roles_of(person))


# --- all of them ----------------------------------------------------------------------------------


def _form_of(settings: Sequence[Setting[Any]]) -> Form:
    first = settings[0]
    return Form(
        first.group or first.label,
        partial(_setting_fields, settings),
        partial(_apply_settings, settings),
        returned=first.key if isinstance(first.kind, kinds.Words) else None,
    )


FORMS = {
    **{
        key: _form_of(group)
        for topic in Topic
        for key, group in sections(topic)
        if not isinstance(group[0].kind, kinds.Toggle)
    },
    **{setting.key: _form_of([setting]) for setting in LISTED.values()},
    "grant": Form(
        "Grant credits",
        partial(_transfer_fields, f"1 to {MAX_AMOUNT:,}, on top of their allowance", expires=True),
        _grant,
    ),
    "take": Form(
        "Take credits",
        partial(
            _transfer_fields,
            "At most what they have free. Spent and held credits stay",
            expires=False,
        ),
        _take,
    ),
}
"""Each form by its name: the key of its first setting."""
