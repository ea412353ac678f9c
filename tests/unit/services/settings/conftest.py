"""A product with the operator's usual defaults."""

import pytest

from db.database import Database
from tests.factories import SettableClock
from tests.unit.services.credits.composed import Product, compose


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(database, clock)
