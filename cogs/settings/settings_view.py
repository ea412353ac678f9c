"""The settings of a server, page by page: records in, one message out. Pure, no I/O.

Limits are Discord's ("Components Overview"): 40 components in a message, nested ones counted, and
4,000 characters in all of its texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import discord
from discord import ui

from cogs.client.formatting import BLURPLE, ago, plain
from cogs.credits.credit_cards import bar
from cogs.settings.log_channel import named
from cogs.settings.places import Page, Place, act_id, form_id, look_up_id, tab_id, turn_id
from cogs.settings.texts import shown
from services.credits.amounts import Prices, credits_text
from services.credits.calendar import Calendar, Every
from services.credits.credits import EACH
from services.settings.server_settings import MAX_CHANNELS
from services.settings.settings import Allowance, Block, Defaults, Limits, Rules, Source

RULES_SHOWN = 7
"""On one page: each takes three components."""
WORDS_SHOWN = 600
"""Characters of the list of words."""
REASON_SHOWN = 100
DANGER, PLAIN = discord.ButtonStyle.danger, discord.ButtonStyle.secondary
PRIMARY, SUCCESS = discord.ButtonStyle.primary, discord.ButtonStyle.success

TABS = {
    Page.CREDITS: "Credits",
    Page.ROLES: "Roles",
    Page.MEMBERS: "Members",
    Page.LIMITS: "Limits",
    Page.MORE: "More",
}
UNDER = {Page.BLOCKED: Page.LIMITS}
"""Pages without a tab of their own, and the tab that they are reached from."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server has decided, as far as one page shows it.

    `used` is counted against the budget in the running period. `members` and `blocked` are those
    rules about members that the page shows, `count` is how many there are in all; beside the limits
    it is how many members are blocked now. `living` are the roles that exist, None where that isn't
    known. `log_obstacle`: why nothing can be posted in the log channel, as far as that is known.
    """

    rules: Rules
    defaults: Defaults
    at: datetime
    used: int = 0
    members: Sequence[tuple[int, Allowance]] = ()
    blocked: Sequence[tuple[int, Block]] = ()
    count: int = 0
    living: frozenset[int] | None = None
    log_obstacle: str | None = None

    @property
    def each(self) -> str:
        """The period in force, as in "10 credits a day"."""
        return EACH[self.rules.timeline.at(self.at).every]


class Layout(ui.LayoutView):
    """A message of components. discord.py need not keep it: its buttons say what they are for."""

    def __init__(self, *items: ui.Item["Layout"]) -> None:
        super().__init__(timeout=None)
        for item in items:
            self.add_item(item)
        self.stop()


def settings_view(settings: Settings, place: Place) -> Layout:
    """One page of the settings; the last one where its number is too high."""
    card = ui.Container[Layout](*PAGES[place.page](settings, place.number), accent_colour=BLURPLE)
    return Layout(card, _tabs(UNDER.get(place.page, place.page), here=place.page))


def _tabs(current: Page, *, here: Page) -> ui.ActionRow[Layout]:
    return ui.ActionRow(
        *(
            ui.Button(
                label=label,
                custom_id=tab_id(page),
                style=PRIMARY if page is current else PLAIN,
                disabled=page is here,
            )
            for page, label in TABS.items()
        )
    )


# --- credits --------------------------------------------------------------------------------------


def _credits_page(settings: Settings, _: int) -> Iterator[ui.Item[Layout]]:
    here = Place(Page.CREDITS)
    yield ui.TextDisplay("## Credits\nHow many there are for everyone, and when they refill.")
    yield ui.Separator()
    yield _setting(
        "Allowance",
        _allowance_text(settings),
        f"For every member, where no role or rule of their own says otherwise. "
        f"{_price_text(settings.defaults.prices)}",
        _change("allowance", here),
    )
    yield _setting(
        "Refill",
        "\n".join(_refill_lines(settings)),
        "When a new period begins. What is left of the allowance expires then.",
        _change("refill", here),
    )
    yield _setting(
        "Budget",
        _budget_text(settings),
        f"The most that all members together may spend. {_heard(settings)}",
        _change("budget", here),
    )


def _heard(settings: Settings) -> str:
    if settings.rules.log_channel_id is None or settings.log_obstacle is not None:
        return "With a log channel that I can write in, you are told at 80 % and at 100 %."
    return "Your log channel hears of it at 80 % and at 100 %."


def _allowance_text(settings: Settings) -> str:
    server = settings.rules.server
    default = " (the default)" if server.source is Source.DEFAULT else ""
    return f"{per(server.credits, settings.each)}{default}"


def _price_text(prices: Prices) -> str:
    return f"A song of a minute costs {prices.of(60, 50):,}, the shortest {prices.of(10, 50):,}."


def _refill_lines(settings: Settings) -> Iterator[str]:
    timeline, now = settings.rules.timeline, settings.at
    default = "" if timeline.spans else " (the default)"
    yield f"{refill_text(timeline.at(now))}{default}; next {ago(timeline.period(now).end)}"
    if following := timeline.next(now):
        begins, calendar = following
        yield f"From {shown(begins)} on: {refill_text(calendar)}"


def _budget_text(settings: Settings) -> str:
    budget = settings.rules.budget
    if budget is None:
        return f"None (the default). {credits_text(settings.used)} used in this period"
    return (
        f"{per(budget, settings.each)}\n{bar(settings.used, budget)} {settings.used:,} used in "
        "this period"
    )


# --- roles ----------------------------------------------------------------------------------------


def _roles_page(settings: Settings, number: int) -> Iterator[ui.Item[Layout]]:
    found = sorted(
        settings.rules.roles.items(), key=lambda rule: (rule[1] is None, rule[1] or 0), reverse=True
    )
    here, pages = nearest(Place(Page.ROLES, number), len(found))
    yield _heading(
        "Roles",
        "A different allowance for those with a role. Of several roles the highest counts; they "
        "don't add up.",
        _button("Add a role", form_id("role", here)),
    )
    yield ui.Separator()
    if not found:
        yield ui.TextDisplay(
            f"No role has an allowance of its own. For everyone: {_allowance_text(settings)}."
        )
    for role_id, credits in found[first_of(here) :][:RULES_SHOWN]:
        yield _role(settings, role_id, credits, here)
    yield from _turning(here, pages)


def _role(settings: Settings, role_id: int, credits: int | None, here: Place) -> ui.Section[Layout]:
    amount = per(credits, settings.each)
    if settings.living is not None and role_id not in settings.living:
        text = f"A role that was deleted\n{amount}, which nobody gets any more"
        return ui.Section(text, accessory=_button("Remove", act_id("role", here, role_id), DANGER))
    edit = _button("Edit", form_id("role", here, role_id))
    return ui.Section(f"<@&{role_id}>\n{amount}", accessory=edit)


# --- members --------------------------------------------------------------------------------------


def _members_page(settings: Settings, number: int) -> Iterator[ui.Item[Layout]]:
    here, pages = nearest(Place(Page.MEMBERS, number), settings.count)
    yield _heading(
        "Members",
        "An allowance for one member. It counts instead of what their roles or the server give.",
        _button("Add a member", form_id("member", here)),
    )
    yield ui.Separator()
    if not settings.members:
        yield ui.TextDisplay("No member has an allowance of their own.")
    for member_id, allowance in settings.members:
        edit = _button("Edit", form_id("member", here, member_id))
        amount = per(allowance.credits, settings.each) + _until(settings, allowance.until)
        yield ui.Section(f"<@{member_id}>\n{amount}", accessory=edit)
    yield from _turning(here, pages)
    menu = ui.UserSelect[Layout](
        custom_id=look_up_id(), placeholder="Look up what a member has, and why"
    )
    yield ui.ActionRow(menu)


# --- limits ---------------------------------------------------------------------------------------


def _limits_page(settings: Settings, _: int) -> Iterator[ui.Item[Layout]]:
    rules, here = settings.rules, Place(Page.LIMITS)
    yield ui.TextDisplay("## Limits\nWhat may be made, where, and by whom.")
    yield ui.Separator()
    yield from _songs(settings, here)
    default = " (the default)" if rules.limits == settings.defaults.limits else ""
    yield _setting(
        "For each member",
        f"{limits_text(rules.limits)}{default}",
        "How many songs may wait or run at once, how long, how many steps, how far apart.",
        _change("limits", here),
    )
    yield _setting(
        "Channels",
        ", ".join(f"<#{channel}>" for channel in rules.channels) or "Everywhere (the default)",
        f"Where `/song` works, up to {MAX_CHANNELS}. A thread counts as its channel.",
        _change("channels", here),
    )
    yield _setting(
        "Unwanted words",
        words_text(rules.words),
        "Songs with one of them in genres or lyrics are refused before anything is spent.",
        _change("words", here),
    )
    held = settings.count
    yield _setting(
        "Blocked members",
        "1 member" if held == 1 else f"{held:,} members" if held else "Nobody",
        "They can't make songs here.",
        _button("Show", turn_id(Place(Page.BLOCKED))),
    )


def _songs(settings: Settings, here: Place) -> Iterator[ui.Item[Layout]]:
    note = "While paused nobody can start a song; those under way are finished."
    pause = settings.rules.pause
    if pause is None:
        yield _setting(
            "New songs", "Allowed", note, _button("Pause", act_id("pause", here), DANGER)
        )
        return
    why = f": {plain(pause)}" if pause else ""
    yield _setting(
        "New songs", f"**Paused**{why}", note, _button("Resume", act_id("resume", here), SUCCESS)
    )
    label = "Change the reason" if pause else "Give a reason"
    yield ui.ActionRow(_button(label, form_id("pause", here)))


def _blocked_page(settings: Settings, number: int) -> Iterator[ui.Item[Layout]]:
    here, pages = nearest(Place(Page.BLOCKED, number), settings.count)
    yield _heading(
        "Blocked members",
        "They can't make songs here. The reason is told to them.",
        _button("Block a member", form_id("block", here), DANGER),
    )
    yield ui.Separator()
    if not settings.blocked:
        yield ui.TextDisplay("Nobody is blocked.")
    for member_id, block in settings.blocked:
        text = f"<@{member_id}>{_until(settings, block.until)}\n{plain(block.reason, REASON_SHOWN)}"
        yield ui.Section(text, accessory=_button("Unblock", act_id("unblock", here, member_id)))
    yield from _turning(here, pages)


# --- more -----------------------------------------------------------------------------------------


def _more_page(settings: Settings, _: int) -> Iterator[ui.Item[Layout]]:
    rules, here = settings.rules, Place(Page.MORE)
    yield ui.TextDisplay("## More\nWhat managers are told, and what members may do.")
    yield ui.Separator()
    yield _setting(
        "Log channel",
        named(rules.log_channel_id, settings.log_obstacle),
        "Each change is told there: who, what, before and after, and why.",
        _change("log", here),
    )
    yield _setting(
        "Gifts",
        "Allowed" if rules.gifts else "Not allowed (the default)",
        "Whether members may give each other credits with `/gift`.",
        _toggle("gifts", here, allowed=rules.gifts),
    )
    yield _setting(
        "Leaderboard",
        "Allowed" if rules.leaderboard else "Not allowed (the default)",
        "Whether members may see with `/leaderboard` who made the most songs.",
        _toggle("leaderboard", here, allowed=rules.leaderboard),
    )
    yield ui.Separator()
    yield ui.TextDisplay(
        "`/quota history` shows every change and takes it back.\n"
        "`/quota usage` shows what is spent, `/quota export` has it all as a table.\n"
        "`/quota grant` and `/quota take` give and take credits."
    )


def _toggle(act: str, here: Place, *, allowed: bool) -> ui.Button[Layout]:
    if allowed:
        return _button("Forbid", act_id(f"no-{act}", here))
    return _button("Allow", act_id(act, here), SUCCESS)


# --- words ----------------------------------------------------------------------------------------


def per(credits: int | None, each: str) -> str:
    """Credits of each period: `10 credits a day`, `Unlimited`."""
    return "Unlimited" if credits is None else f"{credits_text(credits)} {each}"


def refill_text(calendar: Calendar) -> str:
    """When a calendar's periods begin: `Every day at 00:00, UTC`."""
    when = {
        Every.DAY: "Every day",
        Every.WEEK: "Every week, on Monday",
        Every.MONTH: "Every month, on the 1st",
    }
    return f"{when[calendar.every]} at {calendar.hour:02}:00, {calendar.zone}"


def limits_text(limits: Limits) -> str:
    """What one member may ask for, in two lines."""
    songs = "1 song" if limits.unfinished == 1 else f"{limits.unfinished:,} songs"
    apart = f"{limits.cooldown:,} s between two songs" if limits.cooldown else "no cooldown"
    return f"{songs} at once, {apart}\nUp to {limits.seconds:,} s and {limits.steps:,} steps"


def words_text(words: Sequence[str]) -> str:
    """How many words, and as many of them as fit."""
    if not words:
        return "None (the default)"
    count = "1 word" if len(words) == 1 else f"{len(words):,} words"
    listed: list[str] = []
    for word in words:
        listed.append(plain(word, 60))
        if sum(map(len, listed)) + 2 * len(listed) > WORDS_SHOWN:
            listed[-1] = "\N{HORIZONTAL ELLIPSIS}"
            break
    return f"{count}: ||{', '.join(listed)}||"


def _until(settings: Settings, until: datetime | None) -> str:
    if until is None:
        return ""
    return f", until {shown(until)}" if until > settings.at else f", ended {ago(until)}"


# --- parts ----------------------------------------------------------------------------------------


def _setting(name: str, value: str, note: str, button: ui.Button[Layout]) -> ui.Section[Layout]:
    return ui.Section(f"**{name}**\n{value}\n-# {note}", accessory=button)


def _heading(title: str, note: str, button: ui.Button[Layout]) -> ui.Section[Layout]:
    return ui.Section(f"## {title}\n{note}", accessory=button)


def _button(label: str, custom_id: str, style: discord.ButtonStyle = PLAIN) -> ui.Button[Layout]:
    return ui.Button(label=label, custom_id=custom_id, style=style)


def _change(form: str, here: Place) -> ui.Button[Layout]:
    return _button("Change", form_id(form, here))


def nearest(place: Place, count: int) -> tuple[Place, int]:
    """The place within the pages that so many rules fill, and how many pages those are."""
    pages = max(1, -(-count // RULES_SHOWN))
    return Place(place.page, min(max(1, place.number), pages)), pages


def first_of(place: Place) -> int:
    """How many rules stand on the pages before."""
    return (place.number - 1) * RULES_SHOWN


def _turning(here: Place, pages: int) -> Iterator[ui.ActionRow[Layout]]:
    if pages == 1:
        return
    back, on = Place(here.page, here.number - 1), Place(here.page, here.number + 1)
    yield ui.ActionRow(
        ui.Button(label="Back", custom_id=turn_id(back), disabled=back.number < 1),
        ui.Button(label=f"{here.number} of {pages}", custom_id=turn_id(here), disabled=True),
        ui.Button(label="Next", custom_id=turn_id(on), disabled=on.number > pages),
    )


PAGES = {
    Page.CREDITS: _credits_page,
    Page.ROLES: _roles_page,
    Page.MEMBERS: _members_page,
    Page.LIMITS: _limits_page,
    Page.BLOCKED: _blocked_page,
    Page.MORE: _more_page,
}
