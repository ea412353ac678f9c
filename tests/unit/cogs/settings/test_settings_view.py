"""The pages of the settings: what they say, and Discord's limits of a message."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from cogs.settings.places import Page, Place
from cogs.settings.settings_view import (
    RULES_SHOWN,
    Settings,
    refill_text,
    settings_view,
    words_text,
)
from services.credits.calendar import Calendar, Every, Timeline
from services.settings.blocked_words import MAX_WORD, MAX_WORDS
from services.settings.server_settings import MAX_CHANNELS, MAX_RULES
from services.settings.settings import Allowance, Block, Defaults, Limits, Name, Rules, Source
from tests.factories import NOON
from tests.unit.cogs.settings.layouts import buttons_in, check_limits, sent_by, text_in

LONG_ID = 9_223_372_036_854_775_807
MANY_ROLES = {LONG_ID - number: 1_000_000 - number for number in range(MAX_RULES[Name.ROLE])}
PAGES = [page for page in Page if page is not Page.MEMBER]
UNTIL = NOON + timedelta(days=3)


def settings(**fields: Any) -> Settings:
    known = {name: fields.pop(name) for name in list(fields) if name in Settings.__slots__}
    rules = Rules(**{"server": Allowance(10, Source.DEFAULT), **fields})
    return Settings(**{"rules": rules, "defaults": Defaults(), "at": NOON, **known})


def extreme() -> Settings:
    """As much of everything as a server can have, and each as long as it can be."""
    week = Calendar(Every.WEEK, 23, "America/Argentina/ComodRivadavia")
    reason = "*" * 200
    return settings(
        server=Allowance(1_000_000, Source.SERVER),
        roles=MANY_ROLES,
        limits=Limits(100, 240, 150, 604_800),
        channels=[LONG_ID - number for number in range(MAX_CHANNELS)],
        words=["*" * MAX_WORD] * MAX_WORDS,
        pause=reason,
        budget=1_000_000_000,
        log_channel_id=LONG_ID,
        gifts=True,
        leaderboard=True,
        timeline=Timeline(((UNTIL, week),)),
        used=999_999_999,
        members=[
            (LONG_ID - number, Allowance(1_000_000, Source.MEMBER, until=UNTIL))
            for number in range(RULES_SHOWN)
        ],
        blocked=[(LONG_ID - number, Block(reason, UNTIL)) for number in range(RULES_SHOWN)],
        count=MAX_RULES[Name.MEMBER],
    )


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("number", [1, 2, 1_000_000])
async def test_every_page_keeps_to_discords_limits(page: Page, number: int) -> None:
    check_limits(settings_view(settings(), Place(page, number)))
    check_limits(settings_view(extreme(), Place(page, number)))


async def test_deleted_roles_keep_to_the_limits_too() -> None:
    gone = settings(roles=MANY_ROLES, living=frozenset())
    check_limits(settings_view(gone, Place(Page.ROLES, 7)))


async def shown(page: Page, number: int = 1, **fields: Any) -> str:
    return text_in(sent_by(settings_view(settings(**fields), Place(page, number))))


async def buttons(page: Page, number: int = 1, **fields: Any) -> dict[str, str]:
    return buttons_in(sent_by(settings_view(settings(**fields), Place(page, number))))


# --- the defaults, shown as such ------------------------------------------------------------------


async def test_a_server_that_decided_nothing_sees_the_defaults() -> None:
    credits = await shown(Page.CREDITS)
    assert "10 credits a day (the default)" in credits
    assert "Every day at 00:00, UTC (the default)" in credits
    assert "None (the default). 0 credits used in this period" in credits
    assert "A song of a minute costs 2, the shortest 1." in credits
    assert "No role has an allowance of its own" in await shown(Page.ROLES)
    assert "No member has an allowance of their own." in await shown(Page.MEMBERS)
    limits = await shown(Page.LIMITS)
    assert "3 songs at once, no cooldown\nUp to 240 s and 150 steps (the default)" in limits
    assert "Everywhere (the default)" in limits
    assert "Nobody" in limits
    assert "Nobody is blocked." in await shown(Page.BLOCKED)
    more = await shown(Page.MORE)
    assert "None (the default)" in more
    assert more.count("Not allowed (the default)") == 2


async def test_what_was_decided_is_no_default() -> None:
    for page in PAGES:
        told = text_in(sent_by(settings_view(extreme(), Place(page))))
        assert "default" not in told.replace("Every day at 00:00, UTC (the default)", "")


# --- pages ----------------------------------------------------------------------------------------


async def test_the_budget_is_a_bar_of_what_is_used() -> None:
    told = await shown(Page.CREDITS, budget=100, used=50)
    assert f"100 credits a day\n{chr(0x25B0) * 6}{chr(0x25B1) * 6} 50 used in this period" in told


async def test_a_calendar_to_come_is_told_with_its_moment() -> None:
    timeline = Timeline(((UNTIL, Calendar(Every.MONTH, 6, "Europe/Berlin")),))
    told = await shown(Page.CREDITS, timeline=timeline)
    when = f"<t:{int(UNTIL.timestamp())}:f>"
    assert f"From {when} on: Every month, on the 1st at 06:00, Europe/Berlin" in told


def test_a_week_begins_on_monday() -> None:
    assert refill_text(Calendar(Every.WEEK, 4)) == "Every week, on Monday at 04:00, UTC"


async def test_roles_stand_with_the_highest_first() -> None:
    told = await shown(Page.ROLES, roles={1: 5, 2: None, 3: 50})
    assert told.index("<@&2>\nUnlimited") < told.index("<@&3>\n50") < told.index("<@&1>\n5 cred")


async def test_a_deleted_role_can_only_be_removed() -> None:
    fields: dict[str, Any] = {"roles": {7: 50}, "living": frozenset({8})}
    assert "A role that was deleted" in await shown(Page.ROLES, **fields)
    found = await buttons(Page.ROLES, **fields)
    assert found["Remove"] == "settings:act:role:7:roles:1"
    assert "Edit" not in found
    assert "Edit" in await buttons(Page.ROLES, roles={7: 50}, living=None)


async def test_rules_are_turned_through_page_by_page() -> None:
    roles = {number: number for number in range(1, 2 * RULES_SHOWN + 2)}
    highest = f"<@&{2 * RULES_SHOWN + 1}>"
    assert highest in await shown(Page.ROLES, roles=roles)
    assert highest not in await shown(Page.ROLES, 2, roles=roles)
    last = await shown(Page.ROLES, 3, roles=roles)
    assert "<@&1>\n1 credit a day" in last
    assert last.count("<@&") == 1
    assert await shown(Page.ROLES, 99, roles=roles) == last


@pytest.mark.parametrize("page", [Page.MEMBERS, Page.BLOCKED])
async def test_the_neighbouring_pages_can_be_turned_to(page: Page) -> None:
    count = 2 * RULES_SHOWN + 1
    assert "Back" not in await buttons(page, 1, count=count)
    middle = await buttons(page, 2, count=count)
    assert middle["Back"] == f"settings:turn:{page}:1"
    assert middle["Next"] == f"settings:turn:{page}:3"
    assert "Next" not in await buttons(page, 3, count=count)
    assert "Next" not in await buttons(page, 1, count=RULES_SHOWN)


@pytest.mark.parametrize(
    ("until", "told"), [(UNTIL, ", until <t:"), (NOON - timedelta(days=1), ", ended <t:")]
)
async def test_an_override_says_until_when(until: datetime, told: str) -> None:
    fields: dict[str, Any] = {"members": [(5, Allowance(None, Source.MEMBER, until=until))]}
    assert f"<@5>\nUnlimited{told}" in await shown(Page.MEMBERS, **fields)


@pytest.mark.parametrize(("count", "told"), [(0, "Nobody"), (1, "1 member"), (2, "2 members")])
async def test_who_is_blocked_is_counted(count: int, told: str) -> None:
    assert f"**Blocked members**\n{told}\n" in await shown(Page.LIMITS, count=count)


async def test_each_block_has_its_reason_and_its_end() -> None:
    over, lasting = Block("was loud", NOON), Block("is *loud*", None)
    fields: dict[str, Any] = {"blocked": [(1, over), (2, lasting)], "count": 2}
    told = await shown(Page.BLOCKED, **fields)
    assert "<@2>\nis \\*loud\\*" in told
    assert "<@1>, ended <t:" in told
    found = await buttons(Page.BLOCKED, **fields)
    assert found["Unblock"] == "settings:act:unblock:1:blocked:1"
    assert "Limits" in found


async def test_a_pause_and_its_reason() -> None:
    found = await buttons(Page.LIMITS)
    assert found["Pause"] == "settings:act:pause:0:limits:1"
    assert "Give a reason" not in found
    found = await buttons(Page.LIMITS, pause="")
    assert found["Resume"] == "settings:act:resume:0:limits:1"
    assert "Give a reason" in found
    assert "**Paused**: for @\u200beveryone" in await shown(Page.LIMITS, pause="for @everyone")
    assert "Change the reason" in await buttons(Page.LIMITS, pause="why")


async def test_what_members_may_do_is_toggled() -> None:
    assert (await buttons(Page.MORE))["Allow"] == "settings:act:gifts:0:more:1"
    found = await buttons(Page.MORE, gifts=True)
    assert found["Forbid"] == "settings:act:no-gifts:0:more:1"
    assert found["Allow"] == "settings:act:leaderboard:0:more:1"


def test_words_are_hidden_until_somebody_wants_to_see_them() -> None:
    assert words_text(["bad||word"]) == "1 word: ||bad\\|\\|word||"
    assert words_text(["one", "two"]) == "2 words: ||one, two||"


async def test_the_tab_of_a_page_is_marked_and_leads_nowhere() -> None:
    found = await buttons(Page.ROLES)
    assert "Roles" not in found
    assert found["Credits"] == "settings:tab:credits:1"
