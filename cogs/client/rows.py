"""Rows of buttons and menus under a message."""

from discord import ui


class Row(ui.View):
    """Buttons and menus that say in their ids what they are for: discord.py need not keep them.

    It would, with a task for each, for 15 minutes.
    """

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self.stop()
