"""Settings and their changes in sentences: for the panel, the commands, the history and the log.

What people typed appears as plain text: it pings nobody and is no Markdown. Mentions of roles and
members are left to Discord to show; whoever sends these texts must not let them ping.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cogs.client.texts import ago, calendar_text, credits_text, each_of, plain, refusal_text, shown
from cogs.settings.channels import GONE
from db.records import Change, from_ms, maybe_from_ms
from services.settings import kinds
from services.settings.catalogue import BLOCK, BY_KEY, About, Setting
from services.settings.refusals import (
    ChangedSince,
    NoSuchChange,
    NotASetting,
    TooManyChannels,
    TooManySet,
    TooManyWords,
    WordOfSigns,
    WordsTooLong,
    WordTooLong,
    WordWithoutLetters,
)
from services.settings.settings import Block, Defaults, Override

SHOWN = 5
"""Channels and words of a list that are named, on each side of a change."""
WORD_SHOWN = 20
REASON_SHOWN = 80
WHY_SHOWN = 100
"""Characters; each may become two when it is escaped. So a change's line stays within 600."""

ARROW = "\N{RIGHTWARDS ARROW}"
DOT = "\N{MIDDLE DOT}"
NO_CHANGE = "That's already the current setting."
WARNING = "warning"
_TITLES = {
    "grant": "Granted",
    "take": "Taken",
    "reset": "Granted credits removed",
    WARNING: "Warning: {percent}% of the budget",
}


# --- settings -------------------------------------------------------------------------------------


def title(setting: Setting[Any], subject_id: int = 0) -> str:
    """A setting's name, with the role or the member that it is about."""
    return setting.label + (f" of {mention(setting, subject_id)}" if subject_id else "")


def mention(setting: Setting[Any], subject_id: int) -> str:
    """The role or the member that a setting is about."""
    return f"<@&{subject_id}>" if setting.about is About.ROLE else f"<@{subject_id}>"


def value_text(
    setting: Setting[Any],
    value: Any,  # noqa: ANN401 - each setting has its own type
    *,
    each: str = "a period",
    most: int = SHOWN,
) -> str:
    """A setting's value. `each`: the period of credits, `most`: how many of a list are named."""
    match setting.kind:
        case kinds.Credits():
            return per(value, each)
        case kinds.Number() as kind:
            return _number_text(kind, value, each)
        case kinds.Toggle() as kind:
            return kind.on if value else kind.off
        case kinds.Reason():
            return _reason_text(value)
        case kinds.Channel() as kind:
            return kind.none if value is None else f"<#{value}>"
        case kinds.Channels() as kind:
            return _listed(list(map(_channel, value)), most) if value else kind.none
        case kinds.Words():
            return _words_text(value, most)
        case kinds.Refill():
            return calendar_text(value)
        case kinds.CreditsUntil() | kinds.BlockUntil():
            return _until_text(value, each)
    raise AssertionError(setting.key)


def current_text(
    setting: Setting[Any],
    value: Any,  # noqa: ANN401
    *,
    is_default: bool,
    each: str,
    most: int = SHOWN,
) -> str:
    """A value in force, and whether it is the default."""
    text = value_text(setting, value, each=each, most=most)
    return f"{text} (the default)" if is_default else text


def per(credits: int | None, each: str) -> str:
    """Credits of each period: `10 credits a day`, `unlimited`."""
    return "unlimited" if credits is None else f"{credits_text(credits)} {each}"


def _number_text(kind: kinds.Number, value: int | None, each: str) -> str:
    if value is None or (value == 0 and kind.low == 0):
        return "none"
    if kind.unit == "credits":
        return per(value, each)
    return f"{value:,} {kind.unit.removesuffix('s') if value == 1 else kind.unit}"


def _reason_text(reason: str | None) -> str:
    if reason is None:
        return "off"
    return f"on: {plain(reason, REASON_SHOWN)}" if reason else "on"


def _until_text(value: Override | Block | None, each: str) -> str:
    if value is None:
        return "none"
    until = f" until {shown(value.until)}" if value.until else ""
    if isinstance(value, Override):
        return per(value.credits, each) + until
    return f"blocked{until}: {plain(value.reason, REASON_SHOWN)}"


def _words_text(words: Sequence[str], most: int) -> str:
    if not words:
        return "none"
    return f"{_words(words)}: ||{_listed([plain(word, WORD_SHOWN) for word in words], most)}||"


# --- changes --------------------------------------------------------------------------------------


def change_title(change: Change) -> str:
    """What was changed. It may hold a mention, which Discord does not show in an embed's title."""
    if setting := BY_KEY.get(change.name):
        return title(setting, change.subject_id)
    percent = _json(change.after)["percent"] if change.name == WARNING else ""
    return _TITLES.get(change.name, change.name).format(percent=percent)


def change_line(change: Change, defaults: Defaults) -> str:
    """Everything about a change in one line of at most 600 characters: its number, what, who, when.

    With what was before and after, and why.
    """
    parts = [
        f"**{change.number}. {change_title(change)}**: {_what(change, defaults)}",
        _by(change) + shown(change.at),
    ]
    if change.undoes is not None:
        parts.append(f"undoes change {change.undoes}")
    if change.reason:
        parts.append(plain(change.reason, WHY_SHOWN))
    return f" {DOT} ".join(parts)


def changed_text(change: Change, defaults: Defaults) -> str:
    """What a change set, and what to know about it."""
    setting = BY_KEY[change.name]
    text = f"**{change_title(change)}**: {_side(setting, change.after, defaults)}."
    unblocked = setting is BLOCK and change.after is None
    return text if unblocked else f"{text} {setting.effect}".rstrip()


def _by(change: Change) -> str:
    if change.actor_id is not None:
        return f"<@{change.actor_id}>, "
    return "" if change.name == WARNING else "the bot's operator, "


def _what(change: Change, defaults: Defaults) -> str:
    if setting := BY_KEY.get(change.name):
        return _setting_change(setting, change, defaults)
    after = _json(change.after)
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
    return "a setting that this version doesn't have"


def _setting_change(setting: Setting[Any], change: Change, defaults: Defaults) -> str:
    """Of a long list, only what came and what went is of interest."""
    match setting.kind:
        case kinds.Words():
            return _list_change(change, lambda word: plain(word, WORD_SHOWN), _words)
        case kinds.Channels() if change.before and change.after:
            return _list_change(change, _channel, _channels)
    before, after = (_side(setting, side, defaults) for side in (change.before, change.after))
    return f"{before} {ARROW} {after}"


def _side(setting: Setting[Any], stored: str | None, defaults: Defaults) -> str:
    """One side of a change; without a value, the default."""
    if stored is not None:
        return value_text(setting, setting.kind.decode(_json(stored)))
    if setting.about is not About.SERVER:
        return "not blocked" if setting is BLOCK else "none"
    return f"{value_text(setting, setting.default(defaults))} (the default)"


def _list_change(
    change: Change, show: Callable[[Any], str], count: Callable[[Sequence[Any]], str]
) -> str:
    old, new = _json(change.before) or (), _json(change.after) or ()
    came = [show(item) for item in new if item not in set(old)]
    went = [show(item) for item in old if item not in set(new)]
    parts = [f"{count(old)} {ARROW} {count(new)}"]
    parts += [f"added {_listed(came, SHOWN)}"] if came else []
    parts += [f"removed {_listed(went, SHOWN)}"] if went else []
    return "; ".join(parts)


def _reset(facts: Mapping[str, Any]) -> str:
    if "role_grants" in facts:
        count = facts["role_grants"]
        return "1 grant to a role ended" if count == 1 else f"{count:,} grants to roles ended"
    members = "1 member" if facts["members"] == 1 else f"{facts['members']:,} members"
    return f"{credits_text(facts['credits'])} from {members}"


def _given(change: Change, facts: Mapping[str, Any]) -> str:
    until = maybe_from_ms(facts["expires_at"])
    ends = f", to be spent by {shown(until)}" if until else ""
    whom = _each_with(change, facts) if "role" in facts else f"<@{change.subject_id}>"
    return f"{credits_text(facts['credits'])} to {whom}{ends}"


def _taken(change: Change, facts: Mapping[str, Any]) -> str:
    if "role" in facts:
        return f"up to {credits_text(facts['credits'])} from {_each_with(change, facts)}"
    return f"{credits_text(facts['credits'])} from <@{change.subject_id}>"


def _each_with(change: Change, facts: Mapping[str, Any]) -> str:
    whom = each_of(facts["role"], change.server_id)
    return f"{whom} who is seen by {shown(from_ms(facts['ends_at']))}"


def promise(channel_id: int | None, why: str | None) -> str:
    """Say where changes are posted. `why`: what is in the way there."""
    if channel_id is None:
        return (
            "Changes are posted nowhere. `/quota log` with a `channel` chooses one; "
            "`/quota history` shows them all."
        )
    if why == GONE:
        return (
            "The log channel is gone, so changes are posted nowhere. `/quota log` with a `channel` "
            "chooses another one; `/quota history` shows every change."
        )
    if why is not None:
        return (
            f"Changes should be posted in <#{channel_id}>, but {why}. I retry each for a day; "
            "`/quota history` shows them all."
        )
    return (
        f"Each change, and each warning of the budget, is posted in <#{channel_id}>. `/quota log` "
        "with `off` ends it."
    )


# --- small ----------------------------------------------------------------------------------------


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _words(words: Sequence[str]) -> str:
    return "1 word" if len(words) == 1 else f"{len(words):,} words"


def _channels(channel_ids: Sequence[int]) -> str:
    return "1 channel" if len(channel_ids) == 1 else f"{len(channel_ids):,} channels"


def _channel(channel_id: int) -> str:
    return f"<#{channel_id}>"


def _json(text: str | None) -> Any:  # noqa: ANN401 - JSON
    return None if text is None else json.loads(text)


# --- refusals -------------------------------------------------------------------------------------


@refusal_text.register
def _(refusal: TooManyChannels) -> str:
    return (
        f"You chose {refusal.count} channels, but the limit is {refusal.limit}. Choose none to "
        "allow songs everywhere."
    )


@refusal_text.register
def _(refusal: TooManySet) -> str:
    return f"This server has {refusal.limit:,} of these, which is the limit. Remove some first."


@refusal_text.register
def _(refusal: WordsTooLong) -> str:
    return f"The list has {refusal.length:,} characters, but the limit is {refusal.limit:,}."


@refusal_text.register
def _(refusal: TooManyWords) -> str:
    return f"The list has {refusal.count:,} words, but the limit is {refusal.limit:,}."


@refusal_text.register
def _(refusal: WordTooLong) -> str:
    return (
        f"Word {refusal.number} of the list has {refusal.length:,} characters, but the limit is "
        f"{refusal.limit:,}."
    )


@refusal_text.register
def _(refusal: WordWithoutLetters) -> str:
    return (
        f"Word {refusal.number} of the list has no letter or digit. Leave it out, or write it in "
        "full."
    )


@refusal_text.register
def _(refusal: WordOfSigns) -> str:
    return f"Word {refusal.number} of the list is mostly signs. Write it with letters and digits."


@refusal_text.register
def _(refusal: NoSuchChange) -> str:
    return f"There is no change {refusal.number} in this server."


@refusal_text.register
def _(refusal: NotASetting) -> str:
    return (
        f"Change {refusal.number} is not about a setting. Use `/quota take` to take granted "
        "credits, and `/quota grant` to return what was taken."
    )


@refusal_text.register
def _(refusal: ChangedSince) -> str:
    return (
        f"What change {refusal.number} set was changed again since. Undo the later change first, "
        "or set it again."
    )
