"""/quota, put together from its subjects: Discord wants one group."""

from discord import app_commands
from discord.ext import commands

from cogs.connection.client import Client
from cogs.quota import giving, limits, record, settings_buttons
from cogs.quota.allowances import Allowances
from cogs.quota.giving import Giving
from cogs.quota.limits import Limiting
from cogs.quota.record import Record
from cogs.quota.reports import Exporting, Reports
from cogs.quota.showing import Showing

PERSISTENT = (
    *giving.PERSISTENT,
    *limits.PERSISTENT,
    *record.PERSISTENT,
    *settings_buttons.PERSISTENT,
)
"""What the bot has to know of to answer presses on messages from before a restart."""


# Discord hides the group from others; a server's settings may say otherwise, so that every command
# checks it too.
@app_commands.default_permissions(manage_guild=True)
class QuotaCog(
    Allowances,
    Giving,
    Limiting,
    Record,
    Reports,
    Showing,
    commands.GroupCog,
    group_name="quota",
    group_description="Credits and limits, for those who manage the server",
):
    """Who may make how much."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._exporting = Exporting()
