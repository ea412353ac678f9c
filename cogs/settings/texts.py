"""Settings and their changes in sentences: for the panel, the commands, the history and the log.

What people typed appears as plain text: it pings nobody and is no Markdown. Mentions of roles and
members are left to Discord to show; whoever sends these texts must not let them ping.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cogs.client.texts import (
    ago,
    calendar_text,
    counted,
    credits_text,
    each_of,
    plain,
    register_sentences,
    shown,
)
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
    WordTooLong,
    WordWithoutLetters,
)
from services.settings.settings import Defaults, Override

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


def mention(setting: Setting[Any], subject_id: int) -> str:
    """Mention the role or the member that a setting is about."""
    return f"<@&{subject_id}>" if setting.about is About.ROLE else f"<@{subject_id}>"


def value_text(
    setting: Setting[Any],
    value: Any,  # noqa: ANN401 - each setting has its own type
    *,
    each: str = "a period",
    most: int = SHOWN,
) -> str:
    """Say a value. `each`: the period of credits, `most`: how many items of a list are named."""
    match setting.kind:
        case kinds.Credits():
            return per(value, each)
        case kinds.Number() as kind:
            if value is None or (value == 0 and kind.low == 0):
                return "none"
            if kind.unit == "credits":
                return per(value, each)
            return counted(value, kind.unit.removesuffix("s"))
        case kinds.Toggle():
            return "Allowed" if value else "Not allowed"
        case kinds.Reason():
            reason = f"on: {plain(value, REASON_SHOWN)}" if value else "on"
            return "off" if value is None else reason
        case kinds.Channel() as kind:
            return kind.none if value is None else f"<#{value}>"
        case kinds.Channels() as kind:
            return _listed(list(map(_channel, value)), most) if value else kind.none
        case kinds.Words():
            words = _listed([plain(word, WORD_SHOWN) for word in value], most)
            return f"{counted(len(value), 'word')}: ||{words}||" if value else "none"
        case kinds.Refill():
            return calendar_text(value)
        case kinds.CreditsUntil() | kinds.BlockUntil():
            until = f" until {shown(value.until)}" if value and value.until else ""
            if isinstance(value, Override):
                return per(value.credits, each) + until
            return f"blocked{until}: {plain(value.reason, REASON_SHOWN)}" if value else "none"
    raise AssertionError(setting.key)


def per(credits: int | None, each: str) -> str:
    """Say credits of each period: `10 credits a day`, `unlimited`."""
    return "unlimited" if credits is None else f"{credits_text(credits)} {each}"


# --- changes --------------------------------------------------------------------------------------


def change_title(change: Change) -> str:
    """Say what was changed. A mention in it is not shown in an embed's title by Discord."""
    if setting := BY_KEY.get(change.name):
        subject_id = change.subject_id
        return setting.label + (f" of {mention(setting, subject_id)}" if subject_id else "")
    percent = _json(change.after)["percent"] if change.name == WARNING else ""
    return _TITLES.get(change.name, change.name).format(percent=percent)


def change_line(change: Change, defaults: Defaults) -> str:
    """Say everything about a change in one line of at most 600 characters.

    Its number, what was changed from what to what, who did it, when, and why.
    """
    by = "" if change.name == WARNING else "the bot's operator, "
    if change.actor_id is not None:
        by = f"<@{change.actor_id}>, "
    parts = [
        f"**{change.number}. {change_title(change)}**: {_what(change, defaults)}",
        by + shown(change.at),
    ]
    if change.undoes is not None:
        parts.append(f"undoes change {change.undoes}")
    if change.reason:
        parts.append(plain(change.reason, WHY_SHOWN))
    return f" {DOT} ".join(parts)


def changed_text(change: Change, defaults: Defaults) -> str:
    """Say what a change set, and what to know about it."""
    setting = BY_KEY[change.name]
    text = f"**{change_title(change)}**: {_side(setting, change.after, defaults)}."
    unblocked = setting is BLOCK and change.after is None
    return text if unblocked else f"{text} {setting.effect}".rstrip()


def _what(change: Change, defaults: Defaults) -> str:
    if setting := BY_KEY.get(change.name):
        return _setting_change(setting, change, defaults)
    facts = _json(change.after)
    match change.name:
        case "grant":
            until = maybe_from_ms(facts["expires_at"])
            ends = f", to be spent by {shown(until)}" if until else ""
            return f"{credits_text(facts['credits'])} to {_mention_of(change, facts)}{ends}"
        case "take":
            most = "up to " if "role" in facts else ""
            return f"{most}{credits_text(facts['credits'])} from {_mention_of(change, facts)}"
        case "reset" if "role_grants" in facts:
            count = facts["role_grants"]
            return "1 grant to a role ended" if count == 1 else f"{count:,} grants to roles ended"
        case "reset":
            return f"{credits_text(facts['credits'])} from {counted(facts['members'], 'member')}"
        case "warning":
            return (
                f"{facts['used']:,} of {credits_text(facts['budget'])} are spent or held; the "
                f"next period begins {ago(from_ms(facts['until']))}"
            )
    return "a setting that this version doesn't have"


def _setting_change(setting: Setting[Any], change: Change, defaults: Defaults) -> str:
    """Say both sides; of a long list, only what was added and removed."""
    match setting.kind:
        case kinds.Words():
            return _list_change(change, lambda word: plain(word, WORD_SHOWN), "word")
        case kinds.Channels() if change.before and change.after:
            return _list_change(change, _channel, "channel")
    before, after = (_side(setting, side, defaults) for side in (change.before, change.after))
    return f"{before} {ARROW} {after}"


def _side(setting: Setting[Any], stored: str | None, defaults: Defaults) -> str:
    """Say one side of a change; without a value, the default."""
    if stored is not None:
        return value_text(setting, setting.kind.decode(_json(stored)))
    if setting.about is not About.SERVER:
        return "not blocked" if setting is BLOCK else "none"
    return f"{value_text(setting, setting.default(defaults))} (the default)"


def _list_change(change: Change, show: Callable[[Any], str], noun: str) -> str:
    old, new = _json(change.before) or (), _json(change.after) or ()
    parts = [f"{counted(len(old), noun)} {ARROW} {counted(len(new), noun)}"]
    for done, items, others in (("added", new, old), ("removed", old, new)):
        if found := [show(item) for item in items if item not in set(others)]:
            parts.append(f"{done} {_listed(found, SHOWN)}")
    return "; ".join(parts)


def _mention_of(change: Change, facts: Mapping[str, Any]) -> str:
    """Say from or to whom credits went: one member, or each who is seen with a role in time."""
    if "role" not in facts:
        return f"<@{change.subject_id}>"
    whom = each_of(facts["role"], change.server_id)
    return f"{whom} who is seen by {shown(from_ms(facts['ends_at']))}"


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _channel(channel_id: int) -> str:
    return f"<#{channel_id}>"


def _json(text: str | None) -> Any:  # noqa: ANN401 - JSON
    return None if text is None else json.loads(text)


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


# --- refusals -------------------------------------------------------------------------------------

register_sentences(
    {
        ChangedSince: "What change {number} set was changed again since. Undo the later change "
        "first, or set it again.",
        NoSuchChange: "There is no change {number} in this server.",
        NotASetting: "Change {number} is not about a setting. Use `/quota take` to take granted "
        "credits, and `/quota grant` to return what was taken.",
        TooManyChannels: "You chose {count} channels, but the limit is {limit}. Choose none to "
        "allow songs everywhere.",
        TooManySet: "This server has {limit:,} of these, which is the limit. Remove some first.",
        TooManyWords: "The list has {count:,} words, but the limit is {limit:,}.",
        WordOfSigns: "Word {number} of the list is mostly signs. Write it with letters and digits.",
        WordTooLong: "Word {number} of the list has {length:,} characters, but the limit is "
        "{limit:,}.",
        WordWithoutLetters: "Word {number} of the list has no letter or digit. Leave it out, or "
        "write it in full.",
    }
)
