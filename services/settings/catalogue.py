"""The catalogue of server settings: each is described here, once.

The pages and forms of `/quota show`, the `/quota` commands, the audit log, undo, reset and the
table in the README follow from it. To add a setting, add an entry here, the check that obeys it
and the query that the check needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from services.amounts import MAX_BUDGET
from services.calendar import Calendar
from services.providers.registry import PARAMETERS
from services.settings import kinds
from services.settings.settings import Block, Defaults, Override

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

EACH = "Limits for each member"
INCREASES = "Increases apply right away. Decreases only remove credits nobody has spent yet."


class About(StrEnum):
    """Who a setting is about. Settings about roles or members have a value for each of them."""

    SERVER = "server"
    ROLE = "role"
    MEMBER = "member"


class Topic(StrEnum):
    """What a setting belongs to: a page of the panel."""

    CREDITS = "credits"
    ROLES = "roles"
    MEMBERS = "members"
    LIMITS = "limits"
    BLOCKED = "blocked"
    MORE = "more"


@dataclass(frozen=True, eq=False)
class Setting(Generic[T_co]):
    """One setting.

    Attributes:
        key: its name in the database, in buttons and in forms.
        label: its name for people.
        help: what it does, in a line.
        default: its value where the server has not set it.
        group: settings with the same group share a line of a page, and a form.
        effect: what to know when it has changed.
        most: how many roles or members of a server may have one.
    """

    key: str
    label: str
    help: str
    topic: Topic
    kind: kinds.Kind
    default: Callable[[Defaults], T_co]
    about: About = About.SERVER
    group: str = ""
    effect: str = ""
    most: int = 1


def _always(value: T) -> Callable[[Defaults], T]:
    """Return a default that is the same whatever the operator's defaults are."""
    return lambda _: value


ALLOWANCE: Setting[int | None] = Setting(
    "allowance",
    "Allowance",
    "For every member, unless their role or a personal allowance says otherwise.",
    Topic.CREDITS,
    kinds.Credits(),
    lambda defaults: defaults.allowance,
    effect=INCREASES,
)
CALENDAR: Setting[Calendar] = Setting(
    "calendar",
    "Refill",
    "When a new period begins. What is left of the allowance expires then.",
    Topic.CREDITS,
    kinds.Refill(),
    _always(Calendar()),
    effect="Takes effect when the current period ends.",
)
BUDGET: Setting[int | None] = Setting(
    "budget",
    "Budget",
    "The most that all members together may spend in a period.",
    Topic.CREDITS,
    kinds.Number(1, MAX_BUDGET, "credits", optional=True),
    _always(None),
)
ROLE_ALLOWANCE: Setting[int | None] = Setting(
    "role",
    "Role allowance",
    "A different allowance for members with a role. The highest of a member's roles counts.",
    Topic.ROLES,
    kinds.Credits(),
    _always(None),
    about=About.ROLE,
    effect=INCREASES,
    most=250,  # Discord's limit of roles
)
MEMBER_ALLOWANCE: Setting[Override | None] = Setting(
    "member",
    "Member allowance",
    "An allowance for one member, instead of what their roles or the server give.",
    Topic.MEMBERS,
    kinds.CreditsUntil(),
    _always(None),
    about=About.MEMBER,
    effect=INCREASES,
    most=1_000,
)
PAUSE: Setting[str | None] = Setting(
    "pause",
    "Pause",
    "While paused, nobody can start a song. Songs in progress are finished.",
    Topic.LIMITS,
    kinds.Reason(),
    _always(None),
)
UNFINISHED: Setting[int] = Setting(
    "unfinished",
    "Songs at once",
    "Songs of one member that may wait or run at once.",
    Topic.LIMITS,
    kinds.Number(1, 100, "songs"),
    lambda defaults: defaults.limits.unfinished,
    group=EACH,
)
LONGEST: Setting[int] = Setting(
    "seconds",
    "Longest song",
    "The longest song that members can request.",
    Topic.LIMITS,
    kinds.Number(*PARAMETERS.seconds.bounds, "seconds"),
    lambda defaults: defaults.limits.seconds,
    group=EACH,
)
MOST_STEPS: Setting[int] = Setting(
    "steps",
    "Most steps",
    "The most steps that members can request. More cost more.",
    Topic.LIMITS,
    kinds.Number(*PARAMETERS.steps.bounds, "steps"),
    lambda defaults: defaults.limits.steps,
    group=EACH,
)
COOLDOWN: Setting[int] = Setting(
    "cooldown",
    "Cooldown",
    "Time from one song of a member to the next. 0 is none.",
    Topic.LIMITS,
    kinds.Number(0, 7 * 86_400, "seconds"),
    lambda defaults: defaults.limits.cooldown,
    group=EACH,
)
HOURLY_IN_CHANNEL: Setting[int | None] = Setting(
    "hourly_in_channel",
    "Songs an hour in a channel",
    "Keeps each channel calm. A thread counts as its channel.",
    Topic.LIMITS,
    kinds.Number(1, 1_000, "songs", optional=True),
    _always(None),
)
CHANNELS: Setting[Sequence[int]] = Setting(
    "channels",
    "Channels",
    "Where songs can be requested. A thread counts as its channel.",
    Topic.LIMITS,
    kinds.Channels(25, none="everywhere"),  # what one menu of Discord holds
    _always(()),
)
POST_IN: Setting[int | None] = Setting(
    "post_in",
    "Post songs in",
    "One channel for all songs, except those from hidden ones.",
    Topic.LIMITS,
    kinds.Channel(
        none="where they are requested",
        without="songs are posted where they are requested",
        takes_songs=True,
    ),
    _always(None),
)
BLOCKED_WORDS: Setting[Sequence[str]] = Setting(
    "blocked_words",
    "Blocked words",
    "Songs with one of them in genres or lyrics are refused before anything is spent.",
    Topic.LIMITS,
    kinds.Words(),
    _always(()),
)
BLOCK: Setting[Block | None] = Setting(
    "block",
    "Block",
    "Blocked members can't make songs. They see the reason.",
    Topic.BLOCKED,
    kinds.BlockUntil(),
    _always(None),
    about=About.MEMBER,
    effect="Their waiting songs are cancelled and refunded. Songs that have started are finished.",
    most=1_000,
)
LOG: Setting[int | None] = Setting(
    "log",
    "Log channel",
    "Every change is posted there: who, what, before and after, and why.",
    Topic.MORE,
    kinds.Channel(none="none", without="changes are posted nowhere"),
    _always(None),
)
GIFTS: Setting[bool] = Setting(
    "gifts",
    "Gifts",
    "Members can give each other credits with `/gift`.",
    Topic.MORE,
    kinds.Toggle(),
    _always(value=False),
)
LEADERBOARD: Setting[bool] = Setting(
    "leaderboard",
    "Leaderboard",
    "Members can see with `/leaderboard` who made the most songs.",
    Topic.MORE,
    kinds.Toggle(),
    _always(value=False),
)

CATALOGUE: tuple[Setting[Any], ...] = (
    *(ALLOWANCE, CALENDAR, BUDGET, ROLE_ALLOWANCE, MEMBER_ALLOWANCE, PAUSE),
    *(UNFINISHED, LONGEST, MOST_STEPS, COOLDOWN, HOURLY_IN_CHANNEL, CHANNELS, POST_IN),
    *(BLOCKED_WORDS, BLOCK, GIFTS, LEADERBOARD, LOG),
)
"""All of them, in the order that people see."""
BY_KEY = {setting.key: setting for setting in CATALOGUE}
