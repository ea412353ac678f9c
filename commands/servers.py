"""`bot.py servers`: list every server with its use, while the bot runs or not."""

from commands.database_services import opened
from services.config import Config
from services.reports.overview import as_lines, as_table


async def list_servers(config: Config) -> int:
    """Print the servers, then the songs that could not be posted."""
    async with opened(config) as services:
        print(as_table(await services.overview.servers()))
        if undelivered := await services.overview.undelivered():
            print(f"\n{as_lines(undelivered)}")
    return 0
