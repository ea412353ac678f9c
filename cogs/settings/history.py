"""Changes and undoing them: /quota history, /quota log."""

import re
from typing import Any

import discord
from discord import app_commands, ui
from discord.app_commands import Range

from cogs.client.components import Persistent, Row
from cogs.client.people import data_of, manager_of
from cogs.client.quota import QuotaCommands, acknowledged_manager, quota_of
from cogs.client.texts import BLURPLE
from cogs.settings.channels import WRITTEN_IN, ChannelOption, check_channels, obstacle
from cogs.settings.texts import DOT, change_line, change_title, changed_text, promise
from db.records import Change
from services.errors import InvalidRequest, NotPossible
from services.settings.catalogue import BY_KEY, LOG
from services.settings.changelog import History
from services.settings.server_settings import Manager
from services.settings.settings import Defaults

DESCRIPTION = 4_096
"""Characters of one embed's description; all embeds of a message hold 6,000 (Discord)."""
LAST_PAGE = 999_999
MENTION = re.compile(r"<@(&?)[0-9]+>")


class Record(QuotaCommands):
    """The part of /quota that shows changes, and sets where they are posted."""

    @app_commands.command()
    @app_commands.describe(page="Which page; the first is the newest")
    async def history(
        self, interaction: discord.Interaction, page: Range[int, 1, LAST_PAGE] = 1
    ) -> None:
        """See every change of a setting, and undo changes."""
        by = await acknowledged_manager(interaction)
        shown = await _page(self, by, page)
        await interaction.followup.send(**shown, ephemeral=True)

    @app_commands.command()
    @app_commands.describe(
        channel="Where each change is posted", off="True: changes are posted nowhere"
    )
    async def log(
        self,
        interaction: discord.Interaction,
        channel: app_commands.Transform[int, ChannelOption(WRITTEN_IN)] | None = None,
        off: bool = False,
    ) -> None:
        """Choose the channel where each change, and each warning of the budget, is posted."""
        by = await acknowledged_manager(interaction)
        if channel is not None and off:
            raise InvalidRequest("Choose either a channel or `off`.")
        if channel is not None:
            check_channels(interaction.guild, [channel], songs=False)
        if channel is not None or off:
            await self.server_settings.set(by, LOG, channel)
        current = (await self.server_settings.read(by.server_id))[LOG]
        said = promise(current, obstacle(interaction.guild, current))
        await interaction.followup.send(said, ephemeral=True)


# --- the history ----------------------------------------------------------------------------------


async def _page(known: QuotaCommands, by: Manager, number: int) -> dict[str, Any]:
    """Return a page of a server's changes: the embeds and the view of a message."""
    history = await known.changelog.history(by.server_id, page=number)
    return {
        "embeds": history_cards(history, known.defaults),
        "view": history_buttons(history),
    }


def history_cards(history: History, defaults: Defaults) -> list[discord.Embed]:
    """Show one page; as two embeds where its lines don't fit into one."""
    lines = []
    for change in history.changes:
        line, by = change_line(change, defaults), history.undone_by.get(change.number)
        lines.append(line if by is None else f"{line} {DOT} *undone by change {by}*")
    if not lines:
        lines = ["Nothing was changed here yet. `/quota show` shows the settings."]
    half = len(lines) // 2 if len("\n".join(lines)) > DESCRIPTION else len(lines)
    parts = [part for part in (lines[:half], lines[half:]) if part]
    cards = [discord.Embed(description="\n".join(part), colour=BLURPLE) for part in parts]
    cards[0].title = "Changes"
    cards[-1].set_footer(text=f"Page {history.number:,} of {history.pages:,}")
    return cards


def history_buttons(history: History) -> ui.View:
    """Offer what can be undone, and the neighbouring pages."""
    row = Row()
    settings = [change for change in history.changes if change.name in BY_KEY]
    if can_be := [change for change in settings if change.number not in history.undone_by]:
        row.add_item(UndoMenu(can_be))
    if history.pages > 1:
        newer, older = history.number - 1, history.number + 1
        row.add_item(ChangesButton(newer, label="Newer", enabled=newer >= 1))
        row.add_item(ChangesButton(older, label="Older", enabled=older <= history.pages))
    return row


class ChangesButton(
    Persistent, ui.DynamicItem[ui.Button[Any]], template=r"changes:page:(?P<page>[0-9]{1,6})"
):
    """Turns to another page of a server's changes."""

    def __init__(self, page: int, *, label: str = "", enabled: bool = True) -> None:
        self.page = page
        super().__init__(
            ui.Button(
                label=label or str(page), custom_id=f"changes:page:{page}", disabled=not enabled
            )
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        """Show the page in place."""
        by = manager_of(interaction)
        shown = await _page(quota_of(interaction), by, self.page)
        await interaction.response.edit_message(**shown)


class UndoMenu(Persistent, ui.DynamicItem[ui.Select[Any]], template=r"changes:undo"):
    """Undoes the change that is chosen."""

    def __init__(self, can_be: list[Change] | None = None) -> None:
        options = [
            discord.SelectOption(label=_label(change), value=str(change.number))
            for change in can_be or []
        ]
        super().__init__(
            ui.Select(custom_id="changes:undo", placeholder="Undo a change", options=options)
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        """Undo the change that was chosen and show the first page."""
        by, known = manager_of(interaction), quota_of(interaction)
        chosen = str((data_of(interaction).get("values") or [""])[0])
        if not re.fullmatch(r"[0-9]{1,15}", chosen):
            raise NotPossible("There is no such change in this server.")
        await interaction.response.defer()
        change = await known.server_settings.undo(by, int(chosen))
        await interaction.edit_original_response(**await _page(known, by, 1))
        said = f"Change {chosen} is undone. {changed_text(change, known.defaults)}"
        await interaction.followup.send(said, ephemeral=True)


def _label(change: Change) -> str:
    """Name a change in a menu, which shows no mentions."""
    title = MENTION.sub(lambda found: "a role" if found[1] else "a member", change_title(change))
    return f"{change.number}. {title}"


PERSISTENT = (ChangesButton, UndoMenu)
"""What the bot has to know of to answer presses on messages from before a restart."""
