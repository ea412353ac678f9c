"""`bot.py check`: check the database and its files, while the bot runs or not."""

from commands.database_services import opened
from commands.exit_status import FAILED
from db.errors import DatabaseFileError
from services.config import Config
from services.operations.consistency_check import check_unopened


async def check(config: Config, *, fix: bool) -> int:
    """Print every problem; return `FAILED` while one remains.

    If the database is too damaged to be opened, only its file is checked.
    """
    try:
        async with opened(config) as services:
            found = await services.consistency_check.run(fix=fix)
    except DatabaseFileError as error:
        if not error.damaged:
            raise
        found = await check_unopened(config.database_path, error)
    for finding in found:
        print(f"{'fixed  ' if finding.fixed else 'problem'}  {finding.text}")
    problems = sum(not finding.fixed for finding in found)
    count = "1 problem" if problems == 1 else f"{problems:,} problems"
    print(f"{count}, {len(found) - problems:,} fixed." if found else "No problems found.")
    return FAILED if problems else 0
