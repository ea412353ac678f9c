"""/history and /show."""

import re
from collections.abc import Sequence

import discord
from discord import app_commands
from discord.app_commands import Choice
from discord.ext import commands

from cogs.client.answers import acknowledged
from cogs.client.people import server_of
from cogs.songs import texts
from cogs.songs.buttons import hand_over, history_answer, song_answer
from db.records import Song, State
from services import logs
from services.errors import InvalidRequest
from services.songs.queue import Queue
from services.songs.song_request import title_of
from services.songs.songs import Songs
from services.text import clean

NUMBER = re.compile(r"#?\s*([0-9]{1,9})")
MOST_CHOICES = 25
CHOICE = 100
"""Discord, "Application Command Option Choice": 25 names of up to 100 characters."""


class LibraryCog(commands.Cog):
    """Shows songs that were made."""

    def __init__(self, songs: Songs, queue: Queue) -> None:
        self._songs = songs
        self._queue = queue

    @app_commands.command()
    @app_commands.describe(member=texts.HISTORY_MEMBER)
    async def history(
        self, interaction: discord.Interaction, member: discord.User | None = None
    ) -> None:
        """List songs made here."""
        await acknowledged(interaction)
        member_id = (member or interaction.user).id
        embed, row = await history_answer(interaction, member_id, page=1)
        await interaction.followup.send(embed=embed, view=row, ephemeral=True)

    @app_commands.command()
    @app_commands.describe(song=texts.SHOW_SONG)
    async def show(self, interaction: discord.Interaction, song: str) -> None:
        """Show one song; also its audio, if it is yours and could not be posted."""
        number = number_of(song)
        await acknowledged(interaction)
        server_id = server_of(interaction)
        found = await self._songs.by_number(number, server_id=server_id)
        with logs.context(found.song_id):
            if await hand_over(interaction, found):
                return
        # It may have been posted or refunded meanwhile.
        found = await self._songs.get(found.song_id, server_id=server_id)
        view = None if found.ended else await self._queue.view(found.song_id)
        story = await self._queue.story(found.song_id)
        embed = song_answer(interaction, found, view, story)
        await interaction.edit_original_response(embed=embed)

    @show.autocomplete("song")
    async def _complete(self, interaction: discord.Interaction, typed: str) -> list[Choice[str]]:
        own = await self._songs.own(server_of(interaction), interaction.user.id)
        return choices(own, typed)


def number_of(typed: str) -> int:
    """Parse a song's number: `42`, `#42`.

    Raises:
        InvalidRequest: it is not one.
    """
    found = NUMBER.fullmatch(typed.strip())
    if found is None:
        raise InvalidRequest(texts.NO_NUMBER)
    return int(found[1])


def choices(own: Sequence[Song], typed: str) -> list[Choice[str]]:
    """Suggest songs whose number begins with the typed text, or whose title contains it."""
    wanted = typed.strip().lstrip("# ").casefold()
    found = []
    for song in own:
        title = clean(title_of(song.genres, song.lyrics))
        if str(song.number).startswith(wanted) or wanted in title.casefold():
            mark = texts.NOT_POSTED if song.state is State.UNDELIVERED else ""
            name = f"#{song.number} {title}"[: CHOICE - len(mark)].rstrip() + mark
            found.append(Choice(name=name, value=str(song.number)))
    return found[:MOST_CHOICES]
