"""Texts of the messages to the operator."""

from collections.abc import Sequence

from db.records import Server
from services.operations.incidents import MOST_RESULTS_LOST, Kind

MAX_NAMES = 10
"""Servers with name and id in one message."""

BEGINS = {
    Kind.KEY_REFUSED: "The song API refuses the key, so songs are paused. Set SEGMIND_API_KEY to a "
    "key that works and restart; if the key is right, songs go on by themselves.",
    Kind.OUT_OF_CREDITS: "The account at the song API is out of credits, so songs are paused. They "
    "go on by themselves once it has credits again.",
    Kind.API_DOWN: "The song API has not answered for 5 minutes. Songs go on when it does.",
    Kind.DISK_NEARLY_FULL: "The disk of the data folder is nearly full. Make room: once it is "
    "full, songs wait, and those in progress fail after 30 minutes.",
    Kind.UNDELIVERED: "A song could not be posted, for a reason that affects other songs too.",
    Kind.RESULTS_LOST: f"The results of {MOST_RESULTS_LOST} songs in a row could not be downloaded "
    "or played. Members get their credits back, but the song API charges your account. If the "
    "reason names an address that is not public, see DOWNLOAD_ALLOW.",
    Kind.COMMANDS_NOT_REGISTERED: "Discord did not register the bot's commands. Songs go on, with "
    "the commands that were registered before. Registering is retried.",
}
ENDS = {
    Kind.KEY_REFUSED: "The song API accepts the key again. Songs go on.",
    Kind.OUT_OF_CREDITS: "The account at the song API has credits again. Songs go on.",
    Kind.API_DOWN: "The song API answers again.",
    Kind.DISK_NEARLY_FULL: "The disk of the data folder has room again.",
    Kind.UNDELIVERED: "Songs are posted again.",
    Kind.RESULTS_LOST: "A song was downloaded and can be played again.",
    Kind.COMMANDS_NOT_REGISTERED: "The bot's commands are registered.",
}


def added(count: int, *, allowed: bool) -> str:
    """Return the message about servers that the bot was added to."""
    servers_text = "a server" if count == 1 else f"{count:,} servers"
    rest = (
        ". Your account pays for songs made there; `/operator budget` limits them."
        if allowed
        else " that ALLOWED_SERVERS does not list. `/song` is refused there."
    )
    return f"\N{HEAVY PLUS SIGN} The bot was added to {servers_text}{rest}"


def names_of(servers: Sequence[Server]) -> str:
    """Format `Synths (id 1000), Strings (id 1001) and 3 more`."""
    names = [f"{each.name or 'unnamed'} (id {each.server_id})" for each in servers[:MAX_NAMES]]
    more = f" and {len(servers) - MAX_NAMES:,} more" if len(servers) > MAX_NAMES else ""
    return ", ".join(names) + more
