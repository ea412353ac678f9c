"""/song, its lyrics form, /queue and /help."""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import discord
from discord import app_commands, ui
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs.client.answers import acknowledged
from cogs.client.components import ID
from cogs.client.errors import answer, text_file
from cogs.client.people import data_of, member_of, requester, server_of, typed_text
from cogs.client.permissions import check_can_post, check_is_member, manages
from cogs.songs import cards, texts
from cogs.songs.buttons import queue_answer
from db.records import Draft, SongRequest
from services import logs
from services.amounts import Prices
from services.clock import Clock
from services.credits.credits import CreditPreview, Credits
from services.providers.registry import PARAMETERS
from services.settings.settings import Limits
from services.songs.song_request import MAX_GENRES, MAX_LYRICS, parse_request
from services.songs.songs import Songs
from services.text import has_words

log = logging.getLogger(__name__)

FORM = "lyrics"
FORM_ID = re.compile(rf"{FORM}:(?P<draft_id>.*)", re.DOTALL)
PREFILL = "[verse]\n\n[chorus]\n"
SUGGESTED = (10, 30, 45, 60, 90, 120, 150, 180, 210, 240)
FORM_WAITS = 1.5
"""Seconds that a form waits for the database; Discord allows 3 for the reply."""
MAX_OPTION = 6_000
"""Characters of an option (Discord, "Application Command Option"); `parse_request` checks ours."""

CHOICE = 100
MOST_CHOICES = 25
"""Discord, "Application Command Option Choice": 25 names of up to 100 characters."""

CURATED = (
    *("pop", "rock", "funk", "soul", "jazz", "blues", "hip hop", "lo-fi", "electronic", "house"),
    *("techno", "trance", "drum and bass", "ambient", "synthwave", "chiptune", "folk", "country"),
    *("acoustic", "indie", "metal", "punk", "reggae", "ska", "latin", "bossa nova", "salsa"),
    *("classical", "orchestral", "cinematic", "gospel", "r&b", "disco", "waltz", "celtic"),
    *("piano", "acoustic guitar", "electric guitar", "strings", "saxophone", "trumpet", "violin"),
    *("flute", "synthesizer", "808 bass", "choir"),
    *("female vocals", "male vocals", "rap"),
    *("energetic", "calm", "happy", "sad", "dark", "dreamy", "epic", "romantic", "groovy"),
    *("nostalgic", "uplifting", "melancholic", "aggressive", "playful"),
    *("70 BPM", "90 BPM", "105 BPM", "120 BPM", "140 BPM", "174 BPM"),
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `/song` without the lyrics. A number that was not given is None."""

    genres: str
    numbers: dict[str, float | None]


def lyrics_form(draft_id: int) -> ui.Modal:
    """Make a lyrics form. `SongCog.on_interaction` handles its submit, also after a restart."""
    field: ui.TextInput[ui.View] = ui.TextInput(
        custom_id=FORM,
        style=discord.TextStyle.paragraph,
        default=PREFILL,
        required=False,
        max_length=MAX_LYRICS,
    )
    form = ui.Modal(title=texts.LYRICS, custom_id=f"{FORM}:{draft_id}", timeout=None)
    form.add_item(ui.Label(text=texts.LYRICS, description=texts.LYRICS_HELP, component=field))
    form.stop()  # otherwise discord.py stores every form that was ever opened
    return form


class SongCog(commands.Cog):
    """`/song` with its form, `/queue` and `/help`."""

    def __init__(
        self, songs: Songs, credits: Credits, *, clock: Clock, show: Callable[[int], None]
    ) -> None:
        self._songs = songs
        self._credits = credits
        self._clock = clock
        self._show = show

    # --- /song ------------------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(**texts.SONG_OPTIONS)
    async def song(
        self,
        interaction: discord.Interaction,
        genres: Range[str, 1, MAX_GENRES],
        lyrics: Range[str, 1, MAX_OPTION] | None = None,
        seconds: Range[int, *PARAMETERS.seconds.bounds] | None = None,
        instrumental: bool = False,
        seed: Range[int, *PARAMETERS.seed.bounds] | None = None,
        steps: Range[int, *PARAMETERS.steps.bounds] | None = None,
        cfg: Range[float, *PARAMETERS.cfg.bounds] | None = None,
        shift: Range[float, *PARAMETERS.shift.bounds] | None = None,
        lyrics_strength: Range[float, *PARAMETERS.lyrics_strength.bounds] | None = None,
    ) -> None:
        """Make a song, posted for everyone to hear."""
        numbers = {
            "seconds": seconds,
            "seed": seed,
            "steps": steps,
            "cfg": cfg,
            "shift": shift,
            "lyrics_strength": lyrics_strength,
        }
        options = Options(genres, numbers)
        if lyrics is None and not instrumental:
            await self._open_form(interaction, options)
            return
        # Acknowledged first: the transaction may have to wait for a backup.
        message_id = await acknowledged(interaction)
        check_can_post(interaction)
        request = await self._request(interaction, options, lyrics, instrumental=instrumental)
        await self._create(interaction, request, message_id)

    async def _request(
        self,
        interaction: discord.Interaction,
        options: Options,
        lyrics: str | None,
        *,
        instrumental: bool = False,
    ) -> SongRequest:
        settings = await self._credits.settings(server_of(interaction))
        return self._parse(options, settings.limits, lyrics, instrumental=instrumental)

    def _parse(
        self, options: Options, limits: Limits, lyrics: str | None, *, instrumental: bool = False
    ) -> SongRequest:
        """Parse the options. Missing `seconds` and `steps` are within the server's limits.

        So a plain `/song` works in every server; a number that was given is checked later.
        """
        seconds, steps = usual_size(limits)
        typed = {name: number for name, number in options.numbers.items() if number is not None}
        return parse_request(
            PARAMETERS,
            genres=options.genres,
            lyrics=lyrics,
            instrumental=instrumental,
            random_seed=self._songs.random_seed,
            **{"seconds": seconds, "steps": steps, **typed},
        )

    async def _create(
        self, interaction: discord.Interaction, request: SongRequest, message_id: int | None
    ) -> None:
        member = requester(interaction, at=self._clock(), message_id=message_id)
        song = await self._songs.create(member, request)
        self._show(song.song_id)

    @song.autocomplete("genres")
    async def _complete_genres(
        self, interaction: discord.Interaction, current: str
    ) -> list[Choice[str]]:
        return await or_no_suggestions(self._genres(interaction, current))

    async def _genres(self, interaction: discord.Interaction, typed: str) -> list[Choice[str]]:
        used = await self._songs.genres_used(server_of(interaction), interaction.user.id)
        return [Choice(name=text, value=text) for text in suggested_genres(typed, used)]

    @song.autocomplete("seconds")
    async def _complete_seconds(
        self, interaction: discord.Interaction, current: str | int
    ) -> list[Choice[int]]:
        return await or_no_suggestions(self._lengths(interaction, str(current)))

    async def _lengths(self, interaction: discord.Interaction, typed: str) -> list[Choice[int]]:
        preview = await self._credits.preview(member_of(interaction))
        steps = getattr(interaction.namespace, "steps", None)
        return [
            Choice(
                name=length_with_price(seconds, steps, self._songs.prices, preview),
                value=seconds,
            )
            for seconds in suggested_seconds(typed, longest=preview.settings.limits.seconds)
        ]

    # --- the form ---------------------------------------------------------------------------------

    async def _open_form(self, interaction: discord.Interaction, options: Options) -> None:
        check_can_post(interaction)
        self._parse(options, Limits(), None)
        # A form must be the first reply, so it opens in time even if the database is slow.
        clock = asyncio.get_running_loop().time
        opens_by = clock() + FORM_WAITS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(opens_by):
                # Refuse now rather than after the lyrics were typed. `create` checks again.
                request = await self._request(interaction, options, None)
                member = requester(interaction, at=self._clock(), message_id=None)
                await self._songs.check(member, request)
        text = json.dumps(asdict(options))
        draft = Draft(interaction.id, server_of(interaction), interaction.user.id, text)
        # At the latest the options are stored while the lyrics are typed.
        storing = asyncio.ensure_future(self._songs.save_draft(draft))
        await asyncio.wait({storing}, timeout=max(0.0, opens_by - clock()))
        if storing.done():
            storing.result()
        await interaction.response.send_modal(lyrics_form(interaction.id))
        await storing

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Handle the submit of a lyrics form."""
        name, _, draft_id = str(data_of(interaction).get("custom_id", "")).partition(":")
        if interaction.type is not discord.InteractionType.modal_submit or name != FORM:
            return
        logs.set_context(interaction.id)
        lyrics = typed_text(data_of(interaction), FORM)
        try:
            message_id = await acknowledged(interaction)
            check_is_member(interaction)
            check_can_post(interaction)
            draft = await self._songs.draft(
                int(draft_id) if re.fullmatch(ID, draft_id) else 0,
                server_id=server_of(interaction),
                member_id=interaction.user.id,
            )
            options = Options(**json.loads(draft.options))
            request = await self._request(interaction, options, lyrics)
            await self._create(interaction, request, message_id)
        except Exception as error:  # noqa: BLE001 - answered and logged
            # The lyrics are never lost: they come back with the refusal.
            file = text_file(lyrics, "lyrics.txt") if has_words(lyrics) else None
            await answer(interaction, error, file=file)

    # --- /queue -----------------------------------------------------------------------------------

    @app_commands.command()
    async def queue(self, interaction: discord.Interaction) -> None:
        """Show songs in progress and waiting here, and cancel your own."""
        await acknowledged(interaction)
        embed, row = await queue_answer(interaction)
        await interaction.followup.send(embed=embed, view=row, ephemeral=True)

    # --- /help ------------------------------------------------------------------------------------

    @app_commands.command()
    async def help(self, interaction: discord.Interaction) -> None:
        """Show how to make a first song."""
        await acknowledged(interaction)
        settings = await self._credits.settings(server_of(interaction))
        card = cards.help_card(settings, self._songs.prices, manages=manages(interaction))
        await interaction.followup.send(embed=card, ephemeral=True)


async def or_no_suggestions(suggested: Awaitable[list[T]]) -> list[T]:
    """Return the suggestions, or none on an error, which people would take for their own."""
    try:
        return await suggested
    except Exception:
        log.exception("autocomplete failed")
        return []


def suggested_genres(typed: str, used: Iterable[str]) -> list[str]:
    """Suggest lists of genres whose last term contains the typed one.

    Terms of the lists in `used` come before the curated ones.
    """
    before, comma, last = typed.rpartition(",")
    prefix = f"{before}{comma} " if comma else ""
    seen = {term.strip().casefold() for term in before.split(",")}
    wanted = last.strip().casefold()
    found = []
    for term in (term.strip() for text in (*used, *CURATED) for term in text.split(",")):
        if term and term.casefold() not in seen and wanted in term.casefold():
            seen.add(term.casefold())
            found.append(term)
    found.sort(key=lambda term: not term.casefold().startswith(wanted))
    lists = [prefix.lstrip() + term for term in found]
    return [text for text in lists if len(text) <= CHOICE][:MOST_CHOICES]


def usual_size(limits: Limits) -> tuple[int, int]:
    """Return the default seconds and steps; less, where the server allows less."""
    defaults = PARAMETERS.defaults()
    return min(int(defaults["seconds"]), limits.seconds), min(int(defaults["steps"]), limits.steps)


def suggested_seconds(typed: str, *, longest: int) -> Sequence[int]:
    """Suggest the typed length, then common lengths that begin with it, all up to `longest`."""
    typed = typed.strip()
    number = (
        int(typed) if typed.isdecimal() and len(typed) <= len(str(PARAMETERS.seconds.high)) else 0
    )
    if number > longest:
        return [longest]
    offered = sorted({longest, *(seconds for seconds in SUGGESTED if seconds < longest)})
    matching = [seconds for seconds in offered if str(seconds).startswith(typed)]
    if number < PARAMETERS.seconds.low:
        return matching
    return [number, *(seconds for seconds in matching if seconds != number)]


def length_with_price(seconds: int, steps: object, prices: Prices, preview: CreditPreview) -> str:
    """Suggest a length with its price; `steps` may be typed only in part."""
    if not isinstance(steps, int) or not PARAMETERS.steps.allows(steps):
        _, steps = usual_size(preview.settings.limits)
    return texts.length_choice(seconds, prices.of(seconds, steps), free=preview.free)
