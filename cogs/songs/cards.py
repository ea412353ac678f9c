"""Build embeds from records; no await, no I/O.

Limits are Discord's ("Embed Limits"): title 256, description 4,096, field 1,024 characters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import discord

from cogs.client.texts import BLURPLE, FIELD, ago, credits_text, ordinal, plain
from cogs.songs import texts
from db.records import Song, SongEvent, Status
from services.amounts import Prices
from services.audio.audio_file import file_stem
from services.settings.reader import Settings
from services.songs.queue import View
from services.songs.song_request import title_of
from services.songs.songs import Page
from services.text import has_words

COLOURS = {
    Status.QUEUED: discord.Colour.gold(),
    Status.PROCESSING: discord.Colour.blurple(),
    Status.COMPLETED: discord.Colour.green(),
    Status.FAILED: discord.Colour.red(),
    Status.CANCELLED: discord.Colour.greyple(),
}
EMOJI = {
    Status.QUEUED: "\N{HOURGLASS WITH FLOWING SAND}",
    Status.PROCESSING: "\N{MUSICAL KEYBOARD}",
    Status.COMPLETED: "\N{MULTIPLE MUSICAL NOTES}",
    Status.FAILED: "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}",
    Status.CANCELLED: "\N{HEAVY MULTIPLICATION X}\N{VARIATION SELECTOR-16}",
}
STAGES = (Status.QUEUED, Status.PROCESSING, Status.COMPLETED)
SEPARATOR = " \N{MIDDLE DOT} "
LYRICS_SHOWN = 1_000


def title(song: Song, longest: int = 80) -> str:
    """Return the song's title, or its number, escaped."""
    return plain(title_of(song.genres, song.lyrics) or texts.untitled(song), longest)


def audio_filename(song: Song, file: Path) -> str:
    """Return the name under which people get the song's file: `42-midnight-train.mp3`."""
    return file_stem(song.number, title_of(song.genres, song.lyrics)) + file.suffix


def _card(status: Status, heading: str, description: str) -> discord.Embed:
    title = f"{EMOJI[status]} {heading}"
    return discord.Embed(title=title, description=description, colour=COLOURS[status])


def _add(card: discord.Embed, fields: Mapping[str, str], *, inline: bool = False) -> None:
    for name, value in fields.items():
        card.add_field(name=name, value=value, inline=inline)


# --- one song -------------------------------------------------------------------------------------


def status_card(view: View) -> discord.Embed:
    """Build the status message: state, price, place, expected time."""
    song = view.song
    card = _card(song.status, title(song), f"{progress(song.status)}\n{texts.news(view)}")
    price = texts.price(song, unlimited=view.unlimited)
    _add(card, {texts.LENGTH: f"{song.seconds} s", texts.PRICE: price}, inline=True)
    if view.unlimited:
        _add(card, {texts.BALANCE: texts.UNLIMITED}, inline=True)
    elif view.free is not None:
        _add(card, {texts.BALANCE: credits_text(view.free)}, inline=True)
    card.set_footer(text=texts.FOOTER.format(number=song.number, seed=song.seed))
    return card


def progress(status: Status) -> str:
    """Draw the states that a song passes, and the one that it has."""
    if status not in STAGES:
        return f"**{status}**"
    current = STAGES.index(status)
    done, now, later = "\N{BLACK CIRCLE}", "\N{FISHEYE}", "\N{WHITE CIRCLE}"
    marks = [
        f"{done if i < current or status is Status.COMPLETED else now if i == current else later} "
        + (f"**{state}**" if i == current else str(state))
        for i, state in enumerate(STAGES)
    ]
    return " \N{RIGHTWARDS ARROW} ".join(marks)


def post_card(song: Song) -> discord.Embed:
    """Build the card of a post. A search recognises it by `post_mark` at the footer's end."""
    requested_by = texts.REQUESTED_BY.format(member_id=song.member_id)
    card = _card(Status.COMPLETED, title(song), requested_by)
    _add(card, {texts.GENRES: plain(song.genres, 300)})
    _add(card, {texts.LENGTH: f"{song.seconds} s", texts.SEED: str(song.seed)}, inline=True)
    card.set_footer(text=f"#{song.number} {post_mark(song)}")
    return card


def post_mark(song: Song) -> str:
    """Return what only the post of this song contains."""
    return f"\N{MIDDLE DOT} {song.song_id}"


def song_card(
    song: Song, view: View | None = None, story: Sequence[SongEvent] = ()
) -> discord.Embed:
    """Show one song with its request and its `story`; an unfinished one with its `view`."""
    card = _card(song.status, title(song), texts.request(song))
    card.url = texts.link_to_post(song)
    fields = {}
    if view is not None:
        fields[texts.PROGRESS] = texts.news(view)
    if song.status is Status.COMPLETED:
        fields[texts.AUDIO] = texts.whereabouts(song)
    if song.reason:
        fields[texts.REASON] = texts.reason(song)
    fields[texts.GENRES] = plain(song.genres, 300) or texts.DELETED
    if has_words(song.lyrics):
        fields[texts.LYRICS] = plain(song.lyrics, LYRICS_SHOWN)[:FIELD]
    _add(card, fields)
    short = {
        texts.PRICE: texts.price(song),
        texts.LENGTH: f"{song.seconds} s",
        texts.SEED: str(song.seed),
    }
    _add(card, short, inline=True)
    last = {texts.SETTINGS: texts.settings(song)}
    if story:
        last[texts.STORY] = texts.story(song, story)
    _add(card, last)
    card.set_footer(text=f"#{song.number}")
    return card


def hidden_card(song: Song) -> discord.Embed:
    """Show one song to somebody who may not read its genres and lyrics."""
    return _card(song.status, texts.untitled(song), texts.hidden_request(song))


def handed_over_card(song: Song) -> discord.Embed:
    """Show an undelivered song to its requester, with its audio attached."""
    card = song_card(song)
    card.set_field_at(0, name=texts.AUDIO, value=texts.HANDED_OVER, inline=False)
    return card


# --- many songs -----------------------------------------------------------------------------------


def queue_card(views: Sequence[View], *, viewer_id: int, shown: int = 15) -> discord.Embed:
    """List the songs of a server that are in progress or waiting."""
    card = discord.Embed(title=texts.QUEUE, colour=BLURPLE)
    if not views:
        card.description = texts.QUEUE_EMPTY
        return card
    lines = [_queue_line(view, viewer_id=viewer_id) for view in views[:shown]]
    if len(views) > shown:
        lines.append(texts.MORE.format(count=len(views) - shown))
    card.description = "\n".join(lines)
    if any(view.place for view in views):
        card.set_footer(text=texts.QUEUE_PLACES)
    return card


def _queue_line(view: View, *, viewer_id: int) -> str:
    song = view.song
    place = texts.NOW if view.place is None else ordinal(view.place)
    name = f"#{song.number} {plain(title_of(song.genres, song.lyrics), 40)}".rstrip()
    requester = texts.YOURS if song.member_id == viewer_id else f"<@{song.member_id}>"
    return SEPARATOR.join(
        (f"{EMOJI[song.status]} **{place}**", name, requester, ago(view.expected_at))
    )


def history_card(page: Page, *, member_id: int) -> discord.Embed:
    """List one page of a member's songs."""
    card = discord.Embed(title=texts.SONGS, colour=BLURPLE)
    if not page.songs:
        card.description = texts.HISTORY_EMPTY.format(member_id=member_id)
        return card
    lines = [texts.HISTORY_OF.format(member_id=member_id), "", *map(_history_line, page.songs)]
    card.description = "\n".join(lines)
    card.set_footer(text=texts.page_number(page))
    return card


def _history_line(song: Song) -> str:
    name, link = title(song, 40), texts.link_to_post(song)
    return SEPARATOR.join(
        (
            f"{EMOJI[song.status]} **#{song.number}** {f'[{name}]({link})' if link else name}",
            song.status,
            credits_text(song.price),
            ago(song.requested_at),
        )
    )


# --- help and hello -------------------------------------------------------------------------------


def help_card(settings: Settings, prices: Prices, *, manages: bool) -> discord.Embed:
    """Show how to make a first song and, to managers, how to set up the server."""
    card = discord.Embed(title=texts.HELP_TITLE, description=texts.HELP, colour=BLURPLE)
    fields = {
        texts.GENRES: texts.HELP_GENRES,
        texts.LYRICS: texts.HELP_LYRICS,
        texts.PRICE: texts.help_prices(prices),
        texts.HELP_MORE: "\n".join(texts.commands(settings)),
        texts.FOR_MANAGERS: texts.FIRST_STEPS if manages else texts.MANAGERS,
    }
    _add(card, fields)
    return card


def not_allowed_card(server_id: int) -> discord.Embed:
    """Greet a server that the operator does not allow."""
    return discord.Embed(
        title=texts.NOT_ALLOWED_TITLE,
        description=texts.SERVER_NOT_ALLOWED.format(server_id=server_id),
        colour=BLURPLE,
    )


def hello_card(*, allowance: int | None, prices: Prices) -> discord.Embed:
    """Greet a server that the bot was added to."""
    card = discord.Embed(title=texts.HELLO_TITLE, description=texts.HELLO, colour=BLURPLE)
    members = texts.hello_members(allowance, prices)
    _add(card, {texts.FOR_EVERYONE: members, texts.FOR_MANAGERS: texts.HELLO_MANAGERS})
    return card
