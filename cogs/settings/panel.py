"""The settings of a server, page by page: records in, one message out. Pure, no I/O.

Pages follow the catalogue: a topic of server settings is a page of lines, a topic of settings about
roles or members a list. Limits are Discord's ("Components Overview"): 40 components in a message,
nested ones counted, and 4,000 characters in all of its texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import discord
from discord import ui

from cogs.client.components import ID
from cogs.client.texts import BLURPLE, ago, calendar_text, counted, shown
from cogs.credits.texts import bar
from cogs.settings.channels import GONE
from cogs.settings.texts import mention, value_text
from services.settings import kinds
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BUDGET,
    CALENDAR,
    CATALOGUE,
    LOG,
    MEMBER_ALLOWANCE,
    ROLE_ALLOWANCE,
    About,
    Setting,
    Topic,
)
from services.settings.reader import Settings

MEMBER_MENU = "settings:member"
MEMBER = "member"
"""The page that explains one member's credits."""
ROWS_SHOWN = 7
"""Roles or members on one page: each takes three components."""
LIST_SHOWN = 25
"""Channels or words of one setting."""
DANGER, PLAIN = discord.ButtonStyle.danger, discord.ButtonStyle.secondary
PRIMARY = discord.ButtonStyle.primary

TITLES = {
    Topic.CREDITS: ("Credits", "How many credits members get, and when they refill."),
    Topic.ROLES: ("Roles", ""),
    Topic.MEMBERS: ("Members", ""),
    Topic.LIMITS: ("Limits", "What members can request, where, and who can't."),
    Topic.BLOCKED: ("Blocked members", ""),
    Topic.MORE: ("More", "What is posted for managers, and what members can do."),
}
"""Each page's name, and what it is about."""
LISTED = {setting.topic: setting for setting in CATALOGUE if setting.about is not About.SERVER}
"""The settings about one role or member, each with a separate page."""
ADD = {ROLE_ALLOWANCE: "Add a role", MEMBER_ALLOWANCE: "Add a member", BLOCK: "Block a member"}
OTHER_COMMANDS = (
    "`/quota history` shows every change and can undo it.\n"
    "`/quota usage` shows what is spent, `/quota export` has it all as a table.\n"
    "`/quota grant` and `/quota take` give and take credits."
)


# --- pages, and how buttons and forms name them ---------------------------------------------------
# All that a button or a form needs is in its `custom_id`, so both outlive a restart of the bot. It
# is never trusted: permissions are checked when it is used.


@dataclass(frozen=True, slots=True)
class PanelPage:
    """A topic and the number of its page, from 1; of `MEMBER` the number is the member's id."""

    name: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.name}:{self.number}"


PAGE = rf"(?P<page>{'|'.join((*Topic, MEMBER))}):(?P<number>{ID})"
"""What `PanelPage` writes, as the end of a `custom_id`."""


def tab_id(topic: str) -> str:
    """Name a button that opens a topic."""
    return f"settings:tab:{topic}:1"


def turn_id(page: PanelPage) -> str:
    """Name a button that turns to another page: ids must differ from those of the tabs."""
    return f"settings:turn:{page}"


def form_id(form: str, page: PanelPage, subject_id: int = 0) -> str:
    """Name a form and its button. `subject_id`: the role or member that it is about."""
    return f"settings:form:{form}:{subject_id}:{page}"


def act_id(act: str, key: str, page: PanelPage, subject_id: int = 0) -> str:
    """Name a button that changes a setting at once: `on`, or `reset` to the default."""
    return f"settings:act:{act}:{key}:{subject_id}:{page}"


# --- a page ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PanelData:
    """A server's settings, as far as one page shows them.

    `used` is counted against the budget in the current period. `rows` are the roles or members of
    this page with their values, and `count` is how many there are; on the page of limits, how many
    members are blocked now. `living` are the roles that exist, None if that isn't known.
    `obstacles`: why nothing can be posted in the channels of settings, as far as that is known.
    """

    settings: Settings
    at: datetime
    used: int = 0
    rows: Sequence[tuple[int, Any]] = ()
    count: int = 0
    living: frozenset[int] | None = None
    obstacles: Mapping[Setting[Any], str] = field(default_factory=dict)

    @property
    def each(self) -> str:
        """Return the period in force, as in "10 credits a day"."""
        return f"a {self.settings.timeline.at(self.at).every}"


class Layout(ui.LayoutView):
    """A message of components. discord.py need not keep it: its buttons say what they are for."""

    def __init__(self, *items: ui.Item["Layout"]) -> None:
        super().__init__(timeout=None)
        for item in items:
            self.add_item(item)
        self.stop()


def panel(data: PanelData, page: PanelPage) -> Layout:
    """Return one page of the settings; the last one if its number is too high."""
    here = Topic(page.name)
    items = _list_page(data, page) if here in LISTED else _topic_page(data, page)
    current = Topic.LIMITS if here is Topic.BLOCKED else here
    tabs = [
        ui.Button[Layout](
            label=title,
            custom_id=tab_id(topic),
            style=PRIMARY if topic is current else PLAIN,
            disabled=topic is here,
        )
        for topic, (title, _) in TITLES.items()
        if topic is not Topic.BLOCKED
    ]
    return Layout(ui.Container(*items, accent_colour=BLURPLE), ui.ActionRow(*tabs))


# --- settings of the server -----------------------------------------------------------------------


def sections(topic: Topic) -> list[tuple[str, list[Setting[Any]]]]:
    """Return the settings of a topic, those of a group together: the form's name, and them."""
    found = [s for s in CATALOGUE if s.topic is topic and s.about is About.SERVER]
    return [
        (group[0].key, group)
        for _, each in groupby(found, key=lambda setting: setting.group or setting.key)
        if (group := list(each))
    ]


def _topic_page(data: PanelData, page: PanelPage) -> Iterator[ui.Item[Layout]]:
    topic = Topic(page.name)
    title, note = TITLES[topic]
    yield ui.TextDisplay(f"## {title}\n{note}")
    yield ui.Separator()
    for form, group in sections(topic):
        yield from _section(data, page, form, group)
    if topic is Topic.LIMITS:
        blocked = counted(data.count, "member") if data.count else "nobody"
        show = _button("Show", turn_id(PanelPage(Topic.BLOCKED)))
        yield _line("Blocked members", blocked, BLOCK.help, show)
    if topic is Topic.MORE:
        yield ui.Separator()
        yield ui.TextDisplay(OTHER_COMMANDS)


def _section(
    data: PanelData, page: PanelPage, form: str, group: Sequence[Setting[Any]]
) -> Iterator[ui.Item[Layout]]:
    setting, current = group[0], data.settings[group[0]]
    change = _button("Change", form_id(form, page))
    if len(group) > 1:
        lines = "\n".join(f"{each.label}: {_current(data, each)}" for each in group)
        yield ui.Section(f"**{setting.group}**\n{lines}", accessory=change)
        return
    is_on = bool(current) or current == ""
    act = act_id("reset" if is_on else "on", setting.key, page)
    if isinstance(setting.kind, kinds.Toggle):
        change = _button("Forbid" if is_on else "Allow", act)
    elif isinstance(setting.kind, kinds.Reason):
        change = _button("Resume" if is_on else "Pause", act)
    value = "\n".join((_current(data, setting), *_details(data, setting)))
    yield _line(setting.label, value, setting.help, change)
    if isinstance(setting.kind, kinds.Reason) and is_on:
        label = "Change the reason" if current else "Give a reason"
        yield ui.ActionRow(_button(label, form_id(form, page)))


def _current(data: PanelData, setting: Setting[Any]) -> str:
    in_force = data.settings.timeline.at(data.at) if setting is CALENDAR else data.settings[setting]
    text = value_text(setting, in_force, each=data.each, most=LIST_SHOWN)
    return f"{text} (the default)" if data.settings.is_default(setting) else text


def _details(data: PanelData, setting: Setting[Any]) -> Iterator[str]:
    """Say what is worth knowing about a setting's value now."""
    settings, now = data.settings, data.at
    if setting is ALLOWANCE:
        prices = settings.defaults.prices
        yield f"A song of a minute costs {prices.of(60, 50):,}, the shortest {prices.of(10, 50):,}."
    elif setting is CALENDAR:
        yield f"Next {ago(settings.timeline.period(now).end)}"
        if following := settings.timeline.next(now):
            begins, calendar = following
            yield f"From {shown(begins)}: {calendar_text(calendar)}"
    elif setting is BUDGET:
        budget = settings[BUDGET]
        gauge = f"{bar(data.used, budget)} " if budget else ""
        yield f"{gauge}{data.used:,} used in this period"
        if settings[LOG] is None or LOG in data.obstacles:
            yield "Set a log channel that I can write in to be warned at 80% and at 100%."
    elif isinstance(setting.kind, kinds.Channel) and setting in data.obstacles:
        why = data.obstacles[setting]
        if why == GONE:
            yield f"**The channel was deleted**, so {setting.kind.without}."
        else:
            yield f"**I can't post there**: {why}."


# --- settings about roles and members -------------------------------------------------------------


def _list_page(data: PanelData, page: PanelPage) -> Iterator[ui.Item[Layout]]:
    topic = Topic(page.name)
    setting = LISTED[topic]
    here, pages = nearest(page, data.count)
    add = _button(ADD[setting], form_id(setting.key, here))
    yield ui.Section(f"## {TITLES[topic][0]}\n{setting.help}", accessory=add)
    yield ui.Separator()
    if not data.rows:
        yield ui.TextDisplay("Nobody is blocked." if setting is BLOCK else "None is set.")
    for subject_id, value in data.rows:
        yield _row(data, setting, subject_id, value, here)
    if pages > 1:
        back, on = PanelPage(here.name, here.number - 1), PanelPage(here.name, here.number + 1)
        yield ui.ActionRow(
            ui.Button(label="Back", custom_id=turn_id(back), disabled=back.number < 1),
            ui.Button(label=f"{here.number} of {pages}", custom_id=turn_id(here), disabled=True),
            ui.Button(label="Next", custom_id=turn_id(on), disabled=on.number > pages),
        )
    if setting is MEMBER_ALLOWANCE:
        menu = ui.UserSelect[Layout](
            custom_id=MEMBER_MENU, placeholder="See what a member has, and why"
        )
        yield ui.ActionRow(menu)


def _row(
    data: PanelData,
    setting: Setting[Any],
    subject_id: int,
    value: Any,  # noqa: ANN401
    here: PanelPage,
) -> ui.Section[Layout]:
    name, text = mention(setting, subject_id), value_text(setting, value, each=data.each)
    until = getattr(value, "until", None)
    if until is not None and until <= data.at:
        text += f" (ended {ago(until)})"
    remove = act_id("reset", setting.key, here, subject_id)
    button = _button("Edit", form_id(setting.key, here, subject_id))
    if setting is BLOCK:
        button = _button("Unblock", remove)
    elif setting.about is About.ROLE and data.living is not None and subject_id not in data.living:
        name, text = "A deleted role", f"{text}, which nobody gets"
        button = _button("Remove", remove, DANGER)
    return ui.Section(f"{name}\n{text}", accessory=button)


def nearest(page: PanelPage, count: int) -> tuple[PanelPage, int]:
    """Return the page within those that so many rows fill, and how many those are."""
    pages = max(1, -(-count // ROWS_SHOWN))
    return PanelPage(page.name, min(max(1, page.number), pages)), pages


# --- parts ----------------------------------------------------------------------------------------


def _line(name: str, value: str, note: str, button: ui.Button[Layout]) -> ui.Section[Layout]:
    return ui.Section(f"**{name}**\n{value}\n-# {note}", accessory=button)


def _button(label: str, custom_id: str, style: discord.ButtonStyle = PLAIN) -> ui.Button[Layout]:
    return ui.Button(label=label, custom_id=custom_id, style=style)
