"""Every error class of the project is in one tree."""

import importlib
import pkgutil
from collections.abc import Iterator

import bot
import cogs
import db
import playground
import services
from db.errors import SongwrightError


def subclasses(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in type.__subclasses__(cls):
        yield child
        yield from subclasses(child)


def test_every_error_is_below_the_root() -> None:
    for package in (cogs, db, playground, services):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    product = tuple(module.__name__ for module in (bot, cogs, db, playground, services))
    ours = {cls for cls in subclasses(BaseException) if cls.__module__.partition(".")[0] in product}
    assert len(ours) > 30
    assert [cls for cls in ours if not issubclass(cls, SongwrightError)] == []
