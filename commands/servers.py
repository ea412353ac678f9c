"""`bot.py servers`: list every server with its use, while the bot runs or not."""

from services.reports.overview import Overview, as_lines, as_table


async def list_servers(overview: Overview) -> int:
    """Print the servers, then the songs that could not be posted; the exit status."""
    print(as_table(await overview.servers()))
    if undelivered := await overview.undelivered():
        print(f"\n{as_lines(undelivered)}")
    return 0
