"""What a client can send, and what it never would: strategies for Hypothesis."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cogs.settings.components import ACTS
from tests.security.population import Leaf, OpenForm, Population, Pressable, option
from tests.wire.interactions import BOOLEAN, INTEGER, NUMBER, STRING

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
    *("\N{FAMILY}\u200d" * 60, "e\u0301" * 3_000, "\u3042" * 6_000),
    *("a" * length for length in (100, 256, 2_000)),
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


Options = SearchStrategy[tuple[Mapping[str, Any], ...]]
people = st.sampled_from(PEOPLE)


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
    beyond = st.sampled_from(BEYOND).map(lambda n: str(abs(n)))
    return st.one_of(known, known, beyond, st.integers(0, 2**64).map(str))


def _some(each: Iterable[SearchStrategy[Any]]) -> Options:
    """Draw from each; what is None is left out."""
    return st.tuples(*each).map(lambda given: tuple(one for one in given if one is not None))


# --- commands -------------------------------------------------------------------------------------


def commands(here: Population) -> SearchStrategy[Used]:
    """Any command, by anybody."""
    return st.one_of([_used(here, leaf) for leaf in here.leaves()])


def completions(here: Population) -> SearchStrategy[Used]:
    """Any option that completes, with the others as far as they were typed."""
    return st.one_of(
        [
            _completed(here, leaf, about)
            for leaf in here.leaves()
            for about in leaf.options
            if about.get("autocomplete")
        ]
    )


def _used(here: Population, leaf: Leaf) -> SearchStrategy[Used]:
    plain = _given(here, leaf.options)
    # Rarely: options of an older version of the command, which clients keep for a while.
    options = st.one_of(plain, plain, plain, _outdated(here, leaf.options))
    return st.builds(Used, people, st.just(leaf.path), options)


def _completed(here: Population, leaf: Leaf, about: Mapping[str, Any]) -> SearchStrategy[Used]:
    others = [other for other in leaf.options if other is not about]
    values: SearchStrategy[Any] = texts(*_likely(about))
    if about["type"] != STRING:
        values = texts("1", "12", "60", "240") | _integers(about)
    typed = values.map(
        lambda value: option(about["name"], about["type"], value) | {"focused": True}
    )
    return st.builds(
        lambda who, given, focused: Used(who, leaf.path, (*given, focused), focused=True),
        people,
        _given(here, others),
        typed,
    )


def _given(here: Population, options: Sequence[Mapping[str, Any]]) -> Options:
    """A value, or none, for each; Discord's client makes sure that what is required is there."""
    return _some(
        _value(here, about) if about.get("required") else st.none() | _value(here, about)
        for about in options
    )


def _outdated(here: Population, options: Sequence[Mapping[str, Any]]) -> Options:
    """Options that are missing, of another type, or unknown."""
    name = st.sampled_from([*(about["name"] for about in options), "gone"])
    one = [
        st.builds(option, name, st.just(kind), values) for kind, values in _by_type(here).items()
    ]
    return st.lists(st.one_of(one), max_size=4).map(tuple)


def _value(here: Population, about: Mapping[str, Any]) -> SearchStrategy[Mapping[str, Any]]:
    kind = about["type"]
    values = _by_type(here, about)[kind]
    return values.map(lambda value: option(about["name"], kind, value))


def _by_type(
    here: Population, about: Mapping[str, Any] | None = None
) -> dict[int, SearchStrategy[Any]]:
    """Values for each type of option; those that suit the one which it is `about`, mostly."""
    return {
        STRING: texts(*_likely(about)) if about else texts(),
        INTEGER: _integers(about or {}),
        BOOLEAN: st.booleans(),
        **dict.fromkeys((6, 7, 8, 9), ids(here)),
        NUMBER: _floats(about or {}),
    }


def _likely(about: Mapping[str, Any]) -> list[str]:
    return [str(choice["value"]) for choice in about.get("choices") or ()] or ["funk, pop", "1"]


def _integers(about: Mapping[str, Any]) -> SearchStrategy[int]:
    """Within the bounds, at them, just beyond, and far beyond."""
    low, high = int(about.get("min_value", 0)), int(about.get("max_value", 1_000))
    at = st.sampled_from([low - 1, low, low + 1, high - 1, high, high + 1, *BEYOND])
    return st.one_of(st.integers(low, high), at, st.integers())


def _floats(about: Mapping[str, Any]) -> SearchStrategy[float]:
    """Within the bounds, and every number that JSON can write: `1e400` is read as infinity."""
    low, high = float(about.get("min_value", 0)), float(about.get("max_value", 1_000))
    return st.one_of(st.floats(low, high), st.floats(allow_nan=False), st.sampled_from(BEYOND))


# --- buttons and menus ----------------------------------------------------------------------------


def presses(here: Population) -> SearchStrategy[Pressed]:
    """Any button or menu that the bot answers, with a true id, a near one, or any."""
    return st.one_of([_pressed(here, item) for item in here.pressables()])


def _pressed(here: Population, item: Pressable) -> SearchStrategy[Pressed]:
    written = st.from_regex(item.pattern, fullmatch=True)
    true = st.builds(_with_ids, written, st.lists(ids(here), min_size=3, max_size=3))
    if item.name == "ActButton":
        pages = st.sampled_from(["roles", "members", "limits", "blocked", "more", "credits"])
        acts = st.sampled_from([f"settings:act:{act}:{key}" for act, key in ACTS])
        act = st.builds("{}:{}:{}:1".format, acts, ids(here), pages)
        true = st.one_of(true, act)
    if item.name == "FormButton":
        true = st.one_of(true, st.sampled_from([form.custom_id for form in here.forms[2:]]))
    mutated = st.builds(_mutated, true, st.integers(0, 200), texts())
    return st.builds(
        Pressed,
        people,
        st.one_of(true, true, true, mutated),
        st.just(item.component_type),
        st.lists(st.one_of(ids(here), texts("1", "2", "3")), max_size=3).map(tuple),
        # The settings are messages of components: their buttons stand under no others.
        st.sampled_from(("alone v2" if "settings" in item.pattern else "alone", "all")),
    )


def _with_ids(custom_id: str, some: Sequence[str]) -> str:
    """Replace its numbers, as far as there are others, by those of things that exist."""
    numbers = iter(some)
    return re.sub(r"\d+", lambda found: next(numbers, found[0]), custom_id)


def _mutated(custom_id: str, at: int, text: str) -> str:
    at %= len(custom_id) + 1
    return (custom_id[:at] + text + custom_id[at + 1 :])[:100] or "x"


# --- forms ----------------------------------------------------------------------------------------


def forms(here: Population) -> SearchStrategy[Sent]:
    """Any form, sent with fields that suit it, others, or none."""
    return st.one_of([_sent(here, form) for form in here.forms])


def _sent(here: Population, form: OpenForm) -> SearchStrategy[Sent]:
    suitable = _some(st.none() | _field(here, *item) for item in form.fields.items())
    odd_field = st.builds(
        lambda name, kind, key, value: {"type": kind, "custom_id": name, key: value},
        st.sampled_from([*form.fields, "gone"]),
        st.sampled_from((3, 4, 5, 8, 21, 22, 23, 99)),
        st.sampled_from(("value", "values")),
        JSON,
    )
    own = st.just(form.custom_id)
    another = st.builds(_with_ids, own, st.lists(ids(here), min_size=1, max_size=3))
    return st.builds(
        Sent,
        people,
        st.one_of(own, own, another, st.builds(_mutated, own, st.integers(0, 100), texts())),
        st.one_of(suitable, suitable, st.lists(odd_field, max_size=3).map(tuple)),
        st.sampled_from(("command", "alone", "alone v2", "all")),
    )


JSON: SearchStrategy[Any] = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False)),
        *(st.text(st.characters(), max_size=10), st.sampled_from(NASTY)),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def _field(here: Population, name: str, about: Mapping[str, Any]) -> SearchStrategy[Any]:
    kind = about["type"]
    offered = [str(one["value"]) for one in about.get("options") or ()]
    key = "value"
    values: SearchStrategy[Any]
    if kind == 4:
        values = texts("1", "100", "unlimited", "7d")
    elif kind == 21:  # one of several, of which at most one is chosen
        values = st.one_of(st.none(), st.sampled_from(offered or [""]), texts())
    elif kind == 23:  # a box to tick
        values = st.booleans()
    else:
        one = st.sampled_from(offered) | texts() if offered else ids(here)
        key = "values"
        values = st.lists(one, max_size=3)
    return values.map(lambda value: {"type": kind, "custom_id": name, key: value})
