"""What tests of all parts share. The database is always the real one."""

import contextlib
import gc
import importlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from db.database import Database
from services.credits.credits import Credits
from tests.databases import new_database
from tests.factories import SettableClock, make_credits

HERE = Path(__file__).parent
FIGURE = "figure"
LONGEST_FIRST = (
    "tests/security/test_generated_",
    "tests/reliability/test_killed_",
    "tests/reliability/",
    "tests/security/",
    "tests/unit/playground/test_discord.py",
    "tests/test_bot.py",
    "tests/test_command_line.py",
)
"""Most of these start processes and wait for them; all others come after them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`: what `make test-long` runs."""
    parser.addoption("--long", action="store_true", help="all that is proven, not a part")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `long`; generated examples differ from run to run only with `--long`.

    Examples have no deadline, which a busy machine would miss.
    """
    config.addinivalue_line("markers", "long: only with --long, since it takes minutes")
    settings.register_profile(
        "tests",
        deadline=None,
        derandomize=not config.getoption("--long"),
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("tests")


def pytest_xdist_auto_num_workers() -> int:
    """Twice the number of processors: half of the time tests wait for processes."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(trylast=True)  # hypothesis begins first
def pytest_sessionstart(session: pytest.Session) -> None:
    """Let each worker begin its imports at another file, so that all compile a fresh clone.

    Otherwise each would compile every file, which takes 7 s of CPU.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    files = sorted(HERE.rglob("test_*.py"))
    first = int(worker["workerid"].removeprefix("gw")) * len(files) // worker["workercount"]
    for file in files[first:] + files[:first]:
        name = ".".join(file.relative_to(HERE.parent).with_suffix("").parts)
        # The collection meets it again, and says so.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what takes minutes, unless `--long` is given.

    What takes longest goes first: at the end it would keep one worker busy, and the others idle.
    """
    if not config.getoption("--long"):
        late = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=late)
    items.sort(key=lambda item: [not item.nodeid.startswith(start) for start in LONGEST_FIRST])


def pytest_collection_finish() -> None:
    """Collect garbage rarely, and never what was imported: together it took 10% of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The figures of the run, for docs/reliability.md and docs/security.md."""
    figures = [
        (report.nodeid, text)
        for report in terminalreporter.getreports("passed")
        for name, text in report.user_properties
        if name == FIGURE
    ]
    if figures:
        terminalreporter.section("figures")
        for nodeid, text in sorted(figures):
            terminalreporter.write_line(f"{nodeid}: {text}")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Return whether this is the long run, in which tests do more of the same."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that adds what was measured to the end of the run."""
    return lambda text: request.node.user_properties.append((FIGURE, text))


@pytest.fixture
def clock() -> SettableClock:
    """Noon, until a test moves it."""
    return SettableClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A new database in a file."""
    opened = await new_database(tmp_path / "songs.db")
    await opened._writer.execute("PRAGMA synchronous = OFF")  # no power is cut here
    yield opened
    await opened.close()


@pytest.fixture
def credits(database: Database, clock: SettableClock) -> Credits:
    """Ten credits a day."""
    return make_credits(database, clock)
