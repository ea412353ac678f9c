"""What people read about songs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from cogs.client.texts import (
    FIELD,
    NOTHING_SPENT,
    ago,
    counted,
    credits_text,
    message_address,
    ordinal,
    plain,
    refusal_text,
    register_sentences,
)
from db.records import Reason, Song, SongEvent, State, Status
from services.amounts import Prices
from services.errors import ServerNotAllowed, SongsPaused
from services.providers.registry import PARAMETERS
from services.settings.catalogue import GIFTS, LEADERBOARD
from services.settings.reader import Settings
from services.songs import admission, refusals
from services.songs.delivery import REFUNDED_AFTER
from services.songs.queue import View
from services.songs.song_request import InstrumentalWithLyrics, NoGenres
from services.songs.songs import Page

# --- commands and buttons -------------------------------------------------------------------------

_usual = {name: f"{value:g}" for name, value in PARAMETERS.defaults().items()}
SONG_OPTIONS = {
    "genres": "Genres, instruments, moods, voice, tempo: funk, female vocals, 105 BPM",
    "lyrics": "Lyrics with sections like [verse] and [chorus]. Without them a form opens",
    "seconds": f"Length (default: {_usual['seconds']}, or the limit here)",
    "instrumental": "Make a song without vocals (default: no)",
    "seed": "The same seed and options make the same song again (default: random)",
    "steps": f"More can sound better, but cost more (default: {_usual['steps']})",
    "cfg": f"How closely to follow the genres (default: {_usual['cfg']})",
    "shift": f"Changes the pitch (default: {_usual['shift']})",
    "lyrics_strength": f"How much lyrics shape the music (default: {_usual['lyrics_strength']})",
}
HISTORY_MEMBER = "Whose songs (default: yours)"
SHOW_SONG = "Its number, like 42"
LYRICS = "Lyrics"
LYRICS_HELP = "Put section names in brackets. Leave it unchanged for an instrumental."
CANCEL = "Cancel"
REFRESH = "Refresh"
GET_SONG = "Get the song"
CANCEL_MENU = "Cancel a song that has not started"
OPEN_MENU = "Open a song"
NEWER = "Newer"
OLDER = "Older"
NOT_POSTED = " (not posted: get it here)"


def length_choice(seconds: int, price: int, *, free: int | None) -> str:
    """Suggest a length: `60 s, 2 credits (you have 8)`. `free` is None without a limit."""
    text = f"{seconds} s, {credits_text(price)}"
    if free is None:
        return f"{text}, free for you"
    return f"{text} (you {'only ' if price > free else ''}have {free:,})"


# --- reasons --------------------------------------------------------------------------------------

REASONS: Mapping[Reason, str] = {
    Reason.WAITED_TOO_LONG: "It waited for 6 hours without being started.",
    Reason.NOT_IN_TIME: "The song service did not finish it within 30 minutes.",
    Reason.ACCOUNT_REFUSED: "The song service refused the bot's account; its operator has been "
    "notified.",
    Reason.BUDGET_SPENT: "The operator's budget for today leaves no second try.",
    Reason.ANSWER_LOST_TWICE: "The song service's answer was lost twice.",
    Reason.REQUEST_REJECTED: "The song service did not accept this request.",
    Reason.SONG_GONE: "The song service has lost this song.",
    Reason.NOT_FETCHED: "The song service's result could not be fetched.",
    Reason.MODEL_FAILED: "The model failed.",
    Reason.SERVICE_FAILED: "The song service could not make this song.",
    Reason.NOT_AUDIO: "The song service sent something that can't be played.",
    Reason.TOO_SHORT: "The song is less than half as long as requested.",
    Reason.SILENT: "The song service sent nothing but silence.",
    Reason.DOES_NOT_FIT: "The song does not fit into the upload limit here.",
    Reason.AUDIO_LOST: "The song's audio was lost before it could be posted.",
    Reason.NO_ROOM: "There was no room here to prepare it for the channel.",
    Reason.DEFECT: "Something went wrong here, and the operator can see what.",
    Reason.NO_ANSWER: "Discord did not answer for 30 minutes.",
    Reason.FILE_SIZE: "Discord refused the file's size.",
    Reason.BAD_FILE: "Discord did not accept the audio file.",
    Reason.BAD_MESSAGE: "I built a message that Discord does not accept. That is a defect of mine.",
    Reason.REFUSED: "Discord refused it.",
    Reason.BOT_RESTRICTED: "Discord has restricted this bot's account.",
    Reason.CHANNEL_GONE: "The channel is gone.",
    Reason.WRONG_KIND: "Songs can't be posted in this kind of channel.",
    Reason.NO_ACCESS: "I can't see the channel: I need View Channel there, in a voice channel "
    "Connect as well, and a private thread has to have me as a member (mention me there).",
    Reason.NO_PERMISSION: "I lack a permission in the channel: I need to view it, send messages, "
    "embed links and attach files.",
    Reason.NO_MESSAGES: "Discord does not let me write to this person.",
    Reason.THREAD_ARCHIVED: "The thread is archived, and I can't open it again.",
    Reason.THREAD_LOCKED: "The thread is locked.",
    Reason.TOO_MANY_THREADS: "The thread is archived, and the server has too many open threads.",
    Reason.NOT_IN_SERVER: "I am no longer in the server.",
    Reason.BANNED: "I am banned from the server.",
    Reason.VERIFICATION: "The server's verification level keeps me out.",
    Reason.NOT_OFFERED: "Discord does not offer this server where the bot runs.",
    Reason.UPLOADS_LIMITED: "Discord has limited uploads of files in this server.",
    Reason.AUTOMOD: "This server's AutoMod blocked the post.",
    Reason.EXPLICIT: "Discord's filter for explicit content blocked the post.",
    Reason.HARMFUL_LINK: "Discord's filter for harmful links blocked the post.",
    Reason.HISTORY_UNREADABLE: "It may have been posted just before a restart, but I can't read "
    "the channel's history.",
    Reason.HISTORY_TOO_LONG: "The channel has too many new messages to check whether it was "
    "posted.",
}

# --- refusals -------------------------------------------------------------------------------------

NO_SUCH_SONG = "There is no such song in this server."
NOT_YOUR_SONG = "Only the member who requested this song can do that."
NO_NUMBER = "A song's number looks like `42` or `#42`. Use `/history` to find it."
UPLOAD_FAILED = "Discord didn't accept the file right now."
HANDOVER_FAILED = "{reason} Your song is safe: use `/show {number}` to try again."
SERVER_NOT_ALLOWED = (
    "I can't make songs in this server because my operator hasn't allowed it. Ask them to add the "
    "server id {server_id} to ALLOWED_SERVERS."
)
CHANNELS_SHOWN = 10

register_sentences(
    {
        ServerNotAllowed: f"{SERVER_NOT_ALLOWED} {NOTHING_SPENT}",
        SongsPaused: "Songs are paused because of a problem with the bot's account at the song "
        "service. Its operator has been notified. Nothing was spent. Please try again later.",
        NoGenres: "Please name at least one genre, like `funk, pop`.",
        InstrumentalWithLyrics: "An instrumental has no lyrics. Leave out either `lyrics` or "
        "`instrumental`.",
        admission.BlockedWord: "\u201c{word}\u201d is blocked in genres and lyrics in this server. "
        "Please leave it out. Nothing was spent.",
        admission.SongTooLarge: "The limit in this server is {limit:,} `{name}`. Choose a lower "
        "number. Nothing was spent.",
        admission.Cooldown: "Members can request one song every {seconds:,} s here. Try again "
        "{again_at}. Nothing was spent.",
        admission.SettingLimitReached: "{label}: the limit is {limit:,}. Try again {again_at}. "
        "Nothing was spent.",
        admission.MemberHasUndelivered: "{count:,} of your songs in this server could not be "
        "posted, which is the limit. Get them with `/show`, then request a new one. Nothing was "
        "spent.",
        admission.ServerHasUndelivered: "{count:,} songs of this server could not be posted, which "
        "is the limit. Their members can get them with `/show`. I also post them once the server's "
        "managers give me View Channel, Send Messages, Embed Links, Attach Files and Read Message "
        "History in their channels. Nothing was spent.",
        refusals.NotYourSong: NOT_YOUR_SONG,
        refusals.FormExpired: "This form has expired. Use `/song` again.",
        refusals.SongFileLost: "The song's file was lost, so its price has been refunded.",
    }
)


@refusal_text.register
def _(refusal: refusals.AudioUnusable) -> str:
    return why(refusal.reason, refusal.detail)


@refusal_text.register
def _(refusal: refusals.UnknownSong) -> str:
    if refusal.number is None:
        return NO_SUCH_SONG
    return f"There is no song #{refusal.number} in this server."


@refusal_text.register
def _(refusal: refusals.TooLateToCancel) -> str:
    if refusal.status in (Status.QUEUED, Status.PROCESSING):
        return f"Song #{refusal.number} is already being made, so it can't be cancelled."
    return f"Song #{refusal.number} is already {refusal.status.lower()}."


@refusal_text.register
def _(refusal: admission.ServerPaused) -> str:
    reason = f": {refusal.reason}" if refusal.reason else ""
    return f"The server's managers have paused new songs{reason}. {NOTHING_SPENT}"


@refusal_text.register
def _(refusal: admission.MemberBlocked) -> str:
    until = f" until {ago(refusal.until)}" if refusal.until else ""
    return f"You can't make songs in this server{until}: {refusal.reason}. {NOTHING_SPENT}"


@refusal_text.register
def _(refusal: admission.WrongChannel) -> str:
    where = ", ".join(f"<#{channel}>" for channel in refusal.channels[:CHANNELS_SHOWN])
    return f"You can't make songs in this channel. Go to {where}. {NOTHING_SPENT}"


@refusal_text.register
def _(refusal: admission.TooManyRefunds) -> str:
    songs = counted(refusal.limit, "song")
    return (
        f"In the last hour you cancelled {songs}, or they failed because of what you requested. "
        f"That is the limit. You can request a song again {ago(refusal.again_at)}. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: admission.TooManyElsewhere) -> str:
    return (
        f"You have {counted(refusal.count, 'song')} in progress in other servers, which leaves no "
        f"room for one here. Try again when one of them is done. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: admission.TooManyInProgress) -> str:
    return (
        f"You already have {counted(refusal.count, 'song')} in progress here, and the limit is "
        f"{refusal.limit:,}. Wait until one is done, or cancel one in `/queue`. {NOTHING_SPENT}"
    )


# --- one song -------------------------------------------------------------------------------------

REQUESTED_BY = "Requested by <@{member_id}>"
FOOTER = "#{number} \N{MIDDLE DOT} seed {seed}"
LENGTH = "Length"
PRICE = "Price"
BALANCE = "You have"
UNLIMITED = "unlimited credits"
PROGRESS = "Progress"
AUDIO = "Audio"
LISTEN = "Listen in the channel"
COULD_NOT_POST = "Your song is ready, but I couldn't post it."
NOT_STORED = "I don't store it any longer."
NOT_DELIVERED = "It couldn't be delivered, so its price was refunded."
REFUNDED = "Your credits were refunded."
COST_NOTHING = "It cost you nothing."
REASON = "Reason"
UNKNOWN = "unknown"
GENRES = "Genres"
DELETED = "deleted"
SEED = "Seed"
SETTINGS = "Settings"
HANDED_OVER = (
    "Here it is, visible only to you. Please save it now: I don't store it any longer, and I won't "
    "post it."
)


def link_to_post(song: Song) -> str | None:
    """Return the URL of the song's post."""
    if song.post_id is None:
        return None
    return message_address(song.server_id, song.channel_id, song.post_id)


def untitled(song: Song) -> str:
    """Name a song that has no title."""
    return f"Song #{song.number}"


def price(song: Song, *, unlimited: bool = False) -> str:
    """Say what a song costs and whether that was refunded."""
    text = credits_text(song.price)
    if unlimited:
        return f"{text}, free for you"
    refunded = song.state in (State.REFUNDED, State.FAILED, State.CANCELLED)
    return f"{text}, refunded" if refunded else text


def news(view: View) -> str:
    """Say what is happening to a song, for its requester."""
    song = view.song
    refund = COST_NOTHING if view.unlimited else REFUNDED
    match song.status:
        case Status.QUEUED if view.place is not None:
            place = f"{ordinal(view.place)} of {view.waiting:,} in the queue"
            return f"{place}, expected {ago(view.expected_at)}"
        case Status.QUEUED | Status.PROCESSING:
            return f"Expected {ago(view.expected_at)}"
        case Status.COMPLETED if song.state is State.UNDELIVERED:
            return (
                f"{COULD_NOT_POST} {reason(song)}\n"
                f"Press **{GET_SONG}** or use `/show {song.number}` to get it privately. I'll also "
                f"post it as soon as I can, or refund its price {ago(refunded_at(song))}."
            )
        case Status.COMPLETED:
            return whereabouts(song)
        case Status.FAILED:
            return f"{reason(song)}\n{refund}"
        case _:
            return refund


STORY = "What happened"
STEPS = {
    State.WAITING: "back in the queue",
    State.SUBMITTING: "sent to the song service",
    State.SUBMITTED: "accepted by the song service",
    State.DOWNLOADED: "made and downloaded",
    State.READY: "prepared for the channel",
    State.POSTING: "being posted",
    State.UNDELIVERED: "couldn't be posted",
    State.COMPLETED: "posted",
    State.REFUNDED: "refunded, since it couldn't be delivered",
    State.FAILED: "failed and refunded",
    State.CANCELLED: "cancelled and refunded",
}
"""Each state as a line of a song's story."""
HANDED_OVER_STEP = "given to its requester"
STEPS_SHOWN = 10
"""Lines of a story."""


def why(reason: Reason, detail: str | None, *, longest: int = 400) -> str:
    """Say why a song failed or could not be posted, with what the outside said about it."""
    sentence = REASONS[reason]
    if detail:
        says = "The song service says" if reason is Reason.MODEL_FAILED else sentence[:-1]
        sentence = f"{says}: {detail}"
    return plain(sentence, longest)


def reason(song: Song) -> str:
    """Say why it failed or was not posted, and in which channel if it was requested in another."""
    text = why(song.reason, song.reason_detail) if song.reason else UNKNOWN
    elsewhere = song.status is Status.COMPLETED and song.origin_id is not None
    return f"In <#{song.channel_id}>: {text}" if elsewhere else text


def refunded_at(song: Song) -> datetime:
    """Return when the price of an undelivered song is refunded."""
    return (song.ended_at or song.state_at) + REFUNDED_AFTER


def whereabouts(song: Song) -> str:
    """Say where the audio of a completed song is, for everybody."""
    if song.reason is None:
        return f"[{LISTEN}]({link_to_post(song)})"
    if song.state is State.COMPLETED:
        return (
            f"It couldn't be posted, so only <@{song.member_id}> got it {ago(song.state_at)}. "
            + NOT_STORED
        )
    if song.state is State.UNDELIVERED:
        return (
            f"It couldn't be posted. Only <@{song.member_id}> can get it, with "
            f"`/show {song.number}`. I'll post it as soon as I can, or refund its price "
            f"{ago(refunded_at(song))}."
        )
    return NOT_DELIVERED


def story(song: Song, events: Sequence[SongEvent]) -> str:
    """List the latest steps of a song's life, oldest first."""
    lines = [f"{ago(song.requested_at)} requested"]
    for event in events:
        step = STEPS[event.to_state]
        if event.to_state is State.COMPLETED and song.post_id is None:
            step = HANDED_OVER_STEP
        elif event.detail and event.to_state in (State.UNDELIVERED, State.FAILED):
            detail = song.reason_detail if event.detail == song.reason else None
            step += f": {why(Reason(event.detail), detail, longest=60)}"
        lines.append(f"{ago(event.at)} {step}")
    lines = lines[-STEPS_SHOWN:]
    while len("\n".join(lines)) > FIELD:
        del lines[0]
    return "\n".join(lines)


def request(song: Song) -> str:
    """Say how a song is, who requested it and when."""
    return f"**{song.status}**, requested {ago(song.requested_at)} by <@{song.member_id}>"


def hidden_request(song: Song) -> str:
    """Say as much to those who may not read the song's genres and lyrics."""
    return (
        f"{request(song)}\nIts genres and lyrics are visible to everyone who can see its post. "
        "Until it is posted, only its requester and the server's managers can see them."
    )


def settings(song: Song) -> str:
    """List the parameters that are rarely changed."""
    return (
        f"steps {song.steps}, cfg {song.cfg:g}, shift {song.shift:g}, "
        f"lyrics strength {song.lyrics_strength:g}"
    )


# --- many songs -----------------------------------------------------------------------------------

QUEUE = "Queue"
QUEUE_EMPTY = "No songs are in progress or waiting here. Request one with `/song`."
QUEUE_PLACES = "Places count the songs of all servers, which take turns."
SONGS = "Songs"
NOW = "now"
YOURS = "yours"
MORE = "and {count:,} more"
HISTORY_OF = "By <@{member_id}>"
HISTORY_EMPTY = "<@{member_id}> has no songs here yet. Request one with `/song`."


def page_number(page: Page) -> str:
    """Count a list's pages and songs."""
    songs = counted(page.total, "song")
    return f"Page {page.number:,} of {page.pages:,} \N{MIDDLE DOT} {songs}"


# --- help and hello -------------------------------------------------------------------------------

HELP_TITLE = "Make a song"
HELP = (
    "Type `/song`, add some genres and press Enter. Write your lyrics in the form that opens, or "
    "submit it unchanged for an instrumental.\n\nOnly you see the progress. The finished song is "
    "posted in the channel."
)
HELP_GENRES = (
    "Genres, instruments, moods, voice and tempo, separated by commas: "
    "`funk, female vocals, energetic, 105 BPM`"
)
HELP_LYRICS = (
    "Put section names in brackets: `[verse]`, `[chorus]`, `[bridge]`, `[outro]`. About two words "
    "fit into a second."
)
HELP_MORE = "More"
FOR_EVERYONE = "For everyone"
FOR_MANAGERS = "For server managers"
FIRST_STEPS = (
    "1. `/quota server` sets how many credits everyone gets\n"
    "2. `/quota role` gives a role more\n"
    "3. `/quota budget` limits what the whole server can spend\n"
    "4. `/quota channels` sets where songs can be made\n"
    "5. `/quota log` posts every change in a channel\n"
    "`/quota show` has all settings in one place"
)
MANAGERS = "`/quota` manages credits and limits"
HELLO_TITLE = "Hello! I make songs."
HELLO = "Type `/song`, add some genres, and your song is ready in about half a minute."
HELLO_MANAGERS = (
    f"You don't have to set up anything. To make it yours:\n{FIRST_STEPS}\nI need Send Messages, "
    "Embed Links, Attach Files and Read Message History in the channels for songs."
)
NOT_ALLOWED_TITLE = "Hello! I can't make songs here yet."


def help_prices(prices: Prices) -> str:
    """Say what songs cost and when that is refunded."""
    return (
        f"1 credit per {prices.seconds:,} seconds, times 1 per {prices.steps:,} `steps`, both "
        "rounded up. You see the price first. Failed songs are refunded."
    )


def commands(settings: Settings) -> Iterator[str]:
    """List the other commands for members of a server with these settings."""
    yield "`/queue` shows songs in progress and waiting"
    yield "`/history` lists your songs"
    yield "`/show` shows one song by its number"
    yield "`/credits` shows what you have, why, and when it refills"
    if settings[GIFTS]:
        yield "`/gift` gives another member some of your credits"
    if settings[LEADERBOARD]:
        yield "`/leaderboard` shows who made the most songs"


def hello_members(allowance: int | None, prices: Prices) -> str:
    """Say what members can do. `allowance`: credits a day, None without a limit."""
    if allowance is None:
        return "You can make as many songs as you like. `/help` shows how."
    minute = credits_text(prices.of(60, 50))
    return (
        f"Each of you gets {credits_text(allowance)} a day. A minute of music costs {minute}. "
        "`/credits` shows what you have, `/help` how it works."
    )
