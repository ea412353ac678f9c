"""Rules and changes in words, for the settings, the history and the log channel. Pure.

What people typed stands in them as plain text: it pings nobody and is no Markdown. Mentions of
roles and members are left to Discord to show; whoever sends the words must not let them ping.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from cogs.client.formatting import ago, plain
from db.records import Change, from_ms, maybe_from_ms
from services.credits.amounts import credits_text
from services.credits.calendar import Calendar, Every
from services.settings.server_settings import CALENDAR
from services.settings.settings import Defaults, Limits, Name, block_of, limits_of, override_of

SHOWN = 5
"""Channels and words of a list that are named, on each side of a change."""
WORD_SHOWN = 20
REASON_SHOWN = 80
WHY_SHOWN = 100
"""Characters; each may come to be two when it is escaped. So a change's line stays within 600."""

ARROW = "\N{RIGHTWARDS ARROW}"
DOT = "\N{MIDDLE DOT}"

_TITLES: Mapping[str, str] = {
    Name.ALLOWANCE: "Allowance of every member",
    Name.ROLE: "Allowance of {whom}",
    Name.MEMBER: "Allowance of {whom}",
    CALENDAR: "Period",
    Name.LIMITS: "Limits",
    Name.CHANNELS: "Channels",
    Name.BLOCK: "Block of {whom}",
    Name.WORDS: "Unwanted words",
    Name.PAUSE: "Pause",
    Name.BUDGET: "Budget",
    Name.LOG: "Log channel",
    Name.GIFTS: "Gifts",
    Name.LEADERBOARD: "Leaderboard",
    "grant": "Granted",
    "take": "Taken",
    "reset": "Granted credits taken back",
    "warning": "Warning: {percent} % of the budget",
}


def shown(moment: datetime) -> str:
    """A date and an hour, in everyone's own language and zone (Discord, "Message Formatting")."""
    return f"<t:{int(moment.timestamp())}:f>"


# --- rules ----------------------------------------------------------------------------------------


def subject_text(name: str, subject_id: int) -> str:
    """Whom a rule is about, as a mention; empty where it is about the server."""
    if name == Name.ROLE:
        return f"<@&{subject_id}>"
    return f"<@{subject_id}>" if subject_id else ""


def value_text(name: str, value: Any, defaults: Defaults) -> str:  # noqa: ANN401 - JSON
    """A rule's value, as its JSON has it, in words; None is what holds where there is no such rule.

    `name` is one of `Name`, or `server_settings.CALENDAR`.
    """
    if value is None:
        return _no_rule(name, defaults)
    if name == Name.LIMITS:
        return limits_text(limits_of(value, defaults.limits))
    return _VALUES[name](value)


def allowance_text(credits: int | None) -> str:
    """Credits of each period, None without limit."""
    return "unlimited" if credits is None else f"{credits_text(credits)} a period"


def calendar_text(calendar: Calendar) -> str:
    """When periods begin: `a week from Monday 04:00, Europe/Berlin`."""
    first = {
        Every.DAY: "a day from",
        Every.WEEK: "a week from Monday",
        Every.MONTH: "a month from the 1st,",
    }
    return f"{first[calendar.every]} {calendar.hour:02}:00, {calendar.zone}"


def limits_text(limits: Limits) -> str:
    """What one member may ask for."""
    songs = "1 song" if limits.unfinished == 1 else f"{limits.unfinished:,} songs"
    pause = f"{limits.cooldown:,} s from one song to the next" if limits.cooldown else "no cooldown"
    return (
        f"{songs} at once, each up to {limits.seconds:,} s and {limits.steps:,} steps, with {pause}"
    )


def _no_rule(name: str, defaults: Defaults) -> str:
    if name == Name.ALLOWANCE:
        return f"the default ({allowance_text(defaults.allowance)})"
    if name == Name.LIMITS:
        return f"the default ({limits_text(defaults.limits)})"
    if name == CALENDAR:
        return f"the default ({calendar_text(Calendar())})"
    return _WITHOUT.get(name, "none")


def _override_text(value: Mapping[str, Any]) -> str:
    allowance = override_of(value)
    until = f" until {shown(allowance.until)}" if allowance.until else ""
    return allowance_text(allowance.credits) + until


def _block_text(value: Mapping[str, Any]) -> str:
    block = block_of(value)
    until = f" until {shown(block.until)}" if block.until else ""
    return f"blocked{until}: {plain(block.reason, REASON_SHOWN)}"


def _calendar_value_text(value: Mapping[str, Any]) -> str:
    return calendar_text(Calendar(Every(value["every"]), value["hour"], value["zone"]))


def _pause_text(reason: str) -> str:
    return f"paused: {plain(reason, REASON_SHOWN)}" if reason else "paused"


def _words_text(words: Sequence[str]) -> str:
    return f"{_count(words)}: {_listed(list(map(_word, words)))}"


def _channels_text(channel_ids: Sequence[int]) -> str:
    return _listed(list(map(_channel, channel_ids)))


def _channel(channel_id: int) -> str:
    return f"<#{channel_id}>"


def _allowed_text(allowed: bool) -> str:
    return "allowed" if allowed else "not allowed"


_WITHOUT: Mapping[str, str] = {
    Name.CHANNELS: "everywhere",
    Name.BLOCK: "not blocked",
    Name.PAUSE: "not paused",
    Name.LOG: "nowhere",
    Name.GIFTS: "not allowed",
    Name.LEADERBOARD: "not allowed",
}
"""What holds where there is no such rule; of the others there is then simply none."""

_VALUES: Mapping[str, Callable[[Any], str]] = {
    Name.ALLOWANCE: lambda value: allowance_text(value["credits"]),
    Name.ROLE: lambda value: allowance_text(value["credits"]),
    Name.MEMBER: _override_text,
    CALENDAR: _calendar_value_text,
    Name.CHANNELS: _channels_text,
    Name.BLOCK: _block_text,
    Name.WORDS: _words_text,
    Name.PAUSE: _pause_text,
    Name.BUDGET: lambda credits: f"{credits_text(credits)} a period",
    Name.LOG: _channel,
    Name.GIFTS: _allowed_text,
    Name.LEADERBOARD: _allowed_text,
}


# --- changes --------------------------------------------------------------------------------------


def change_title(change: Change) -> str:
    """What was changed. It may hold a mention, which Discord does not show in an embed's title."""
    facts = _json(change.after)
    percent = facts["percent"] if change.name == "warning" else ""
    whom = subject_text(change.name, change.subject_id)
    return _TITLES[change.name].format(whom=whom, percent=percent)


def change_line(change: Change, defaults: Defaults) -> str:
    """Everything about a change in one line of at most 600 characters: its number, what, who, when.

    With what was before and after, and why.
    """
    parts = [
        f"**{change.number}. {change_title(change)}**: {_what(change, defaults)}",
        _by(change) + shown(change.at),
    ]
    if change.undoes is not None:
        parts.append(f"takes back change {change.undoes}")
    # The reason of a block or a pause is in its value.
    if change.reason and change.name not in (Name.BLOCK, Name.PAUSE):
        parts.append(plain(change.reason, WHY_SHOWN))
    return f" {DOT} ".join(parts)


def _by(change: Change) -> str:
    if change.actor_id is not None:
        return f"<@{change.actor_id}>, "
    return "" if change.name == "warning" else "the bot's operator, "


def _what(change: Change, defaults: Defaults) -> str:
    before, after = _json(change.before), _json(change.after)
    match change.name:
        case "grant":
            return _given(change, after)
        case "take":
            return _taken(change, after)
        case "reset":
            return _reset(after)
        case "warning":
            return (
                f"{after['used']:,} of {credits_text(after['budget'])} are spent or held; the "
                f"next period begins {ago(from_ms(after['until']))}"
            )
        case Name.WORDS:
            return _list_change(before, after, _word, _count)
        case Name.CHANNELS if before and after:
            return _list_change(before, after, _channel, _count_channels)
        case _:
            first = value_text(change.name, before, defaults)
            return f"{first} {ARROW} {value_text(change.name, after, defaults)}"


def _reset(facts: Mapping[str, Any]) -> str:
    if "role_grants" in facts:
        count = facts["role_grants"]
        return "1 grant to a role ended" if count == 1 else f"{count:,} grants to roles ended"
    members = "1 member" if facts["members"] == 1 else f"{facts['members']:,} members"
    return f"{credits_text(facts['credits'])} from {members}"


def _given(change: Change, facts: Mapping[str, Any]) -> str:
    until = maybe_from_ms(facts["expires_at"])
    ends = f", to be spent by {shown(until)}" if until else ""
    if "role" in facts:
        return f"{credits_text(facts['credits'])} to {_each_with(change, facts)}{ends}"
    return f"{credits_text(facts['credits'])} to <@{change.subject_id}>{ends}"


def _taken(change: Change, facts: Mapping[str, Any]) -> str:
    if "role" in facts:
        return f"up to {credits_text(facts['credits'])} from {_each_with(change, facts)}"
    return f"{credits_text(facts['credits'])} from <@{change.subject_id}>"


def _each_with(change: Change, facts: Mapping[str, Any]) -> str:
    whom = each_of(facts["role"], change.server_id)
    return f"{whom} who is seen by {shown(from_ms(facts['ends_at']))}"


def each_of(role_id: int, server_id: int) -> str:
    """The members with a role. That of @everyone has its server's id (Discord, "Role Object")."""
    return "each member" if role_id == server_id else f"each member with <@&{role_id}>"


def _list_change(
    before: Sequence[Any] | None,
    after: Sequence[Any] | None,
    show: Callable[[Any], str],
    count: Callable[[Sequence[Any]], str],
) -> str:
    """Of a long list only what came and what went tells something."""
    old, new = before or (), after or ()
    came = [show(item) for item in new if item not in set(old)]
    went = [show(item) for item in old if item not in set(new)]
    parts = [f"{count(old)} {ARROW} {count(new)}"]
    parts += [f"added {_listed(came)}"] if came else []
    parts += [f"removed {_listed(went)}"] if went else []
    return "; ".join(parts)


# --- small ----------------------------------------------------------------------------------------


def _listed(shown: Sequence[str]) -> str:
    more = f" and {len(shown) - SHOWN:,} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more


def _count(words: Sequence[str]) -> str:
    return "1 word" if len(words) == 1 else f"{len(words):,} words"


def _count_channels(channel_ids: Sequence[int]) -> str:
    return "1 channel" if len(channel_ids) == 1 else f"{len(channel_ids):,} channels"


def _word(word: str) -> str:
    return plain(word, WORD_SHOWN)


def _json(text: str | None) -> Any:  # noqa: ANN401 - JSON
    return None if text is None else json.loads(text)
