"""Settings in force, as they are read."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from db.database import Database
from services.calendar import Calendar, Every
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BUDGET,
    CALENDAR,
    CATALOGUE,
    MEMBER_ALLOWANCE,
    ROLE_ALLOWANCE,
    UNFINISHED,
)
from services.settings.reader import Settings, SettingsReader
from services.settings.server_settings import Manager
from services.settings.settings import Allowance, Block, Defaults, Limits, Override, Source
from tests.factories import MEMBER, NOON, SERVER, SettableClock
from tests.unit.services.credits.composed import BY, MANAGER, Product, compose

HOUR = timedelta(hours=1)
DEFAULTS = Defaults(allowance=7, limits=Limits(unfinished=2, seconds=100, steps=60, cooldown=5))


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(database, clock, defaults=DEFAULTS)


async def read(product: Product, member_id: int = MEMBER, server_id: int = SERVER) -> Settings:
    return await SettingsReader(DEFAULTS).read(product.database.reader, server_id, member_id)


async def test_without_settings_the_operators_defaults_are_in_force(product: Product) -> None:
    settings = await read(product)
    assert settings.allowance == Allowance(7, Source.DEFAULT)
    assert settings.limits == DEFAULTS.limits
    assert all(settings.is_default(setting) for setting in CATALOGUE)
    assert settings.timeline.at(NOON) == Calendar()


async def test_values_set_are_in_force_at_once(product: Product) -> None:
    server_settings = product.server_settings
    for credits in (1, 2, 1):  # parsed settings are cached: by their rows
        await server_settings.set(BY, ALLOWANCE, credits)
        assert (await read(product)).allowance == Allowance(credits, Source.SERVER)
    await server_settings.set(BY, ROLE_ALLOWANCE, None, 21)
    await server_settings.set(BY, UNFINISHED, 5)
    settings = await read(product)
    assert settings.roles == {21: None}
    assert settings.limits == replace(DEFAULTS.limits, unfinished=5)


async def test_a_calendar_is_read_back(product: Product) -> None:
    calendar = Calendar(Every.WEEK, 3, "Europe/Berlin")
    await product.server_settings.set(BY, CALENDAR, replace(calendar, zone="europe/berlin"))
    settings = await read(product)
    assert settings[CALENDAR] == calendar
    assert settings.timeline.at(NOON + timedelta(days=8)) == calendar


async def test_settings_of_other_members_and_servers_are_not_read(product: Product) -> None:
    await product.server_settings.set(BY, MEMBER_ALLOWANCE, Override(9), MEMBER + 1)
    await product.server_settings.set(BY, BLOCK, Block("Spam."), MEMBER + 1)
    await product.server_settings.set(Manager(SERVER + 1, MANAGER), BUDGET, 3)
    settings = await read(product)
    assert (settings[MEMBER_ALLOWANCE], settings[BLOCK], settings[BUDGET]) == (None, None, None)
    assert (await read(product, MEMBER + 1))[BLOCK] == Block("Spam.")
    assert (await read(product, server_id=SERVER + 1))[BUDGET] == 3


async def test_a_setting_of_another_version_is_ignored(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 3)
    async with product.database.write() as connection:
        await connection.execute("UPDATE settings SET name = 'colour'")
    assert (await read(product)).is_default(BUDGET)


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
    settings = Settings({ALLOWANCE: 10}, roles={A: 3, B: 20, C: None, D: 0})
    assert settings.allowance_of(roles, at=NOON) == Allowance(credits, source, role_id=role)


@pytest.mark.parametrize("own", [0, 5, None])
def test_a_members_own_allowance_comes_first_until_it_ends(own: int | None) -> None:
    until = NOON + HOUR
    values = {ALLOWANCE: 10, MEMBER_ALLOWANCE: Override(own, until)}
    settings = Settings(values, roles={A: None})
    assert settings.allowance_of({A}, at=until - HOUR / 10).credits == own
    assert settings.allowance_of({A}, at=until).source is Source.ROLE
    assert settings.allowance_of((), at=until).source is Source.SERVER


@pytest.mark.parametrize(
    ("until", "holds"), [(None, True), (NOON + HOUR, True), (NOON, False), (NOON - HOUR, False)]
)
def test_a_block_holds_until_it_ends(until: datetime | None, holds: bool) -> None:
    settings = Settings({BLOCK: Block("Spam.", until)})
    assert (settings.block(at=NOON) is not None) is holds
