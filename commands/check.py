"""`bot.py check`: check the database against itself and its files, while the bot runs or not."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from commands.exit_status import FAILED
from db.errors import DatabaseFileError
from services.operations.consistency_check import ConsistencyCheck, check_unopened


async def check(
    opening: AbstractAsyncContextManager[ConsistencyCheck], database_path: Path, *, fix: bool
) -> int:
    """Print every problem; the exit status, `FAILED` while one remains.

    `opening` opens the database. Where damage prevents that, the file alone is checked.
    """
    try:
        async with opening as consistency_check:
            found = await consistency_check.run(fix=fix)
    except DatabaseFileError as error:
        if not error.damaged:
            raise
        found = await check_unopened(database_path, error)
    for finding in found:
        print(f"{'fixed  ' if finding.fixed else 'problem'}  {finding.text}")
    problems = sum(not finding.fixed for finding in found)
    count = "1 problem" if problems == 1 else f"{problems:,} problems"
    print(f"{count}, {len(found) - problems:,} fixed." if found else "No problems found.")
    return FAILED if problems else 0
