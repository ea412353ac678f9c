"""Rules and changes in words."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.settings import texts
from db.records import Change, to_ms
from services.credits.calendar import Every
from services.settings.changelog import as_json
from services.settings.server_settings import CALENDAR, MAX_CHANNELS
from services.settings.settings import Defaults, Name

SERVER, ROLE, MEMBER, MANAGER = 10, 20, 30, 40
AT = datetime(2026, 3, 14, 12, tzinfo=UTC)
UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
UNTIL_SHOWN = f"<t:{int(UNTIL.timestamp())}:f>"
DEFAULTS = Defaults()
NO_LIMITS = "the default (3 songs at once, each up to 240 s and 150 steps, with no cooldown)"


def change(name: str, before: Any = None, after: Any = None, **fields: Any) -> Change:
    values: dict[str, Any] = {
        "server_id": SERVER,
        "number": 12,
        "name": name,
        "subject_id": 0,
        "before": None if before is None else as_json(before),
        "after": None if after is None else as_json(after),
        "actor_id": MANAGER,
        "reason": None,
        "at": AT,
        "undoes": None,
        "log_channel_id": None,
    }
    return Change(**values | fields)


def line(name: str, before: Any = None, after: Any = None, **fields: Any) -> str:
    return texts.change_line(change(name, before, after, **fields), DEFAULTS)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (Name.ALLOWANCE, {"credits": 20}, "20 credits a period"),
        (Name.ALLOWANCE, {"credits": 1}, "1 credit a period"),
        (Name.ALLOWANCE, {"credits": 0}, "0 credits a period"),
        (Name.ALLOWANCE, {"credits": None}, "unlimited"),
        (Name.ALLOWANCE, None, "the default (10 credits a period)"),
        (Name.ROLE, {"credits": 1_000}, "1,000 credits a period"),
        (Name.ROLE, None, "none"),
        (Name.MEMBER, {"credits": None, "until": None}, "unlimited"),
        (
            Name.MEMBER,
            {"credits": 5, "until": to_ms(UNTIL)},
            f"5 credits a period until {UNTIL_SHOWN}",
        ),
        (Name.MEMBER, None, "none"),
        (Name.LIMITS, None, NO_LIMITS),
        (
            Name.LIMITS,
            {"unfinished": 1, "seconds": 60, "steps": 75, "cooldown": 3_600},
            "1 song at once, each up to 60 s and 75 steps, with 3,600 s from one song to the next",
        ),
        (Name.CHANNELS, [1, 2], "<#1>, <#2>"),
        (Name.CHANNELS, list(range(1, 8)), "<#1>, <#2>, <#3>, <#4>, <#5> and 2 more"),
        (Name.CHANNELS, None, "everywhere"),
        (
            Name.BLOCK,
            {"reason": "spam", "until": to_ms(UNTIL)},
            f"blocked until {UNTIL_SHOWN}: spam",
        ),
        (Name.BLOCK, {"reason": "**spam**", "until": None}, "blocked: \\*\\*spam\\*\\*"),
        (Name.BLOCK, None, "not blocked"),
        (Name.WORDS, ["foo"], "1 word: foo"),
        (Name.WORDS, list("abcdefg"), "7 words: a, b, c, d, e and 2 more"),
        (Name.WORDS, None, "none"),
        (Name.PAUSE, "", "paused"),
        (Name.PAUSE, "exams", "paused: exams"),
        (Name.PAUSE, None, "not paused"),
        (Name.BUDGET, 500, "500 credits a period"),
        (Name.BUDGET, None, "none"),
        (Name.LOG, 7, "<#7>"),
        (Name.LOG, None, "nowhere"),
        (Name.GIFTS, True, "allowed"),
        (Name.GIFTS, False, "not allowed"),
        (Name.GIFTS, None, "not allowed"),
        (Name.LEADERBOARD, True, "allowed"),
        (Name.LEADERBOARD, None, "not allowed"),
        (
            CALENDAR,
            {"every": Every.DAY, "hour": 4, "zone": "Europe/Berlin"},
            "a day from 04:00, Europe/Berlin",
        ),
        (CALENDAR, {"every": "week", "hour": 0, "zone": "UTC"}, "a week from Monday 00:00, UTC"),
        (
            CALENDAR,
            {"every": "month", "hour": 23, "zone": "Asia/Tokyo"},
            "a month from the 1st, 23:00, Asia/Tokyo",
        ),
        (CALENDAR, None, "the default (a day from 00:00, UTC)"),
    ],
)
def test_a_value_in_words(name: str, value: Any, words: str) -> None:
    assert texts.value_text(name, value, DEFAULTS) == words


def test_every_rule_has_words() -> None:
    for name in (*Name, CALENDAR):
        assert texts.value_text(name, None, DEFAULTS)
        assert texts.change_title(change(name))


def test_whom_a_rule_is_about() -> None:
    assert texts.subject_text(Name.ROLE, ROLE) == "<@&20>"
    assert texts.subject_text(Name.MEMBER, MEMBER) == "<@30>"
    assert texts.subject_text(Name.LIMITS, 0) == ""


@pytest.mark.parametrize(
    ("made", "title"),
    [
        (change(Name.ALLOWANCE), "Allowance of every member"),
        (change(Name.ROLE, subject_id=ROLE), "Allowance of <@&20>"),
        (change(Name.MEMBER, subject_id=MEMBER), "Allowance of <@30>"),
        (change(Name.BLOCK, subject_id=MEMBER), "Block of <@30>"),
        (change("grant", after={"credits": 1}, subject_id=MEMBER), "Granted"),
        (change("warning", after={"percent": 80}), "Warning: 80 % of the budget"),
    ],
)
def test_a_changes_title(made: Change, title: str) -> None:
    assert texts.change_title(made) == title


def test_a_line_says_what_who_and_when() -> None:
    assert line(Name.ALLOWANCE, None, {"credits": 20}) == (
        "**12. Allowance of every member**: the default (10 credits a period) \N{RIGHTWARDS ARROW} "
        f"20 credits a period \N{MIDDLE DOT} <@40>, <t:{int(AT.timestamp())}:f>"
    )


def test_a_line_says_what_it_takes_back() -> None:
    assert line(Name.BUDGET, 500, None, undoes=11).endswith("takes back change 11")


def test_a_grant_in_a_line() -> None:
    facts: dict[str, Any] = {"credits": 5, "expires_at": None}
    said = line("grant", None, facts, subject_id=MEMBER, reason="for *winning*")
    assert "**12. Granted**: 5 credits to <@30> \N{MIDDLE DOT} <@40>, " in said
    assert said.endswith("\N{MIDDLE DOT} for \\*winning\\*")
    facts |= {"expires_at": to_ms(UNTIL)}
    said = line("grant", None, facts, subject_id=MEMBER, actor_id=None, reason="sorry")
    assert f"5 credits to <@30>, to be spent by {UNTIL_SHOWN} " in said
    assert "\N{MIDDLE DOT} the bot's operator, <t:" in said


def test_a_grant_to_a_role_in_a_line() -> None:
    facts: dict[str, Any] = {
        "credits": 5,
        "role": ROLE,
        "ends_at": to_ms(UNTIL),
        "expires_at": to_ms(UNTIL),
    }
    said = line("grant", None, facts, subject_id=ROLE)
    assert f"5 credits to each member with <@&20> who is seen by {UNTIL_SHOWN}, to be" in said
    facts |= {"role": SERVER, "expires_at": None}
    assert "5 credits to each member who is seen by" in line("grant", None, facts)


def test_a_taking_in_a_line() -> None:
    assert "5 credits from <@30> " in line("take", None, {"credits": 5}, subject_id=MEMBER)
    facts = {"credits": 5, "role": ROLE, "ends_at": to_ms(UNTIL), "expires_at": None}
    said = line("take", None, facts, subject_id=ROLE)
    assert f"up to 5 credits from each member with <@&20> who is seen by {UNTIL_SHOWN} " in said


def test_a_reset_in_a_line() -> None:
    assert "taken back**: 120 credits from 4 members" in line(
        "reset", None, {"members": 4, "credits": 120}
    )
    assert "1 credit from 1 member " in line("reset", None, {"members": 1, "credits": 1})
    assert "1 grant to a role ended " in line("reset", None, {"role_grants": 1})
    assert "1,000 grants to roles ended " in line("reset", None, {"role_grants": 1_000})


def test_a_warning_in_a_line_is_nobodys() -> None:
    facts = {"percent": 80, "used": 800, "budget": 1_000, "until": to_ms(UNTIL)}
    assert line("warning", None, facts, actor_id=None) == (
        "**12. Warning: 80 % of the budget**: 800 of 1,000 credits are spent or held; the next "
        f"period begins <t:{int(UNTIL.timestamp())}:R> \N{MIDDLE DOT} <t:{int(AT.timestamp())}:f>"
    )


def test_of_a_list_what_came_and_went_is_told() -> None:
    words = [f"word{n}" for n in range(500)]
    said = line(Name.WORDS, words, [*words[1:], "new"])
    assert "500 words \N{RIGHTWARDS ARROW} 500 words; added new; removed word0 " in said
    said = line(Name.WORDS, None, ["one", "two"])
    assert "0 words \N{RIGHTWARDS ARROW} 2 words; added one, two " in said
    said = line(Name.CHANNELS, [1], [1, 2])
    assert "1 channel \N{RIGHTWARDS ARROW} 2 channels; added <#2> " in said
    assert "everywhere \N{RIGHTWARDS ARROW} <#1> " in line(Name.CHANNELS, None, [1])


def test_a_blocks_reason_is_said_once() -> None:
    said = line(Name.BLOCK, None, {"reason": "spam", "until": None}, reason="spam")
    assert said.count("spam") == 1


TEXT = st.text(max_size=200) | st.just("@everyone <@1> *" * 12) | st.just("*" * 200)
MS = st.none() | st.integers(0, to_ms(datetime(2100, 1, 1, tzinfo=UTC)))
SNOWFLAKE = st.integers(10**18, 2**63 - 1)
CREDITS = st.none() | st.integers(0, 1_000_000)
CHANGES = st.one_of(
    st.tuples(
        st.just(Name.MEMBER),
        *[st.none() | st.fixed_dictionaries({"credits": CREDITS, "until": MS})] * 2,
    ),
    st.tuples(
        st.just(Name.BLOCK), *[st.none() | st.fixed_dictionaries({"reason": TEXT, "until": MS})] * 2
    ),
    st.tuples(
        st.just(Name.WORDS),
        *[st.none() | st.lists(st.just("*" * 60) | st.text(max_size=60), max_size=20)] * 2,
    ),
    st.tuples(
        st.just(Name.CHANNELS), *[st.none() | st.lists(SNOWFLAKE, max_size=MAX_CHANNELS)] * 2
    ),
    st.tuples(st.just(Name.PAUSE), *[st.none() | TEXT] * 2),
)


@given(CHANGES, TEXT, SNOWFLAKE)
def test_a_line_is_short_and_pings_nobody(
    made: tuple[str, Any, Any], reason: str, subject_id: int
) -> None:
    name, before, after = made
    said = line(name, before, after, reason=reason, subject_id=subject_id, actor_id=subject_id)
    assert len(said) <= 600
    assert "@everyone" not in said
