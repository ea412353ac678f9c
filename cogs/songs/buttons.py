"""Buttons and menus of songs. Everything they need is in their `custom_id`.

A `custom_id` can be forged, so the owner of a song is read from its row.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import discord
from discord import ButtonStyle, ui
from discord.ext import commands

from cogs.client.answers import map_discord_errors
from cogs.client.components import ID, Persistent, Row, cog_of
from cogs.client.people import data_of, requester, server_of
from cogs.client.permissions import as_seen, manages, may_read
from cogs.songs import cards, texts
from db.records import Song, SongEvent, State
from services.clock import Clock
from services.errors import CannotPost, DeliveryError, NotPossible
from services.songs.poster import Poster
from services.songs.queue import Queue, View
from services.songs.refusals import NotYourSong, UnknownSong
from services.songs.song_request import title_of
from services.songs.songs import Page, Songs

log = logging.getLogger(__name__)

LONGEST_UPLOAD = 180.0
"""Seconds for an upload and its response; discord.py sets none for webhooks, see `Client`."""
MOST_OPTIONS = 25
"""Discord, "Select Menus"."""
OPTION_LABEL = 100

Press = discord.Interaction[Any]


class SongButtons(commands.Cog):
    """The services that buttons and menus of songs use."""

    def __init__(
        self,
        songs: Songs,
        queue: Queue,
        poster: Poster,
        *,
        clock: Clock,
        show: Callable[[int], None],
    ) -> None:
        self.songs = songs
        self.queue = queue
        self.poster = poster
        self.clock = clock
        self.show = show


def _cog(interaction: Press) -> SongButtons:
    return cog_of(interaction, SongButtons)


class SongButton(Persistent, ui.DynamicItem[ui.Button[Any]], template=""):
    """A button about one song. A subclass gives its verb, label and style, and responds."""

    label: ClassVar[str]
    style: ClassVar[ButtonStyle]
    verb: ClassVar[str]

    def __init_subclass__(cls, *, verb: str, label: str, style: ButtonStyle) -> None:
        super().__init_subclass__(template=rf"song:{verb}:(?P<song_id>{ID})")
        cls.verb, cls.label, cls.style = verb, label, style

    def __init__(self, song_id: int) -> None:
        self.song_id: int = song_id
        custom_id = f"song:{self.verb}:{song_id}"
        super().__init__(ui.Button(label=self.label, style=self.style, custom_id=custom_id))


# --- on the status message ------------------------------------------------------------------------


class CancelButton(SongButton, verb="cancel", label=texts.CANCEL, style=ButtonStyle.danger):
    """Cancel a song that has not been submitted."""

    async def respond(self, interaction: Press) -> None:
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


class RefreshButton(SongButton, verb="refresh", label=texts.REFRESH, style=ButtonStyle.secondary):
    """Show the current state; this allows edits of the status message for 15 more minutes."""

    async def respond(self, interaction: Press) -> None:
        if await _renew(interaction, self.song_id):
            _cog(interaction).show(self.song_id)


class GetButton(SongButton, verb="get", label=texts.GET_SONG, style=ButtonStyle.primary):
    """Give an undelivered song to its requester."""

    async def respond(self, interaction: Press) -> None:
        view = await _own_song(interaction, self.song_id)
        await interaction.response.defer()
        # If Discord refuses the file, the status message continues to be updated.
        renewed = await _renew_token(interaction, self.song_id)
        if not renewed or not await hand_over(interaction, view.song, in_status=True):
            await _show_now(interaction, self.song_id)


async def hand_over(interaction: Press, song: Song, *, in_status: bool = False) -> bool:
    """Attach an undelivered song to the deferred reply, if the person is its requester.

    `in_status`: the reply is the song's status message. Returns False if there is nothing to give.

    Raises:
        NotPossible: Discord refused it, or its file is lost.
    """
    if song.state is not State.UNDELIVERED or song.member_id != interaction.user.id:
        return False

    async def send(song: Song, file: Path) -> None:
        attachment = await asyncio.to_thread(discord.File, file, cards.audio_filename(song, file))
        with contextlib.closing(attachment), map_discord_errors("handing it over"):
            async with asyncio.timeout(LONGEST_UPLOAD):
                # An edit, so that a retry after a lost response does not make a second message.
                await interaction.edit_original_response(
                    embed=cards.handed_over_card(song), attachments=[attachment], view=None
                )

    try:
        return await _cog(interaction).poster.hand_over(
            song,
            interaction.user.id,
            limit=interaction.filesize_limit,
            send=send,
            in_status=in_status,
        )
    except DeliveryError as error:
        log.warning("upload to the requester failed: %s", error)
        why = texts.UPLOAD_FAILED
        if isinstance(error, CannotPost):
            why = texts.why(error.reason, error.detail)
        sentence = texts.HANDOVER_FAILED.format(reason=why, number=song.number)
        raise NotPossible(sentence) from error


async def _renew(interaction: Press, song_id: int) -> bool:
    """Store the new token; return False if the song has finished, and show that."""
    view = await _own_song(interaction, song_id)
    await interaction.response.defer()
    if not view.song.ended and await _renew_token(interaction, song_id):
        return True
    await _show_now(interaction, song_id)
    return False


async def _renew_token(interaction: Press, song_id: int) -> bool:
    """Return False if the song has finished."""
    message_id = interaction.message.id if interaction.message else None
    return await _cog(interaction).songs.renew_token(
        song_id, requester(interaction, at=_cog(interaction).clock(), message_id=message_id)
    )


async def _show_now(interaction: Press, song_id: int) -> None:
    """Show the song's current state; it may have changed since it was read."""
    view = await _own_song(interaction, song_id)
    await interaction.edit_original_response(
        embed=cards.status_card(view), view=status_buttons(view.song)
    )


async def _own_song(interaction: Press, song_id: int) -> View:
    view = await _cog(interaction).queue.view(song_id)
    if view is None or view.song.server_id != interaction.guild_id:
        raise UnknownSong
    if view.song.member_id != interaction.user.id:
        raise NotYourSong
    return view


def status_buttons(song: Song) -> Row:
    """Return the buttons of a status message."""
    if song.state is State.UNDELIVERED:
        return Row(GetButton(song.song_id))
    if song.ended:
        return Row()
    refresh = RefreshButton(song.song_id)
    return Row(CancelButton(song.song_id), refresh) if song.cancellable else Row(refresh)


# --- on the queue ---------------------------------------------------------------------------------


class CancelMenu(Persistent, ui.DynamicItem[ui.Select[Any]], template=r"queue:cancel"):
    """Cancel a waiting song: a member their own, a manager any."""

    def __init__(self, waiting: Sequence[Song] = ()) -> None:
        super().__init__(_menu("queue:cancel", texts.CANCEL_MENU, waiting))

    async def respond(self, interaction: Press) -> None:
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


async def queue_answer(interaction: Press) -> tuple[discord.Embed, Row]:
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
    row = Row(CancelMenu(cancellable)) if cancellable else Row()
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

    async def respond(self, interaction: Press) -> None:
        embed, row = await history_answer(interaction, self.member_id, page=self.page)
        await interaction.response.edit_message(embed=embed, view=row)


class SongMenu(Persistent, ui.DynamicItem[ui.Select[Any]], template=r"history:open"):
    """Show one song's card."""

    def __init__(self, shown: Sequence[Song] = ()) -> None:
        super().__init__(_menu("history:open", texts.OPEN_MENU, shown))

    async def respond(self, interaction: Press) -> None:
        song = await _cog(interaction).songs.get(
            _chosen(interaction), server_id=server_of(interaction)
        )
        await interaction.response.send_message(
            embed=song_answer(interaction, song), ephemeral=True
        )


def song_answer(
    interaction: Press, song: Song, view: View | None = None, story: Sequence[SongEvent] = ()
) -> discord.Embed:
    """Show a song, without genres and lyrics if this person may not read them.

    `story` is for its requester and for managers.
    """
    if may_read(interaction, song):
        involved = song.member_id == interaction.user.id or manages(interaction)
        return cards.song_card(song, view, story if involved else ())
    return cards.hidden_card(song)


async def history_answer(
    interaction: Press, member_id: int, *, page: int
) -> tuple[discord.Embed, Row]:
    """Show a page of a member's songs, with what this person may read of each."""
    found = await _cog(interaction).songs.history(server_of(interaction), member_id, page=page)
    seen = replace(found, songs=[as_seen(interaction, song) for song in found.songs])
    return cards.history_card(seen, member_id=member_id), _history_row(seen, member_id)


def _history_row(page: Page, member_id: int) -> Row:
    """Return a menu of the page's songs and buttons to its neighbours."""
    if page.pages == 1:
        return Row(SongMenu(page.songs)) if page.songs else Row()
    before, after = page.number - 1, page.number + 1
    return Row(
        SongMenu(page.songs),
        PageButton(member_id, before, label=texts.NEWER, enabled=before >= 1),
        PageButton(member_id, after, label=texts.OLDER, enabled=after <= page.pages),
    )


def _menu(custom_id: str, placeholder: str, songs: Sequence[Song]) -> ui.Select[Any]:
    names = {s.song_id: f"#{s.number} {title_of(s.genres, s.lyrics)}" for s in songs[:MOST_OPTIONS]}
    options = [
        discord.SelectOption(label=name[:OPTION_LABEL].rstrip(), value=str(song_id))
        for song_id, name in names.items()
    ]
    return ui.Select(custom_id=custom_id, placeholder=placeholder, options=options)


def _chosen(interaction: Press) -> int:
    """Return the song's id that was chosen in a menu.

    Raises:
        UnknownSong: it is not an id.
    """
    values = data_of(interaction).get("values") or [""]
    if not re.fullmatch(ID, str(values[0])):
        raise UnknownSong
    return int(values[0])


SONG_BUTTONS = (CancelButton, RefreshButton, GetButton)
PERSISTENT = (*SONG_BUTTONS, CancelMenu, PageButton, SongMenu)
"""To be registered at the start, so that they work on messages from before a restart."""


def post_buttons(song: Song) -> Row:
    """Return the buttons under a post: those that are `public`."""
    return Row(*(kind(song.song_id) for kind in SONG_BUTTONS if kind.public))
