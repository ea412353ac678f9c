"""/quota, put together from its subjects: Discord wants one group."""

from discord import app_commands
from discord.ext import commands

from cogs.credits import transfers
from cogs.credits.transfers import GrantCommands
from cogs.reports.reports import Reports
from cogs.settings import components, history
from cogs.settings.commands import SettingCommands
from cogs.settings.components import PanelForms
from cogs.settings.history import Record

PERSISTENT = (*transfers.PERSISTENT, *history.PERSISTENT, *components.PERSISTENT)
"""What the bot has to know of to answer presses on messages from before a restart."""
FORMS = (components.FORM_ID,)


# Discord hides the group from others; a server's settings may say otherwise, so that every command
# checks it too.
@app_commands.default_permissions(manage_guild=True)
class QuotaCog(
    SettingCommands,
    GrantCommands,
    Record,
    Reports,
    PanelForms,
    commands.GroupCog,
    group_name="quota",
    group_description="Credits and limits, for those who manage the server",
):
    """Who may make how much."""
