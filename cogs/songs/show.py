"""Give an undelivered song to its requester, for /show and the button."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import discord

from cogs.client.answers import map_discord_errors
from cogs.songs import cards, texts
from db.records import Song, State
from services.errors import CannotPost, DeliveryError, NotPossible
from services.songs.poster import Poster

log = logging.getLogger(__name__)

LONGEST_UPLOAD = 180.0
"""Seconds for an upload and its response; discord.py sets none for webhooks, see `Client`."""


async def hand_over(
    interaction: discord.Interaction[Any],
    poster: Poster,
    song: Song,
    *,
    in_status: bool = False,
) -> bool:
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
        return await poster.hand_over(
            song,
            interaction.user.id,
            limit=interaction.filesize_limit,
            send=send,
            in_status=in_status,
        )
    except DeliveryError as error:
        log.warning("upload to the requester failed: %s", error)
        why = str(error) if isinstance(error, CannotPost) else texts.UPLOAD_FAILED
        sentence = texts.HANDOVER_FAILED.format(reason=why, number=song.number)
        raise NotPossible(sentence) from error
