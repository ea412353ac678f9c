"""What people read about songs."""

from cogs.client.texts import NOTHING_SPENT, counted, refusal_text
from services.clock import relative
from services.errors import ServerNotAllowed, SongsPaused
from services.songs.admission import (
    BlockedWord,
    Cooldown,
    MemberBlocked,
    MemberHasUndelivered,
    ServerHasUndelivered,
    ServerPaused,
    SongTooLarge,
    TooManyElsewhere,
    TooManyInProgress,
    TooManyRefunds,
    WrongChannel,
)

CHANNELS_SHOWN = 10
SERVER_NOT_ALLOWED = (
    "I can't make songs in this server because my operator hasn't allowed it. Ask them to add the "
    "server id {server_id} to ALLOWED_SERVERS."
)


@refusal_text.register
def _(refusal: ServerNotAllowed) -> str:
    return f"{SERVER_NOT_ALLOWED.format(server_id=refusal.server_id)} {NOTHING_SPENT}"


@refusal_text.register
def _(_: SongsPaused) -> str:
    return (
        "Songs are paused because of a problem with the bot's account at the song service. Its "
        f"operator has been notified. {NOTHING_SPENT} Please try again later."
    )


@refusal_text.register
def _(refusal: MemberHasUndelivered) -> str:
    return (
        f"{refusal.count:,} of your songs in this server could not be posted, which is the limit. "
        f"Get them with `/show`, then request a new one. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: ServerHasUndelivered) -> str:
    return (
        f"{refusal.count:,} songs of this server could not be posted, which is the limit. Their "
        "members can get them with `/show`. I also post them once the server's managers give me "
        "View Channel, Send Messages, Embed Links, Attach Files and Read Message History in their "
        f"channels. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: ServerPaused) -> str:
    reason = f": {refusal.reason}" if refusal.reason else ""
    return f"The server's managers have paused new songs{reason}. {NOTHING_SPENT}"


@refusal_text.register
def _(refusal: MemberBlocked) -> str:
    until = f" until {relative(refusal.until)}" if refusal.until else ""
    return f"You can't make songs in this server{until}: {refusal.reason}. {NOTHING_SPENT}"


@refusal_text.register
def _(refusal: WrongChannel) -> str:
    where = ", ".join(f"<#{channel}>" for channel in refusal.channels[:CHANNELS_SHOWN])
    return f"You can't make songs in this channel. Go to {where}. {NOTHING_SPENT}"


@refusal_text.register
def _(refusal: SongTooLarge) -> str:
    limit = f"{refusal.limit:,} `{refusal.name}`"
    return f"The limit in this server is {limit}. Choose a lower number. {NOTHING_SPENT}"


@refusal_text.register
def _(refusal: BlockedWord) -> str:
    return (
        f"\N{LEFT DOUBLE QUOTATION MARK}{refusal.word}\N{RIGHT DOUBLE QUOTATION MARK} is blocked "
        f"in genres and lyrics in this server. Please leave it out. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: TooManyRefunds) -> str:
    songs = counted(refusal.limit, "song")
    return (
        f"In the last hour you cancelled {songs}, or they failed because of what you requested. "
        "That is the limit. You can request a song again "
        f"{relative(refusal.again_at)}. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: TooManyElsewhere) -> str:
    return (
        f"You have {counted(refusal.count, 'song')} in progress in other servers, which leaves no "
        f"room for one here. Try again when one of them is done. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: TooManyInProgress) -> str:
    return (
        f"You already have {counted(refusal.count, 'song')} in progress here, and the limit is "
        f"{refusal.limit:,}. Wait until one is done, or cancel one in `/queue`. {NOTHING_SPENT}"
    )


@refusal_text.register
def _(refusal: Cooldown) -> str:
    return (
        f"Members can request one song every {refusal.seconds:,} s here. Try again "
        f"{relative(refusal.again_at)}. {NOTHING_SPENT}"
    )
