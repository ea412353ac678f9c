"""The forms of what is decided for a whole server: each is filled in with what stands.

A form states its whole value: of two managers at once the later one counts, and the history has
both.
"""

from collections.abc import Iterator
from typing import cast

import discord
from discord import app_commands, ui

from cogs.settings.forms import Form, Now, Sent, allowance_typed, number_typed, text_field
from cogs.settings.limits import SONG_CHANNELS, WORDS_FIELD, WordsForm, check_channels
from cogs.settings.log_channel import LOG_CHANNELS, check_can_log
from services.credits.amounts import MAX_AMOUNT, MAX_BUDGET, MAX_REASON, Prices
from services.credits.calendar import LONGEST_NAME, Calendar, Every
from services.providers.registry import PARAMETERS
from services.settings.blocked_words import parse_words
from services.settings.server_settings import MAX_CHANNELS, MAX_COOLDOWN, MAX_UNFINISHED

Field = ui.Item[ui.Modal]

EVERY = {
    Every.DAY: ("Every day", None),
    Every.WEEK: ("Every week", "On Monday"),
    Every.MONTH: ("Every month", "On the 1st"),
}


# --- credits --------------------------------------------------------------------------------------


def _allowance_fields(now: Now) -> Iterator[Field]:
    yield credits_field(now.rules.server.credits, required=True)
    yield ui.TextDisplay(f"-# {_prices_text(now.defaults.prices)}")


def credits_field(credits: int | None, *, required: bool, empty: bool = False) -> Field:
    """An allowance to type; filled in unless it is `empty`."""
    return text_field(
        "credits",
        "Credits in each period",
        f"0 to {MAX_AMOUNT:,}, or: unlimited",
        value="" if empty else "unlimited" if credits is None else str(credits),
        placeholder="20",
        required=required,
    )


def _prices_text(prices: Prices) -> str:
    minute, longest = prices.of(60, 50), prices.of(240, 50)
    return f"A song of a minute costs {minute:,}, one of four minutes {longest:,}."


async def _set_allowance(sent: Sent) -> None:
    credits = allowance_typed(sent.typed.text("credits"))
    await sent.services.server_settings.set_allowance(sent.by, credits)


def _refill_fields(now: Now) -> Iterator[Field]:
    timeline = now.rules.timeline
    following = timeline.next(now.at)
    calendar = following[1] if following else timeline.at(now.at)
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
    yield text_field(
        "zone",
        "Time zone",
        "A city of it, as in Europe/Paris or America/New_York; or UTC",
        value=calendar.zone,
        longest=LONGEST_NAME,
    )
    yield ui.TextDisplay("-# The period that is running ends as it would have; then this counts.")


async def _set_refill(sent: Sent) -> None:
    await sent.services.server_settings.set_calendar(
        sent.by,
        every=sent.typed.text("every"),
        hour=number_typed("the hour", sent.typed.one("hour")),
        zone=sent.typed.text("zone") or Calendar().zone,
    )


def _budget_fields(now: Now) -> Iterator[Field]:
    budget = now.rules.budget
    yield text_field(
        "credits",
        "Credits in each period",
        f"What all members together may spend, 1 to {MAX_BUDGET:,}. Left empty: no budget",
        value="" if budget is None else str(budget),
        placeholder="500",
        required=False,
    )


async def _set_budget(sent: Sent) -> None:
    text = sent.typed.text("credits")
    credits = number_typed("the budget", text) if text else None
    await sent.services.server_settings.set_budget(sent.by, credits)


# --- limits ---------------------------------------------------------------------------------------

_SECONDS, _STEPS = PARAMETERS.seconds, PARAMETERS.steps
_LIMITS = {
    "unfinished": ("Songs at once", f"Waiting or running, 1 to {MAX_UNFINISHED}"),
    "seconds": (
        "Longest song",
        f"In seconds, {_SECONDS.low} to {_SECONDS.high}",
    ),
    "steps": ("Most steps", f"{_STEPS.low} to {_STEPS.high}; more cost more"),
    "cooldown": (
        "Time between two songs",
        f"In seconds, from one song to the next; 0 for none, {MAX_COOLDOWN:,} at most",
    ),
}


def _limits_fields(now: Now) -> Iterator[Field]:
    for name, (label, note) in _LIMITS.items():
        default = getattr(now.defaults.limits, name)
        yield text_field(
            name,
            label,
            f"{note}. Left empty: {default:,}",
            value=str(getattr(now.rules.limits, name)),
            placeholder=str(default),
            required=False,
        )


async def _set_limits(sent: Sent) -> None:
    typed = {
        name: number_typed(f"“{label}”", sent.typed.text(name)) if sent.typed.text(name) else None
        for name, (label, _) in _LIMITS.items()
    }
    defaults = sent.services.defaults.limits
    await sent.services.server_settings.set_limits(
        sent.by,
        **{name: getattr(defaults, name) if n is None else n for name, n in typed.items()},
    )


def _channels_fields(now: Now) -> Iterator[Field]:
    yield ui.Label(
        text="Channels",
        description="A thread counts as its channel. Nothing chosen: songs are made everywhere",
        component=ui.ChannelSelect(
            custom_id="channels",
            channel_types=SONG_CHANNELS,
            placeholder="Everywhere",
            required=False,
            min_values=0,
            max_values=MAX_CHANNELS,
            default_values=[
                discord.Object(channel) for channel in _known(now, *now.rules.channels)
            ],
        ),
    )


async def _set_channels(sent: Sent) -> None:
    chosen = sent.typed.ids("channels")
    check_channels(sent.interaction.guild, chosen)
    await sent.services.server_settings.set_channels(sent.by, chosen)


def _words_fields(now: Now) -> Iterator[Field]:
    yield from WordsForm(now.rules.words).children


async def _set_words(sent: Sent) -> None:
    await sent.services.server_settings.set_words(
        sent.by, parse_words(sent.typed.text(WORDS_FIELD))
    )


def _pause_fields(now: Now) -> Iterator[Field]:
    yield text_field(
        "reason",
        "Why no new songs are made",
        "Told to whoever asks for one. May be left empty",
        value=now.rules.pause or "",
        required=False,
        longest=MAX_REASON,
    )


async def _pause(sent: Sent) -> None:
    await sent.services.server_settings.pause(sent.by, sent.typed.text("reason"))


# --- the rest -------------------------------------------------------------------------------------


def _log_fields(now: Now) -> Iterator[Field]:
    chosen = _known(now, now.rules.log_channel_id) if now.rules.log_channel_id else []
    yield ui.Label(
        text="Channel",
        description="One that managers read. Nothing chosen: changes are told nowhere",
        component=ui.ChannelSelect(
            custom_id="channel",
            channel_types=LOG_CHANNELS,
            placeholder="None",
            required=False,
            min_values=0,
            default_values=[discord.Object(channel) for channel in chosen],
        ),
    )


async def _set_log(sent: Sent) -> None:
    chosen = next(iter(sent.typed.ids("channel")), None)
    if chosen is not None:
        # Only its id is looked at.
        channel = cast("app_commands.AppCommandChannel", discord.Object(chosen))
        check_can_log(sent.interaction.guild, channel)
    await sent.services.server_settings.set_log(sent.by, chosen)


def _known(now: Now, *channel_ids: int) -> list[int]:
    """Those that exist: Discord takes no others as already chosen."""
    guild = now.guild
    if guild is None or guild.unavailable:
        return list(channel_ids)
    return [channel for channel in channel_ids if guild.get_channel(channel) is not None]


SETTINGS_FORMS = {
    "allowance": Form("Allowance of every member", _allowance_fields, _set_allowance),
    "refill": Form("When credits refill", _refill_fields, _set_refill),
    "budget": Form("Budget of the server", _budget_fields, _set_budget),
    "limits": Form("Limits for each member", _limits_fields, _set_limits),
    "channels": Form("Where songs are made", _channels_fields, _set_channels),
    "words": Form("Unwanted words", _words_fields, _set_words, keep=WORDS_FIELD),
    "pause": Form("Songs are paused", _pause_fields, _pause),
    "log": Form("Log channel", _log_fields, _set_log),
}
