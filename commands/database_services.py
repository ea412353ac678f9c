"""The services that need only the database, for terminal commands and the bot."""

import contextlib
from collections.abc import AsyncIterator

from db.database import Database
from services.amounts import Prices
from services.clock import Clock, utc_now
from services.config import Config
from services.credits.budgets import ServerBudget
from services.credits.credits import Credits
from services.credits.transfers import CreditTransfers
from services.errors import ConfigurationError
from services.operations.consistency_check import ConsistencyCheck
from services.reports.overview import Overview
from services.settings.changelog import Changelog
from services.settings.reader import SettingsReader
from services.settings.settings import Defaults, Limits


class DatabaseServices:
    """The services that need only the database."""

    def __init__(self, config: Config, database: Database, clock: Clock) -> None:
        self.config, self.database = config, database
        self.changelog = Changelog(database, clock=clock, notify=self._settings_changed)
        self.settings_reader = SettingsReader(default_settings(config))
        self.budget = ServerBudget(database, self.settings_reader, self.changelog)
        self.credits = Credits(database, self.settings_reader, self.budget, clock=clock)
        self.transfers = CreditTransfers(
            database, self.settings_reader, self.credits, self.changelog, clock=clock
        )
        self.overview = Overview(database, self.settings_reader, clock=clock)
        self.consistency_check = ConsistencyCheck(database, self.credits, data_dir=config.data_dir)

    def _settings_changed(self) -> None:
        """Do nothing: a running bot finds by itself what a terminal command has changed."""


def default_settings(config: Config) -> Defaults:
    """Return the settings of a server that has decided nothing."""
    return Defaults(
        allowance=config.default_allowance,
        prices=Prices(config.price_seconds, config.price_steps),
        limits=Limits(cooldown=config.default_cooldown),
        hourly_refunds=config.member_hourly_refunds,
    )


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[DatabaseServices]:
    """Open the existing database for a terminal command, while the bot runs or not.

    Raises:
        ConfigurationError: there is none.
        SchemaTooOldError: its schema can't be brought up to date under a bot that uses it.
    """
    if not config.database_path.exists():
        raise ConfigurationError(
            f"There is no database at {config.database_path}. Run this where the bot runs, or "
            "set DATABASE_URL to its database; the first `bot.py run` makes one."
        )
    database = await Database.open(config.database_path, while_bot_runs=True)
    try:
        yield DatabaseServices(config, database, utc_now)
    finally:
        await database.close()
