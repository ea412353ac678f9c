"""What a server has decided, as it is read."""

from datetime import timedelta
from typing import Any

import pytest

from db.database import Database
from services.credits.calendar import Calendar, Every
from services.settings.server_settings import Manager
from services.settings.settings import (
    Allowance,
    Block,
    Defaults,
    Limits,
    Rules,
    SettingsReader,
    Source,
    rows_of,
    timeline_of,
)
from tests.factories import MEMBER, NOON, SERVER, SettableClock
from tests.unit.services.credits.composed import BY, MANAGER, Product, compose

HOUR = timedelta(hours=1)
DEFAULTS = Defaults(allowance=7, limits=Limits(unfinished=2, seconds=100, steps=60, cooldown=5))


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(database, clock, defaults=DEFAULTS)


async def read(product: Product, member_id: int = MEMBER, server_id: int = SERVER) -> Rules:
    return await SettingsReader(DEFAULTS).read(product.database.reader, server_id, member_id)


async def test_who_decided_nothing_has_the_operators_defaults(product: Product) -> None:
    rules = await read(product)
    assert rules.server == Allowance(7, Source.DEFAULT)
    assert rules.limits == DEFAULTS.limits
    assert (rules.member, rules.block, rules.pause, rules.budget) == (None, None, None, None)
    assert (rules.roles, rules.channels, rules.words) == ({}, (), ())
    assert not rules.gifts
    assert not rules.leaderboard
    assert rules.log_channel_id is None
    assert rules.timeline.at(NOON) == Calendar()


async def test_what_was_decided_is_read_back(product: Product) -> None:
    server_settings, until = product.server_settings, NOON + HOUR
    await server_settings.set_allowance(BY, 3)
    await server_settings.set_role(BY, 21, None)
    await server_settings.set_role(BY, 22, 0)
    await server_settings.set_member(BY, MEMBER, 9, until=until)
    await server_settings.set_limits(BY, unfinished=5, cooldown=0)
    await server_settings.set_channels(BY, [12, 11, 12])
    await server_settings.block(BY, MEMBER, reason="Spam.", until=until)
    await server_settings.set_words(BY, ["spam"])
    await server_settings.pause(BY)
    await server_settings.set_budget(BY, 50)
    await server_settings.set_log(BY, 31)
    await server_settings.set_gifts(BY, allowed=True)
    await server_settings.set_leaderboard(BY, allowed=True)
    await server_settings.set_calendar(BY, every="week", hour=3, zone="europe/berlin")
    rules = await read(product)
    assert rules.server == Allowance(3, Source.SERVER)
    assert rules.roles == {21: None, 22: 0}
    assert rules.member == Allowance(9, Source.MEMBER, until=until)
    assert rules.limits == Limits(unfinished=5, seconds=100, steps=60, cooldown=0)
    assert rules.channels == (11, 12)
    assert rules.block == Block("Spam.", until)
    assert rules.words == ("spam",)
    assert (rules.pause, rules.budget, rules.log_channel_id) == ("", 50, 31)
    assert rules.gifts
    assert rules.leaderboard
    assert rules.timeline.at(NOON + timedelta(days=8)) == Calendar(Every.WEEK, 3, "Europe/Berlin")
    assert list(rows_of(rules.timeline)) == list(rows_of(timeline_of(rows_of(rules.timeline))))


async def test_others_members_and_servers_rules_are_not_read(product: Product) -> None:
    await product.server_settings.set_member(BY, MEMBER + 1, 9)
    await product.server_settings.block(BY, MEMBER + 1, reason="Spam.")
    await product.server_settings.set_allowance(Manager(SERVER + 1, MANAGER), 3)
    rules = await read(product)
    assert (rules.member, rules.block, rules.server.credits) == (None, None, 7)
    assert (await read(product, MEMBER + 1)).block is not None
    assert (await read(product, server_id=SERVER + 1)).server.credits == 3


async def test_a_decision_is_read_at_once_by_everyone(product: Product) -> None:
    """Parsed rules are kept: by their rows, so that nothing old can be read."""
    for credits in (1, 2, 1):
        await product.server_settings.set_allowance(BY, credits)
        assert (await read(product)).server.credits == credits


A, B, C, D = 21, 22, 23, 24


@pytest.mark.parametrize(
    ("roles", "credits", "source", "role"),
    [
        (set(), 10, Source.SERVER, None),
        ({99}, 10, Source.SERVER, None),
        ({A}, 3, Source.ROLE, A),  # a role may give less than the server
        ({A, B}, 20, Source.ROLE, B),
        ({A, B, C}, None, Source.ROLE, C),
        ({A, D, 99}, 3, Source.ROLE, A),
        ({D}, 0, Source.ROLE, D),
    ],
)
def test_the_highest_of_the_roles_counts(
    roles: set[int], credits: int | None, source: Source, role: int | None
) -> None:
    rules = Rules(server=Allowance(10, Source.SERVER), roles={A: 3, B: 20, C: None, D: 0})
    assert rules.allowance_of(roles, at=NOON) == Allowance(credits, source, role_id=role)


@pytest.mark.parametrize("own", [0, 5, None])
def test_a_members_own_goes_before_all_until_it_ends(own: int | None) -> None:
    until = NOON + HOUR
    rules = Rules(
        server=Allowance(10, Source.SERVER),
        roles={A: None},
        member=Allowance(own, Source.MEMBER, until=until),
    )
    assert rules.allowance_of({A}, at=until - HOUR / 10).credits == own
    assert rules.allowance_of({A}, at=until).source is Source.ROLE
    assert rules.allowance_of((), at=until).source is Source.SERVER


@pytest.mark.parametrize(
    ("until", "holds"), [(None, True), (NOON + HOUR, True), (NOON, False), (NOON - HOUR, False)]
)
def test_a_block_holds_until_it_ends(until: Any, holds: bool) -> None:
    assert Block("Spam.", until).holds(NOON) is holds
