"""Pure: a record in, an embed out. No await, no I/O.

Limits are Discord's ("Embed Limits"): title 256, description 4,096, field 1,024 characters.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import discord

from cogs.client.formatting import BLURPLE, FIELD, ago, message_address, ordinal, plain
from cogs.songs.texts import SERVER_NOT_ALLOWED
from db.records import Song, Status
from services.audio.audio_file import file_stem
from services.credits.amounts import Prices, credits_text
from services.settings.settings import Rules
from services.songs.queue import View
from services.songs.song_request import has_words, title_of
from services.songs.songs import Page

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
WAY = (Status.QUEUED, Status.PROCESSING, Status.COMPLETED)
LYRICS_SHOWN = 1_000


def title(song: Song, longest: int = 80) -> str:
    """The song's title, safe to show."""
    return plain(title_of(song.genres, song.lyrics) or f"Song #{song.number}", longest)


def audio_filename(song: Song, file: Path) -> str:
    """The name under which people get the song's file: `42-midnight-train.mp3`."""
    return file_stem(song.number, title_of(song.genres, song.lyrics)) + file.suffix


def link_to_post(song: Song) -> str | None:
    """The address of the message that carries the song."""
    if song.post_id is None:
        return None
    return message_address(song.server_id, song.channel_id, song.post_id)


# --- one song -------------------------------------------------------------------------------------


def status_card(view: View) -> discord.Embed:
    """The message that only its member sees: state, price, place, expected time."""
    song = view.song
    card = discord.Embed(
        title=f"{EMOJI[song.status]} {title(song)}",
        description=f"{progress(song.status)}\n{_news(view)}",
        colour=COLOURS[song.status],
    )
    card.add_field(name="Length", value=f"{song.seconds} s")
    card.add_field(name="Price", value=_price(view))
    if view.unlimited:
        card.add_field(name="Left", value="as many as you like")
    elif view.free is not None:
        card.add_field(name="Left", value=credits_text(view.free))
    card.set_footer(text=f"#{song.number} \N{MIDDLE DOT} seed {song.seed}")
    return card


def _price(view: View) -> str:
    price = credits_text(view.song.price)
    if view.unlimited:
        return f"{price}, free for you"
    return f"{price}, given back" if _given_back(view.song) else price


def _given_back(song: Song) -> bool:
    """Whether its price went back, also after it was made."""
    if song.status is Status.COMPLETED:
        return song.delivered_at is None and not song.waits_for_delivery
    return song.ended


def progress(status: Status) -> str:
    """The way of a song, with where it is."""
    if status not in WAY:
        return f"**{status}**"
    at = WAY.index(status)
    done, now, to_come = "\N{BLACK CIRCLE}", "\N{FISHEYE}", "\N{WHITE CIRCLE}"
    marks = [
        f"{done if i < at or status is Status.COMPLETED else now if i == at else to_come} "
        + (f"**{state}**" if i == at else str(state))
        for i, state in enumerate(WAY)
    ]
    return " \N{RIGHTWARDS ARROW} ".join(marks)


def _news(view: View) -> str:
    song = view.song
    match song.status:
        case Status.QUEUED if view.place is not None:
            place = f"{ordinal(view.place)} of {view.waiting:,} waiting"
            return f"{place}, expected {ago(view.expected_at)}"
        case Status.QUEUED | Status.PROCESSING:
            return f"Expected {ago(view.expected_at)}"
        case Status.COMPLETED if song.undelivered is None:
            return f"[Listen to it in the channel]({link_to_post(song)})"
        case Status.COMPLETED if song.waits_for_delivery:
            return (
                f"It was made but could not be posted. {plain(song.undelivered or '')}\n**Get the "
                f"song**, or `/show {song.number}`, gives it to you alone. Else it is posted as "
                "soon as I can; if that takes 24 hours, its price is given back."
            )
        case Status.COMPLETED:
            return _whereabouts(song)
        case Status.FAILED:
            return f"{plain(song.reason or '', 400)}\n{_back(view)}"
        case _:
            return _back(view)


def _back(view: View) -> str:
    return "It cost you nothing." if view.unlimited else "Your credits are back."


def post_card(song: Song) -> discord.Embed:
    """What the channel sees beside the audio. The footer's last number is how it is found again."""
    card = discord.Embed(
        title=f"{EMOJI[Status.COMPLETED]} {title(song)}",
        description=f"Asked for by <@{song.member_id}>",
        colour=COLOURS[Status.COMPLETED],
    )
    card.add_field(name="Genres", value=plain(song.genres, 300), inline=False)
    card.add_field(name="Length", value=f"{song.seconds} s")
    card.add_field(name="Seed", value=str(song.seed))
    card.set_footer(text=f"#{song.number} {post_mark(song)}")
    return card


def post_mark(song: Song) -> str:
    """What the post of this song carries, and no other message."""
    return f"\N{MIDDLE DOT} {song.song_id}"


def song_card(song: Song, view: View | None = None) -> discord.Embed:
    """One song, with all that was asked for; with the `view` of one under way, how far it is."""
    card = discord.Embed(
        title=f"{EMOJI[song.status]} {title(song)}",
        url=link_to_post(song),
        description=f"**{song.status}**, asked for {ago(song.requested_at)} by <@{song.member_id}>",
        colour=COLOURS[song.status],
    )
    if view is not None:
        card.add_field(name="Now", value=_news(view), inline=False)
    if song.status is Status.COMPLETED:
        card.add_field(name="Audio", value=_whereabouts(song), inline=False)
    if song.reason or song.undelivered:
        card.add_field(
            name="Why",
            value=plain(song.reason or song.undelivered or "", 400) or "unknown",
            inline=False,
        )
    card.add_field(name="Genres", value=plain(song.genres, 300) or "deleted", inline=False)
    if has_words(song.lyrics):
        card.add_field(name="Lyrics", value=plain(song.lyrics, LYRICS_SHOWN)[:FIELD], inline=False)
    given_back = ", given back" if _given_back(song) else ""
    card.add_field(name="Price", value=f"{credits_text(song.price)}{given_back}")
    card.add_field(name="Length", value=f"{song.seconds} s")
    card.add_field(name="Seed", value=str(song.seed))
    settings = f"steps {song.steps}, cfg {song.cfg:g}, shift {song.shift:g}"
    card.add_field(
        name="Settings", value=f"{settings}, lyrics strength {song.lyrics_strength:g}", inline=False
    )
    card.set_footer(text=f"#{song.number}")
    return card


def closed_card(song: Song) -> discord.Embed:
    """The same for whom its words are not meant."""
    return discord.Embed(
        title=f"{EMOJI[song.status]} Song #{song.number}",
        description=f"**{song.status}**, asked for {ago(song.requested_at)} "
        f"by <@{song.member_id}>\n"
        "What it was asked for with is shown to whoever can see its post, and until then to its "
        "member alone.",
        colour=COLOURS[song.status],
    )


def _whereabouts(song: Song) -> str:
    """Where the audio of a song that was made is, for whoever looks."""
    if song.undelivered is None:
        return f"[Listen to it in the channel]({link_to_post(song)})"
    if song.delivered_at is not None:
        return (
            f"It could not be posted, so <@{song.member_id}> got it, alone, "
            f"{ago(song.delivered_at)}. It is not kept here."
        )
    if song.waits_for_delivery:
        return (
            f"Only <@{song.member_id}> can have it, with `/show {song.number}`, until it can be "
            "posted. If that takes 24 hours, its price is given back."
        )
    return "It could not be delivered, so its price was given back."


def handed_over_card(song: Song) -> discord.Embed:
    """Beside the audio of a song that could not be posted, for its member alone."""
    card = song_card(song)
    card.set_field_at(
        0,
        name="Audio",
        value="Here it is, for you alone. Please save it: it is not kept here any more, and it "
        "will not be posted.",
        inline=False,
    )
    return card


# --- many songs -----------------------------------------------------------------------------------


def queue_card(views: Sequence[View], *, viewer_id: int, shown: int = 15) -> discord.Embed:
    """What runs and waits in this server."""
    card = discord.Embed(title="Queue", colour=BLURPLE)
    if not views:
        card.description = "Nothing runs or waits here. Start a song with `/song`."
        return card
    lines = [_queue_line(view, viewer_id=viewer_id) for view in views[:shown]]
    if len(views) > shown:
        lines.append(f"and {len(views) - shown:,} more")
    card.description = "\n".join(lines)
    if any(view.place for view in views):
        card.set_footer(text="Places are counted over all servers: they take turns.")
    return card


def _queue_line(view: View, *, viewer_id: int) -> str:
    song = view.song
    where = "now" if view.place is None else ordinal(view.place)
    whose = "yours" if song.member_id == viewer_id else f"<@{song.member_id}>"
    name = f"#{song.number} {plain(title_of(song.genres, song.lyrics), 40)}".rstrip()
    return (
        f"{EMOJI[song.status]} **{where}** \N{MIDDLE DOT} {name} \N{MIDDLE DOT} {whose} "
        f"\N{MIDDLE DOT} {ago(view.expected_at)}"
    )


def history_card(page: Page, *, member_id: int) -> discord.Embed:
    """One page of a member's songs."""
    card = discord.Embed(title="Songs", colour=BLURPLE)
    if not page.songs:
        card.description = f"<@{member_id}> has made no songs here yet. `/song` starts one."
        return card
    lines = [f"By <@{member_id}>", ""] + [_history_line(song) for song in page.songs]
    card.description = "\n".join(lines)
    card.set_footer(text=f"Page {page.number} of {page.pages} \N{MIDDLE DOT} {page.total} songs")
    return card


def _history_line(song: Song) -> str:
    name = title(song, 40)
    link = link_to_post(song)
    return (
        f"{EMOJI[song.status]} **#{song.number}** {f'[{name}]({link})' if link else name} "
        f"\N{MIDDLE DOT} {song.status} \N{MIDDLE DOT} {credits_text(song.price)} "
        f"\N{MIDDLE DOT} {ago(song.requested_at)}"
    )


# --- words ----------------------------------------------------------------------------------------


def help_card(rules: Rules, prices: Prices, *, manages: bool) -> discord.Embed:
    """The shortest way to a first song; for those who manage the server, to running it."""
    card = discord.Embed(
        title="Make a song",
        description="Type `/song`, name some genres, press Enter, and write your lyrics in the "
        "form that opens. Left as it is, the form makes an instrumental.\n\nOnly you see how it "
        "goes; the song itself is posted in the channel.",
        colour=BLURPLE,
    )
    card.add_field(
        name="Genres",
        value="Genres, instruments, moods, a voice, a tempo, with commas between them: "
        "`funk, female vocals, energetic, 105 BPM`",
        inline=False,
    )
    card.add_field(
        name="Lyrics",
        value="Sections in brackets: `[verse]`, `[chorus]`, `[bridge]`, `[outro]`. "
        "About two words a second can be sung.",
        inline=False,
    )
    card.add_field(
        name="Price",
        value=f"{price_text(prices)}. It is shown before it is spent, and a song that fails gives "
        "it back.",
        inline=False,
    )
    card.add_field(name="More", value="\n".join(_commands(rules)), inline=False)
    card.add_field(
        name="For those who manage the server",
        value=FIRST_STEPS if manages else "`/quota` has all about credits and limits",
        inline=False,
    )
    return card


def price_text(prices: Prices) -> str:
    """What a song costs, at any length and any steps."""
    return (
        f"1 credit for each begun {prices.seconds:,} seconds, and as much again for each begun "
        f"{prices.steps:,} `steps` over the first {prices.steps:,}"
    )


def _commands(rules: Rules) -> Iterator[str]:
    """What there is besides, in a server with these rules."""
    yield "`/queue` what runs and waits"
    yield "`/history` your songs"
    yield "`/show` one song again, by its number"
    yield "`/credits` what you have, why, and when it refills"
    if rules.gifts:
        yield "`/gift` some of your credits to another member"
    if rules.leaderboard:
        yield "`/leaderboard` who made the most songs"


FIRST_STEPS = (
    "1. `/quota server` how many credits everyone gets\n"
    "2. `/quota role` more for a role\n"
    "3. `/quota budget` the most that all may spend together\n"
    "4. `/quota channels` where songs are made\n"
    "5. `/quota log` where every change is told\n"
    "`/quota show` has all of it in view, to be changed there too"
)
"""Of those who manage a server."""


def not_allowed_card(server_id: int) -> discord.Embed:
    """Said instead of the hello, in a server that the operator does not allow."""
    return discord.Embed(
        title="Hello! I can't make songs here yet.",
        description=SERVER_NOT_ALLOWED.format(server_id=server_id),
        colour=BLURPLE,
    )


def hello_card(*, allowance: int | None, prices: Prices) -> discord.Embed:
    """Said once, on joining a server."""
    card = discord.Embed(
        title="Hello! I make songs.",
        description="Type `/song`, name some genres, and the song is here in about half a minute.",
        colour=BLURPLE,
    )
    card.add_field(
        name="For everyone",
        value=f"{'As many songs as you like' if allowance is None else credits_text(allowance)}"
        f" a day for each of you; a minute of music costs {prices.of(60, 50):,}. `/credits` shows "
        "what you have, `/help` the rest.",
        inline=False,
    )
    card.add_field(
        name="For those who manage this server",
        value=f"It works as it is. To make it yours:\n{FIRST_STEPS}\nI need Send Messages, Embed "
        "Links, Attach Files and Read Message History where songs go.",
        inline=False,
    )
    return card
