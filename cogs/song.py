"""/song, its lyrics form, and /queue."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import discord
from discord import app_commands, ui
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import genres as completion
from cogs.buttons import ID, queue_answer
from cogs.client import Client, asker, check_can_post, data_of, server_of
from cogs.errors import answer
from db.records import Draft
from services.quota.amounts import credits_text
from services.requests import (
    CFG,
    LYRICS_STRENGTH,
    MAX_GENRES,
    MAX_LYRICS,
    MAX_SEED,
    SECONDS,
    SHIFT,
    STEPS,
    SongRequest,
    has_words,
)

FORM = "lyrics"
PREFILL = "[verse]\n\n[chorus]\n"
SUGGESTED = (10, 30, 45, 60, 90, 120, 150, 180, 210, 240)
FORM_WAITS = 1.5
"""Seconds that a form waits for its options to be kept: Discord gives an answer 3 in all."""

LYRICS_ALONE = 6_000
"""Discord's limit of a string option; ours is said in words of our own."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed beside the lyrics."""

    genres: str
    seconds: int
    steps: int
    cfg: float
    shift: float
    lyrics_strength: float
    seed: int | None

    def to_json(self) -> str:
        """As a draft keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Options":
        """What `to_json` wrote."""
        return cls(**json.loads(text))


class LyricsForm(ui.Modal):
    """The form. Its answer is handled from the raw interaction, so that it outlives a restart."""

    def __init__(self, draft_id: int) -> None:
        super().__init__(title="Lyrics", custom_id=f"{FORM}:{draft_id}", timeout=None)
        self.add_item(
            ui.Label(
                text="Lyrics",
                description="Sections in brackets. Left as it is: an instrumental.",
                component=ui.TextInput(
                    custom_id=FORM,
                    style=discord.TextStyle.paragraph,
                    default=PREFILL,
                    required=False,
                    max_length=MAX_LYRICS,
                ),
            )
        )
        # discord.py would keep every form that was ever opened; ours needs no keeping.
        self.stop()


class SongCog(commands.Cog):
    """Making songs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    # --- /song ------------------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        genres="Genres, instruments, moods, voice, tempo: funk, female vocals, 105 BPM",
        lyrics="The words, with sections like [verse] and [chorus]. Left out: a form opens",
        seconds="How long (60)",
        instrumental="Nothing is sung (no)",
        seed="The same seed and options give the same song again (random)",
        steps="More may sound better and cost more (50)",
        cfg="How closely to follow the genres (4)",
        shift="Altered pitch (4)",
        lyrics_strength="How much the words lead the music (1)",
    )
    async def song(
        self,
        interaction: discord.Interaction,
        genres: Range[str, 1, MAX_GENRES],
        lyrics: Range[str, 1, LYRICS_ALONE] | None = None,
        seconds: Range[int, SECONDS[0], SECONDS[1]] = 60,
        instrumental: bool = False,
        seed: Range[int, 0, MAX_SEED] | None = None,
        steps: Range[int, STEPS[0], STEPS[1]] = 50,
        cfg: Range[float, CFG[0], CFG[1]] = 4.0,
        shift: Range[float, SHIFT[0], SHIFT[1]] = 4.0,
        lyrics_strength: Range[float, LYRICS_STRENGTH[0], LYRICS_STRENGTH[1]] = 1.0,
    ) -> None:
        """Make a song, posted in this channel."""
        options = Options(genres, seconds, steps, cfg, shift, lyrics_strength, seed)
        if lyrics is None and not instrumental:
            await self._open_form(interaction, options)
            return
        # Acknowledged first: the transaction may have to wait for a backup.
        message = await interaction.response.defer(ephemeral=True, thinking=True)
        check_can_post(interaction)
        request = self._parse(options, lyrics, instrumental=instrumental)
        await self._ask(interaction, request, message)

    def _parse(
        self, options: Options, lyrics: str | None, *, instrumental: bool = False
    ) -> SongRequest:
        return SongRequest.parse(
            genres=options.genres,
            lyrics=lyrics,
            seconds=options.seconds,
            steps=options.steps,
            cfg=options.cfg,
            shift=options.shift,
            lyrics_strength=options.lyrics_strength,
            seed=options.seed,
            instrumental=instrumental,
            random_seed=self._client.services.songs.random_seed,
        )

    async def _ask(
        self,
        interaction: discord.Interaction,
        request: SongRequest,
        message: discord.InteractionCallbackResponse[Any] | None,
    ) -> None:
        message_id = message.message_id if message is not None else None
        song = await self._client.services.songs.ask(
            asker(interaction, message_id=message_id), request
        )
        self._client.services.show(song.song_id)

    @song.autocomplete("genres")
    async def _complete_genres(
        self, interaction: discord.Interaction, current: str
    ) -> list[Choice[str]]:
        used = await self._client.services.songs.genres_used(
            server_of(interaction), interaction.user.id
        )
        return [Choice(name=text, value=text) for text in completion.complete(current, used)]

    @song.autocomplete("seconds")
    async def _complete_seconds(
        self, interaction: discord.Interaction, current: str | int
    ) -> list[Choice[int]]:
        steps = getattr(interaction.namespace, "steps", None) or 50
        price = self._client.services.songs.prices.of
        return [
            Choice(name=f"{seconds} s, {credits_text(price(seconds, int(steps)))}", value=seconds)
            for seconds in suggested_seconds(str(current))
        ]

    # --- the form ---------------------------------------------------------------------------------

    async def _open_form(self, interaction: discord.Interaction, options: Options) -> None:
        check_can_post(interaction)
        # Better now than after the words have been typed.
        request = self._parse(options, None)
        await self._client.services.songs.check(asker(interaction, message_id=None), request)
        draft = Draft(
            interaction.id, server_of(interaction), interaction.user.id, options.to_json()
        )
        # A form must be the first answer. It opens in time even where the database is slow: the
        # options are kept while the words are being typed.
        keeping = asyncio.ensure_future(self._client.services.songs.keep_draft(draft))
        await asyncio.wait({keeping}, timeout=FORM_WAITS)
        if keeping.done():
            keeping.result()
        await interaction.response.send_modal(LyricsForm(interaction.id))
        await keeping

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """A form was sent."""
        name, _, draft_id = str(data_of(interaction).get("custom_id", "")).partition(":")
        if interaction.type is not discord.InteractionType.modal_submit or name != FORM:
            return
        await self._form_sent(interaction, draft_id)

    async def _form_sent(self, interaction: discord.Interaction, draft_id: str) -> None:
        typed = typed_text(data_of(interaction), FORM)
        try:
            message = await interaction.response.defer(ephemeral=True, thinking=True)
            await self._make_from_form(interaction, draft_id, typed, message)
        except Exception as error:  # noqa: BLE001 - the one handler answers and logs it
            # What was typed is never lost: it comes back with the sentence.
            lyrics = discord.File(BytesIO(typed.encode()), "lyrics.txt")
            await answer(interaction, error, file=lyrics if has_words(typed) else None)

    async def _make_from_form(
        self,
        interaction: discord.Interaction,
        draft_id: str,
        typed: str,
        message: discord.InteractionCallbackResponse[Any] | None,
    ) -> None:
        check_can_post(interaction)
        draft = await self._client.services.songs.draft(
            int(draft_id) if re.fullmatch(ID, draft_id) else 0,
            server_id=server_of(interaction),
            member_id=interaction.user.id,
        )
        request = self._parse(Options.from_json(draft.options), typed)
        await self._ask(interaction, request, message)

    # --- /queue -----------------------------------------------------------------------------------

    @app_commands.command()
    async def queue(self, interaction: discord.Interaction) -> None:
        """What runs and waits here, and when it will be done. Cancel your own."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        embed, row = await queue_answer(interaction)
        if row is None:
            await interaction.followup.send(embed=embed, ephemeral=True)
        else:
            await interaction.followup.send(embed=embed, view=row, ephemeral=True)


def suggested_seconds(typed: str) -> Sequence[int]:
    """What was typed, where it is a length, then the usual lengths that begin with it."""
    typed = typed.strip()
    fitting = [seconds for seconds in SUGGESTED if str(seconds).startswith(typed)]
    if typed.isdecimal() and len(typed) <= len(str(SECONDS[1])):
        exact = int(typed)
        if SECONDS[0] <= exact <= SECONDS[1]:
            return [exact, *(seconds for seconds in fitting if seconds != exact)]
    return fitting


def typed_text(data: Mapping[str, Any], custom_id: str) -> str:
    """The text of one field of a form that was sent, however deep Discord nests it."""
    if data.get("custom_id") == custom_id and "value" in data:
        return str(data["value"] or "")
    inner = [*data.get("components", ()), *([data["component"]] if "component" in data else [])]
    return next(filter(None, (typed_text(part, custom_id) for part in inner)), "")
