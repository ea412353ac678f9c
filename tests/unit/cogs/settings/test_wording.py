"""All wording of settings, in one file: `wording.txt`.

`python -m tests.unit.cogs.settings.test_wording` writes it again: read what changed before you
commit it.
"""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cogs.client.texts import refusal_text
from cogs.settings import texts
from cogs.settings.channels import GONE
from cogs.settings.forms import FORMS, Current
from cogs.settings.panel import PanelData, PanelPage, panel
from commands.database_services import default_settings
from db.records import Change, to_ms
from services.calendar import Calendar, Every
from services.config import Config
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BLOCKED_WORDS,
    BUDGET,
    CALENDAR,
    CATALOGUE,
    CHANNELS,
    COOLDOWN,
    GIFTS,
    HOURLY_IN_CHANNEL,
    LEADERBOARD,
    LOG,
    LONGEST,
    MEMBER_ALLOWANCE,
    MOST_STEPS,
    PAUSE,
    POST_IN,
    ROLE_ALLOWANCE,
    UNFINISHED,
    About,
    Setting,
    Topic,
)
from services.settings.changelog import as_json
from services.settings.reader import Settings
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
from services.settings.settings import Block, Defaults, Override
from tests.unit.cogs.settings.layouts import sent_by, text_in

FILE = Path(__file__).with_name("wording.txt")
README = Path(__file__).parents[4] / "README.md"
SERVER, ROLE, MEMBER, MANAGER = 10, 20, 30, 40
AT = datetime(2026, 3, 14, 12, tzinfo=UTC)
UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
VALUES: dict[Setting[Any], list[Any]] = {
    ALLOWANCE: [20, 1, None],
    CALENDAR: [Calendar(Every.WEEK, 4, "Europe/Berlin"), Calendar(Every.MONTH, 23, "Asia/Tokyo")],
    BUDGET: [500],
    ROLE_ALLOWANCE: [1_000],
    MEMBER_ALLOWANCE: [Override(None), Override(5, UNTIL)],
    PAUSE: ["", "*exams*"],
    UNFINISHED: [1, 5],
    LONGEST: [60],
    MOST_STEPS: [75],
    COOLDOWN: [0, 3_600],
    HOURLY_IN_CHANNEL: [5],
    CHANNELS: [[1], list(range(1, 8))],
    POST_IN: [7],
    BLOCKED_WORDS: [["bad||word"], list("abcdefg")],
    BLOCK: [Block("**spam**", UNTIL), Block("spam")],
    GIFTS: [True],
    LEADERBOARD: [True],
    LOG: [7],
}
"""Of each setting, what is worth reading."""


REFUSALS = (
    TooManyChannels(26, 25),
    TooManySet(1_000),
    TooManyWords(501, 500),
    WordTooLong(2, 61, 60),
    WordWithoutLetters(2),
    WordOfSigns(2),
    NoSuchChange(3),
    NotASetting(3),
    ChangedSince(3),
)


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


def changes() -> Iterator[Change]:
    subjects = {About.SERVER: 0, About.ROLE: ROLE, About.MEMBER: MEMBER}
    for setting in CATALOGUE:
        stored = None
        for value in (*VALUES[setting], None):
            after = None if value is None else setting.kind.encode(value)
            if value is None and setting is ALLOWANCE and stored != {"credits": None}:
                after = {"credits": None}
            subject_id = subjects[setting.about]
            yield change(setting.key, stored, after, subject_id=subject_id)
            stored = after
    yield change("budget", 500, None, undoes=11)
    facts: dict[str, Any] = {"credits": 5, "expires_at": None}
    yield change("grant", None, facts, subject_id=MEMBER, reason="for *winning*")
    facts = {"credits": 5, "expires_at": to_ms(UNTIL)}
    yield change("grant", None, facts, subject_id=MEMBER, actor_id=None, reason="sorry")
    yield change("take", None, {"credits": 5}, subject_id=MEMBER)
    for role in (ROLE, SERVER):
        facts = {"credits": 5, "role": role, "ends_at": to_ms(UNTIL), "expires_at": to_ms(UNTIL)}
        yield change("grant", None, facts, subject_id=role)
        yield change("take", None, facts, subject_id=role)
    yield change("reset", None, {"members": 4, "credits": 120})
    yield change("reset", None, {"members": 1, "credits": 1})
    yield change("reset", None, {"role_grants": 1})
    yield change("reset", None, {"role_grants": 1_000})
    facts = {"percent": 80, "used": 800, "budget": 1_000, "until": to_ms(UNTIL)}
    yield change("warning", None, facts, actor_id=None)


def wording() -> Iterator[str]:
    """Everything, line by line."""
    yield "# Changes, as in the history and the log channel"
    yield from (texts.change_line(each, Defaults()) for each in changes())
    yield "\n# Replies to commands"
    yield texts.NO_CHANGE
    for each in changes():
        if each.name not in ("grant", "take", "reset", "warning"):
            yield texts.changed_text(each, Defaults())
    yield "\n# Refusals"
    yield from map(refusal_text, REFUSALS)
    yield "\n# The log channel, as `/quota log` describes it"
    for channel, why in ((None, None), (7, None), (7, GONE), (7, "I lack Embed Links there")):
        yield texts.promise(channel, why)
    values = {setting: VALUES[setting][-1] for setting in CATALOGUE}
    rows: dict[Topic, list[tuple[int, Any]]] = {
        Topic.ROLES: [(ROLE, 50), (99, None)],
        Topic.MEMBERS: [(MEMBER, Override(5, AT - timedelta(days=1)))],
        Topic.BLOCKED: [(MEMBER, Block("spam", UNTIL))],
    }
    for settings in (Settings(), Settings(values)):
        # What the defaults are is in the README's table as well.
        for topic in Topic if settings.values else (Topic.CREDITS, *rows):
            shown = rows.get(topic, []) if settings.values else []
            data = PanelData(
                settings, AT, used=5, rows=shown, count=len(shown), living=frozenset({ROLE})
            )
            yield f"\n# Page: {topic}{', with values' if settings.values else ''}"
            yield text_in(sent_by(panel(data, PanelPage(topic))))
    for name, form in FORMS.items():
        modal = form.open("x", Current(Settings(), AT, 0, None))
        yield f"\n# Form: {name}: {modal.title}"
        for item in modal.children:
            yield f"{getattr(item, 'text', '')}: {getattr(item, 'description', '')}"


async def test_wording_is_as_recorded() -> None:
    assert "\n".join(wording()) + "\n" == FILE.read_text(encoding="utf-8")


def table() -> str:
    """Return the README's table of settings, with the operator's defaults."""
    rows = [f"| {setting.label} | {setting.help} | {_default(setting)} |" for setting in CATALOGUE]
    return "\n".join(("| setting | what | default |", "|---|---|---|", *rows))


def _default(setting: Setting[Any]) -> str:
    if setting.about is not About.SERVER:
        return ""
    operators = default_settings(Config.model_construct())
    return texts.value_text(setting, setting.default(operators), each="a day")


def test_the_readme_has_every_setting() -> None:
    assert table() in README.read_text(encoding="utf-8")


def test_names_and_descriptions_are_within_discords_limits() -> None:
    for setting in CATALOGUE:
        assert len(setting.label) <= 30
        assert len(setting.help) <= 90
        assert len(setting.group) <= 45


@given(
    setting=st.sampled_from([MEMBER_ALLOWANCE, BLOCK, BLOCKED_WORDS, CHANNELS, PAUSE]),
    typed=st.text(max_size=200) | st.just("@everyone <@1> *" * 12) | st.just("*" * 200),
    numbers=st.lists(st.integers(10**18, 2**63 - 1), max_size=25),
    empty=st.sampled_from(["before", "after", None]),
)
def test_a_line_is_short_and_pings_nobody(
    setting: Setting[Any], typed: str, numbers: list[int], empty: str | None
) -> None:
    value: Any = {
        MEMBER_ALLOWANCE: Override(1_000_000, UNTIL),
        BLOCK: Block(typed, UNTIL),
        BLOCKED_WORDS: [f"{n}{typed}"[:60] for n in range(20)],
        CHANNELS: numbers,
        PAUSE: typed,
    }[setting]
    other = ["other"] if setting is BLOCKED_WORDS else [1, 2] if setting is CHANNELS else value
    sides = {"before": setting.kind.encode(other), "after": setting.kind.encode(value)}
    if empty is not None:
        sides[empty] = None
    made = change(setting.key, **sides, subject_id=2**63 - 1, actor_id=2**63 - 1)
    line = texts.change_line(made, Defaults())
    assert len(line) <= 600
    assert "@everyone" not in line
    assert not re.search(r"<@1>", line)


async def _record() -> None:
    FILE.write_text("\n".join(wording()) + "\n", encoding="utf-8")
    print(table())


if __name__ == "__main__":
    asyncio.run(_record())
