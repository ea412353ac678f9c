"""What a client can send, and what it never would: strategies for Hypothesis."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.security.population import Leaf, Population, Pressable, Sheet
from tests.wire.interactions import NUMBER, STRING

PEOPLE = ("alice", "bob", "mona", "olga", "stranger", "nora", "alice@thread", "alice@mute")
BEYOND = (0, -1, 1, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**40)
NASTY = (
    *("", " ", "\n", "\x00", "\ud800", "a\udfff b", "\u202e\u200d", "\ufeff1", "\u0663", "²", "½"),
    *("9" * 4_301, "0x1f", "1e400", "NaN", "-1", "1,000", "#42", "# 1", "1" * 18, "9" * 19),
    *("@everyone", "<@1>", "<@&1>", "||`*_~", "```", "[a](https://example.org)", "> \n> "),
    *("'; DROP TABLE songs; --", "=1+1", "%s%n{0}{x}", "\\n[verse]\\n", "[[[[", "]" * 50),
    *("7d", "3 months", "tomorrow 25:61", "9999-12-31 23:59", "0001-01-01", "99999999999d"),
    *("2026-03-29 02:30", "2027-02-29", "now", "a year", "Europe/Paris", "UTC", "../../etc/passwd"),
    *("unlimited", "\N{INFINITY}", "granted credits", "settings", "everything", "server", "all"),
    *(
        "\N{FAMILY}\u200d" * 60,
        "a" * 100,
        "a" * 256,
        "a" * 2_000,
        "e\u0301" * 3_000,
        "\u3042" * 6_000,
    ),
)
"""Texts that have broken programs, and those that mean something to this one."""


@dataclass(frozen=True, slots=True)
class Used:
    """A command with its options; `focused` makes it a completion."""

    who: str
    leaf: str
    options: tuple[Mapping[str, Any], ...]
    focused: bool = False


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button or a menu."""

    who: str
    custom_id: str
    component_type: int
    values: tuple[str, ...]
    shown: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A form."""

    who: str
    custom_id: str
    fields: tuple[Mapping[str, Any], ...]
    shown: str


def texts(*likely: str) -> SearchStrategy[str]:
    """Any Unicode, lone surrogates too, from nothing to 6,000 characters; those `likely` too."""
    anything = st.text(st.characters(), max_size=30)
    long = st.builds(
        lambda part, length: (part * length)[:length],
        st.text(st.characters(), min_size=1, max_size=3),
        st.integers(1, 6_000),
    )
    known = st.sampled_from([*likely, *NASTY])
    joined = st.builds("".join, st.lists(known | anything, max_size=3)).map(lambda t: t[:6_000])
    return st.one_of(known, anything, joined, long)


def ids(here: Population) -> SearchStrategy[str]:
    """Of something that exists, mostly."""
    known = st.sampled_from([str(one) for one in here.ids])
    return st.one_of(known, known, st.sampled_from(BEYOND).map(lambda n: str(abs(n))), _any_id)


_any_id = st.integers(0, 2**64).map(str)


# --- commands -------------------------------------------------------------------------------------


def commands(here: Population) -> SearchStrategy[Used]:
    """Any command, by anybody."""
    return st.one_of([_used(here, leaf) for leaf in here.leaves()])


def completions(here: Population) -> SearchStrategy[Used]:
    """Any option that completes, with the others as far as they were typed."""
    return st.one_of(
        [
            _completed(here, leaf, option)
            for leaf in here.leaves()
            for option in leaf.options
            if option.get("autocomplete")
        ]
    )


def _used(here: Population, leaf: Leaf) -> SearchStrategy[Used]:
    plain = _given(here, leaf.options)
    return st.builds(
        Used,
        st.sampled_from(PEOPLE),
        st.just(leaf.path),
        # Rarely: options of an older version of the command, which clients keep for a while.
        st.one_of(plain, plain, plain, _outdated(here, leaf.options)),
    )


def _completed(here: Population, leaf: Leaf, option: Mapping[str, Any]) -> SearchStrategy[Used]:
    others = [other for other in leaf.options if other is not option]
    likely = {STRING: texts(*_likely(option))}.get(option["type"], texts("1", "12", "60", "240"))
    typed = st.builds(
        lambda value: {
            "name": option["name"],
            "type": option["type"],
            "value": value,
            "focused": True,
        },
        likely if option["type"] == STRING else st.one_of(likely, _integers(option)),
    )
    return st.builds(
        lambda who, given, focused: Used(who, leaf.path, (*given, focused), focused=True),
        st.sampled_from(PEOPLE),
        _given(here, others),
        typed,
    )


def _given(
    here: Population, options: Sequence[Mapping[str, Any]]
) -> SearchStrategy[tuple[Mapping[str, Any], ...]]:
    """A value, or none, for each; Discord's client makes sure that what is required is there."""
    return st.tuples(
        *[
            _value(here, option) if option.get("required") else st.none() | _value(here, option)
            for option in options
        ]
    ).map(lambda given: tuple(one for one in given if one is not None))


def _outdated(
    here: Population, options: Sequence[Mapping[str, Any]]
) -> SearchStrategy[tuple[Mapping[str, Any], ...]]:
    """Options that are missing, of another type, or unknown."""
    known = [option["name"] for option in options] or ["gone"]
    name = st.sampled_from(known) | st.just("gone")
    return st.lists(
        st.one_of(
            [
                st.builds(lambda n, v, k=kind: {"name": n, "type": k, "value": v}, name, values)
                for kind, values in _by_type(here).items()
            ]
        ),
        max_size=4,
    ).map(tuple)


def _value(here: Population, option: Mapping[str, Any]) -> SearchStrategy[Mapping[str, Any]]:
    kind = option["type"]
    if kind == STRING:
        values: SearchStrategy[Any] = texts(*_likely(option))
    elif kind == NUMBER:
        values = _floats(option)
    elif kind == 4:
        values = _integers(option)
    else:
        values = _by_type(here)[kind]
    return values.map(lambda value: {"name": option["name"], "type": kind, "value": value})


def _by_type(here: Population) -> dict[int, SearchStrategy[Any]]:
    return {
        STRING: texts(),
        4: _integers({}),
        5: st.booleans(),
        6: ids(here),
        7: ids(here),
        8: ids(here),
        9: ids(here),
        NUMBER: _floats({}),
    }


def _likely(option: Mapping[str, Any]) -> list[str]:
    return [str(choice["value"]) for choice in option.get("choices") or ()] or ["funk, pop", "1"]


def _integers(option: Mapping[str, Any]) -> SearchStrategy[int]:
    """Within the bounds, at them, just beyond, and far beyond."""
    low, high = int(option.get("min_value", 0)), int(option.get("max_value", 1_000))
    at = st.sampled_from([low - 1, low, low + 1, high - 1, high, high + 1, *BEYOND])
    return st.one_of(st.integers(low, high), at, st.integers())


def _floats(option: Mapping[str, Any]) -> SearchStrategy[float]:
    """Within the bounds, and every number that JSON can write: `1e400` is read as infinity."""
    low, high = float(option.get("min_value", 0)), float(option.get("max_value", 1_000))
    return st.one_of(st.floats(low, high), st.floats(allow_nan=False), st.sampled_from(BEYOND))


# --- buttons and menus ----------------------------------------------------------------------------


def presses(here: Population) -> SearchStrategy[Pressed]:
    """Any button or menu that the bot answers, with a true id, a near one, or any."""
    return st.one_of([_pressed(here, item) for item in here.pressables()])


def _pressed(here: Population, item: Pressable) -> SearchStrategy[Pressed]:
    written = st.from_regex(item.pattern, fullmatch=True)
    true = st.builds(_with_ids, written, st.lists(ids(here), min_size=3, max_size=3))
    acts = [f"settings:act:{act}:" for act in ACT_NAMES]
    if item.name == "ActButton":
        true = st.one_of(
            true,
            st.builds(
                lambda act, whom, page: f"{act}{whom}:{page}:1",
                st.sampled_from(acts),
                ids(here),
                st.sampled_from(["roles", "members", "limits", "blocked", "more", "credits"]),
            ),
        )
    if item.name == "FormButton":
        true = st.one_of(true, st.sampled_from([sheet.custom_id for sheet in here.sheets[2:]]))
    mutated = st.builds(_mutated, true, st.integers(0, 200), texts())
    return st.builds(
        Pressed,
        st.sampled_from(PEOPLE),
        st.one_of(true, true, true, mutated),
        st.just(item.component_type),
        st.lists(st.one_of(ids(here), texts("1", "2", "3")), max_size=3).map(tuple),
        # The settings are messages of components: their buttons stand under no others.
        st.sampled_from(("alone v2" if "settings" in item.pattern else "alone", "all")),
    )


ACT_NAMES = (
    *("pause", "resume", "gifts", "no-gifts", "leaderboard", "no-leaderboard", "role", "unblock"),
)


def _with_ids(custom_id: str, some: Sequence[str]) -> str:
    """Its numbers, as far as there are others, replaced by those of things that exist."""
    numbers = iter(some)
    return re.sub(r"\d+", lambda found: next(numbers, found[0]), custom_id)


def _mutated(custom_id: str, at: int, text: str) -> str:
    at %= len(custom_id) + 1
    return (custom_id[:at] + text + custom_id[at + 1 :])[:100] or "x"


# --- forms ----------------------------------------------------------------------------------------


def forms(here: Population) -> SearchStrategy[Sent]:
    """Any form, sent with fields that fit, others, or none."""
    return st.one_of([_sent(here, sheet) for sheet in here.sheets])


def _sent(here: Population, sheet: Sheet) -> SearchStrategy[Sent]:
    fitting = st.tuples(
        *[st.none() | _field(here, name, about) for name, about in sheet.fields.items()]
    ).map(lambda given: tuple(one for one in given if one is not None))
    name = st.sampled_from([*sheet.fields, "gone"])
    odd = st.lists(
        st.builds(
            lambda name, kind, key, value: {"type": kind, "custom_id": name, key: value},
            name,
            st.sampled_from((3, 4, 5, 8, 21, 22, 23, 99)),
            st.sampled_from(("value", "values")),
            JSON,
        ),
        max_size=3,
    ).map(tuple)
    own = st.just(sheet.custom_id)
    another = st.builds(_with_ids, own, st.lists(ids(here), min_size=1, max_size=3))
    return st.builds(
        Sent,
        st.sampled_from(PEOPLE),
        st.one_of(own, own, another, st.builds(_mutated, own, st.integers(0, 100), texts())),
        st.one_of(fitting, fitting, odd),
        st.sampled_from(("command", "alone", "alone v2", "all")),
    )


JSON: SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(st.characters(), max_size=10),
        st.sampled_from(NASTY),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def _field(here: Population, name: str, about: Mapping[str, Any]) -> SearchStrategy[Any]:
    kind = about["type"]
    if kind == 4:
        return texts("1", "100", "unlimited", "7d").map(
            lambda value: {"type": kind, "custom_id": name, "value": value}
        )
    offered = [str(option["value"]) for option in about.get("options") or ()]
    if kind == 21:  # one of several, of which at most one is chosen
        return st.one_of(st.none(), st.sampled_from(offered or [""]), texts()).map(
            lambda value: {"type": kind, "custom_id": name, "value": value}
        )
    if kind == 23:  # a box to tick
        return st.booleans().map(lambda on: {"type": kind, "custom_id": name, "value": on})
    values = st.sampled_from(offered) | texts() if offered else ids(here)
    return st.lists(values, max_size=3).map(
        lambda chosen: {"type": kind, "custom_id": name, "values": chosen}
    )
