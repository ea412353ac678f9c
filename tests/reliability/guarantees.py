"""What is guaranteed of every song, whatever broke meanwhile, checked from outside."""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from db.database import Database
from services.clock import utc_now
from services.operations.consistency_check import ConsistencyCheck
from tests.factories import make_credits
from tests.wire import Interaction, Message
from tests.wire.rest import TOKEN_SECONDS
from tests.world.sockets import MAKE, SUBMIT, World, status_of

MARK = re.compile(r"\N{MIDDLE DOT} (\d+)$")
"""The end of the footer of a song's post: its id."""
STATE = re.compile(r"\*\*(QUEUED|PROCESSING|COMPLETED|FAILED|CANCELLED)\*\*")


async def broken_guarantees(world: World, *, most_submits: int = 1) -> list[str]:
    """Return what is wrong with songs and money, once all songs have ended.

    `most_submits`: how often a song may have been submitted: 2 where the first answer was lost.
    """
    submits = Counter(
        call.body.get("seed") for call in world.api.calls if call.path in (SUBMIT, MAKE)
    )
    posts: dict[int | None, list[int]] = {}
    for post in world.posts:
        posts.setdefault(_song_of(post), []).append(post.id)
    found = [
        text
        for seed, song in world.requested.items()
        for text in _of_song(world, song, posts.pop(song.id, []), submits[seed], most_submits)
    ]
    unknown = [
        f"{len(others)} posts of {song_id}, nobody's song" for song_id, others in posts.items()
    ]
    return [*found, *unknown, *_of_files(world), *await wrong_balances(world.folder / "data")]


def _song_of(post: Message) -> int | None:
    """Return the id of the song in a post, by its card."""
    footers = [embed.get("footer", {}).get("text", "") for embed in post.embeds]
    marks = [found for footer in footers if (found := MARK.search(footer))]
    return int(marks[0][1]) if marks else None


def _of_song(
    world: World, song: Interaction, posts: list[int], submits: int, most_submits: int
) -> Iterator[str]:
    row, entries = world.row(song), world.entries(song)
    name = f"song {song.id}"
    if submits > most_submits:
        yield f"{name} was submitted {submits} times"
    if row is None:
        if entries or posts or submits:
            yield f"{name} is not there, but {entries}, {len(posts)} posts, {submits} submits"
        return
    if row["post_id"] is not None:
        expected = (["hold", "settle"], [row["post_id"]])
    elif row["state"] in ("undelivered", "completed"):
        expected = (["hold", "settle"], [])
    elif row["state"] == "refunded":
        expected = (["hold", "settle", "compensate"], [])
    elif status_of(row) in ("FAILED", "CANCELLED"):
        expected = (["hold", "refund"], [])
        if row["fault"] is None:
            yield f"{name} is {status_of(row)}, and its row does not say whose fault it is"
    else:
        yield f"{name} has not ended: it is {row['state']}"
        return
    if sorted(entries) != sorted(expected[0]):
        yield f"{name} is {status_of(row)} with {entries}"
    if posts != expected[1]:
        yield f"{name} is {status_of(row)} with {len(posts)} posts"
    yield from _of_status_message(world, song, row)


def _of_status_message(world: World, song: Interaction, row: sqlite3.Row) -> Iterator[str]:
    """It shows how the song ended, as long as it can be edited; a deleted one shows nothing."""
    shown = status_shown(song)
    editable = world.wire.clock.now() - song.dispatched < TOKEN_SECONDS
    if row["token"] is not None and row["state"] != "undelivered":
        yield f"song {song.id} has ended, and its message is still to be edited"
    elif shown is None and editable and not is_gone(song):
        yield f"song {song.id} is {status_of(row)}, and its message does not show it"
    elif shown is not None and shown != status_of(row):
        yield f"song {song.id} is {status_of(row)}, and its message shows {shown}"


def is_gone(song: Interaction) -> bool:
    """Return whether its status message was deleted, or never existed."""
    return song.original is None or song.original.deleted


def status_shown(song: Interaction) -> str | None:
    """Return the state that a song's status message shows, if any."""
    message: Message | None = song.original
    if message is None or message.deleted:
        return None
    found = STATE.search(str(message.embeds))
    return found[1] if found else None


def _of_files(world: World) -> Iterator[str]:
    kept = {
        str(row["song_id"])
        for row in world.rows("SELECT song_id FROM songs WHERE file IS NOT NULL")
    }
    for inside in world.song_folders():
        if inside.name not in kept:
            yield f"{inside.name} was left in the folder of songs"


async def wrong_balances(data: Path) -> list[str]:
    """Return what `bot.py check` finds in a data folder."""
    database = await Database.open(data / "songs.db")
    try:
        credits = make_credits(database, utc_now)
        findings = await ConsistencyCheck(database, credits, data_dir=data).run(fix=False)
    finally:
        await database.close()
    return [finding.text for finding in findings]
