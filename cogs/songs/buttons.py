"""Buttons and menus of songs. Everything they need is in their `custom_id`.

A `custom_id` can be forged, so the owner of a song is read from its row.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import discord
from discord import ui
from discord.ext import commands

from cogs.client.components import ID, Persistent, Row, cog_of
from cogs.client.people import data_of, requester, server_of
from cogs.client.permissions import as_seen, manages, may_read
from cogs.songs import cards, show, texts
from db.records import Song, State
from services.clock import Clock
from services.songs.delivery import Delivery
from services.songs.queue import Queue, View
from services.songs.refusals import NotYourSong, UnknownSong
from services.songs.song_request import title_of
from services.songs.songs import Page, Songs

MOST_OPTIONS = 25
"""Discord, "Select Menus"."""
OPTION_LABEL = 100


class SongButtons(commands.Cog):
    """The services that buttons and menus of songs use."""

    def __init__(
        self,
        songs: Songs,
        queue: Queue,
        delivery: Delivery,
        *,
        clock: Clock,
        show: Callable[[int], None],
    ) -> None:
        self.songs = songs
        self.queue = queue
        self.delivery = delivery
        self.clock = clock
        self.show = show


def _cog(interaction: discord.Interaction[Any]) -> SongButtons:
    return cog_of(interaction, SongButtons)


# --- on the status message ------------------------------------------------------------------------


class CancelButton(
    Persistent,
    ui.DynamicItem[ui.Button[Any]],
    template=rf"song:cancel:(?P<song_id>{ID})",
):
    """Cancel a song that has not been submitted."""

    def __init__(self, song_id: int) -> None:
        self.song_id: int = song_id
        super().__init__(
            ui.Button(
                label=texts.CANCEL,
                style=discord.ButtonStyle.danger,
                custom_id=f"song:cancel:{song_id}",
            )
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        if not await _renew(interaction, self.song_id):
            return
        try:
            await _cog(interaction).songs.cancel(
                self.song_id,
                server_id=server_of(interaction),
                member_id=interaction.user.id,
                manager=False,
            )
        finally:
            _cog(interaction).show(self.song_id)


class RefreshButton(
    Persistent,
    ui.DynamicItem[ui.Button[Any]],
    template=rf"song:refresh:(?P<song_id>{ID})",
):
    """Show the current state; this allows edits of the status message for 15 more minutes."""

    def __init__(self, song_id: int) -> None:
        self.song_id: int = song_id
        super().__init__(
            ui.Button(
                label=texts.REFRESH,
                style=discord.ButtonStyle.secondary,
                custom_id=f"song:refresh:{song_id}",
            )
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        if await _renew(interaction, self.song_id):
            _cog(interaction).show(self.song_id)


class GetButton(
    Persistent,
    ui.DynamicItem[ui.Button[Any]],
    template=rf"song:get:(?P<song_id>{ID})",
):
    """Give an undelivered song to its requester."""

    def __init__(self, song_id: int) -> None:
        self.song_id: int = song_id
        super().__init__(
            ui.Button(
                label=texts.GET_SONG,
                style=discord.ButtonStyle.primary,
                custom_id=f"song:get:{song_id}",
            )
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        view = await _own_song(interaction, self.song_id)
        await interaction.response.defer()
        # If Discord refuses the file, the status message continues to be updated.
        renewed = await _keep_token(interaction, self.song_id)
        if not renewed or not await show.hand_over(
            interaction, _cog(interaction).delivery, view.song, in_status=True
        ):
            await _show_now(interaction, self.song_id)


async def _renew(interaction: discord.Interaction[Any], song_id: int) -> bool:
    """Store the new token; return False if the song has finished, and show that."""
    view = await _own_song(interaction, song_id)
    await interaction.response.defer()
    if view.song.ended:
        await _show_now(interaction, song_id)
        return False
    renewed = await _keep_token(interaction, song_id)
    if not renewed:
        await _show_now(interaction, song_id)
    return renewed


async def _keep_token(interaction: discord.Interaction[Any], song_id: int) -> bool:
    """Return False if the song has finished."""
    message_id = interaction.message.id if interaction.message else None
    return await _cog(interaction).songs.renew_token(
        song_id, requester(interaction, at=_cog(interaction).clock(), message_id=message_id)
    )


async def _show_now(interaction: discord.Interaction[Any], song_id: int) -> None:
    """Show the song's current state; it may have changed since it was read."""
    view = await _own_song(interaction, song_id)
    await interaction.edit_original_response(
        embed=cards.status_card(view), view=status_buttons(view.song)
    )


async def _own_song(interaction: discord.Interaction[Any], song_id: int) -> View:
    view = await _cog(interaction).queue.view(song_id)
    if view is None or view.song.server_id != interaction.guild_id:
        raise UnknownSong
    if view.song.member_id != interaction.user.id:
        raise NotYourSong
    return view


def status_buttons(song: Song) -> ui.View | None:
    """Return the buttons of a status message; None if there are none."""
    if song.ended and song.state is not State.UNDELIVERED:
        return None
    row = Row()
    if song.ended:
        row.add_item(GetButton(song.song_id))
        return row
    if song.cancellable:
        row.add_item(CancelButton(song.song_id))
    row.add_item(RefreshButton(song.song_id))
    return row


# --- on the queue ---------------------------------------------------------------------------------


class CancelMenu(
    Persistent,
    ui.DynamicItem[ui.Select[Any]],
    template=r"queue:cancel",
):
    """Cancel a waiting song: a member their own, a manager any."""

    def __init__(self, waiting: Sequence[Song] = ()) -> None:
        super().__init__(
            ui.Select(
                custom_id="queue:cancel",
                placeholder=texts.CANCEL_MENU,
                options=[_option(song) for song in waiting[:MOST_OPTIONS]],
            )
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer()
        song = await _cog(interaction).songs.cancel(
            _chosen(interaction),
            server_id=server_of(interaction),
            member_id=interaction.user.id,
            manager=manages(interaction),
        )
        _cog(interaction).show(song.song_id)
        embed, row = await queue_answer(interaction)
        await interaction.edit_original_response(embed=embed, view=row)


async def queue_answer(
    interaction: discord.Interaction[Any],
) -> tuple[discord.Embed, ui.View | None]:
    """Show the queue of this server, with a menu of the songs that this person may cancel."""
    views = [
        replace(view, song=as_seen(interaction, view.song))
        for view in await _cog(interaction).queue.of_server(server_of(interaction))
    ]
    cancellable = [
        view.song
        for view in views
        if view.song.cancellable
        and (view.song.member_id == interaction.user.id or manages(interaction))
    ]
    row = None
    if cancellable:
        row = Row()
        row.add_item(CancelMenu(cancellable))
    return cards.queue_card(views, viewer_id=interaction.user.id), row


# --- on the history -------------------------------------------------------------------------------


class PageButton(
    Persistent,
    ui.DynamicItem[ui.Button[Any]],
    template=rf"history:(?P<member_id>{ID}):(?P<page>[0-9]{{1,6}})",
):
    """Show another page of a member's songs."""

    def __init__(self, member_id: int, page: int, *, label: str = "", enabled: bool = True) -> None:
        self.member_id = member_id
        self.page = page
        super().__init__(
            ui.Button(
                label=label or str(page),
                custom_id=f"history:{member_id}:{page}",
                disabled=not enabled,
            )
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        embed, row = await history_answer(interaction, self.member_id, page=self.page)
        await interaction.response.edit_message(embed=embed, view=row)


class SongMenu(
    Persistent,
    ui.DynamicItem[ui.Select[Any]],
    template=r"history:open",
):
    """Show one song's card."""

    def __init__(self, shown: Sequence[Song] = ()) -> None:
        super().__init__(
            ui.Select(
                custom_id="history:open",
                placeholder=texts.OPEN_MENU,
                options=[_option(song) for song in shown[:MOST_OPTIONS]],
            )
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        song = await _cog(interaction).songs.get(
            _chosen(interaction), server_id=server_of(interaction)
        )
        await interaction.response.send_message(
            embed=song_answer(interaction, song), ephemeral=True
        )


def song_answer(
    interaction: discord.Interaction[Any], song: Song, view: View | None = None
) -> discord.Embed:
    """Show a song, without genres and lyrics if this person may not read them."""
    if may_read(interaction, song):
        return cards.song_card(song, view)
    return cards.hidden_card(song)


async def history_answer(
    interaction: discord.Interaction[Any], member_id: int, *, page: int
) -> tuple[discord.Embed, ui.View | None]:
    """Show a page of a member's songs, with what this person may read of each."""
    found = await _cog(interaction).songs.history(server_of(interaction), member_id, page=page)
    seen = replace(found, songs=[as_seen(interaction, song) for song in found.songs])
    return cards.history_card(seen, member_id=member_id), history_row(seen, member_id)


def history_row(page: Page, member_id: int) -> ui.View | None:
    """Return a menu of the page's songs and buttons to its neighbours."""
    if not page.songs:
        return None
    row = Row()
    row.add_item(SongMenu(page.songs))
    if page.pages > 1:
        before, after = page.number - 1, page.number + 1
        row.add_item(PageButton(member_id, before, label=texts.NEWER, enabled=before >= 1))
        row.add_item(PageButton(member_id, after, label=texts.OLDER, enabled=after <= page.pages))
    return row


def _option(song: Song) -> discord.SelectOption:
    name = f"#{song.number} {title_of(song.genres, song.lyrics)}"
    return discord.SelectOption(label=name[:OPTION_LABEL].rstrip(), value=str(song.song_id))


def _chosen(interaction: discord.Interaction[Any]) -> int:
    """Return the id that was chosen in a menu.

    Raises:
        NotPossible: it is not an id.
    """
    values = data_of(interaction).get("values") or [""]
    if not re.fullmatch(ID, str(values[0])):
        raise UnknownSong
    return int(values[0])


PERSISTENT = (CancelButton, RefreshButton, GetButton, CancelMenu, PageButton, SongMenu)
"""To be registered at the start, so that they work on messages from before a restart."""
