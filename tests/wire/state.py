"""Everything this Discord knows. Plain records, and one class that keeps them."""

import bisect
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .clock import Clock
from .permissions import ALL, BOT, EVERYONE, Permission
from .signals import Signal

if TYPE_CHECKING:
    from .interactions import Interaction

EPOCH_MS = 1_420_070_400_000  # https://docs.discord.com/developers/reference#snowflakes
MIB = 1024 * 1024
UPLOAD_LIMITS = {0: 10 * MIB, 1: 10 * MIB, 2: 50 * MIB, 3: 100 * MIB}
NONCE_SECONDS = 180.0  # Discord says "the past few minutes"
NONCES_KEPT = 10_000
EPHEMERAL, LOADING, COMPONENTS_V2 = 1 << 6, 1 << 7, 1 << 15
TEXT_CHANNEL, DM_CHANNEL, VOICE_CHANNEL, STAGE_CHANNEL = 0, 1, 2, 13
FORUM_CHANNEL, MEDIA_CHANNEL = 15, 16
ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 10, 11, 12
THREADS = (ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD)
VOICE = (VOICE_CHANNEL, STAGE_CHANNEL)
OF_POSTS = (FORUM_CHANNEL, MEDIA_CHANNEL)


@dataclass(eq=False, slots=True)
class User:
    id: int
    name: str
    bot: bool = False
    dms_open: bool = True


@dataclass(eq=False, slots=True)
class Role:
    id: int
    name: str
    permissions: int


@dataclass(eq=False, slots=True)
class Member:
    user: User
    guild: "Guild"
    roles: list[Role]

    @property
    def id(self) -> int:
        return self.user.id

    @property
    def permissions(self) -> int:
        if self.user is self.guild.owner:
            return int(ALL | Permission.ADMINISTRATOR)
        granted = self.guild.everyone.permissions
        for role in self.roles:
            granted |= role.permissions
        return granted


@dataclass(eq=False, slots=True)
class Guild:
    """`available` is False in an outage of Discord's, `joined` once the bot was removed."""

    id: int
    name: str
    owner: User
    everyone: Role
    bot_role: Role
    premium_tier: int = 0
    upload_limit: int = 10 * MIB
    roles: dict[int, Role] = field(default_factory=dict)
    channels: dict[int, "Channel"] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    available: bool = True
    joined: bool = True


@dataclass(eq=False, slots=True)
class Channel:
    """`permissions` are the bot's own here. A thread has a `parent`, a DM a `recipient`.

    `has_bot`: the bot is a member of the thread, which counts in a private one. `hidden`: everyone
    is denied to view it, but for the bot.
    """

    id: int
    name: str
    type: int
    guild: Guild | None = None
    parent: "Channel | None" = None
    recipient: User | None = None
    permissions: int = 0
    archived: bool = False
    locked: bool = False
    has_bot: bool = True
    hidden: bool = False
    nsfw: bool = False
    messages: dict[int, "Message"] = field(default_factory=dict)
    changed: Signal = field(default_factory=Signal)

    def allows(self, permission: int) -> bool:
        return self.permissions & permission == permission

    @property
    def visible(self) -> bool:
        """Whether the bot may see it: https://docs.discord.com/developers/topics/permissions."""
        needed = Permission.VIEW_CHANNEL
        if self.type in VOICE:
            needed |= Permission.CONNECT
        hidden = self.type == PRIVATE_THREAD and not self.has_bot
        return self.allows(needed) and not (hidden and not self.allows(Permission.MANAGE_THREADS))

    def history(
        self,
        *,
        limit: int,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
    ) -> list["Message"]:
        """Newest first, without ephemeral messages, which nobody finds in a channel."""
        found = [m for m in self.messages.values() if not m.flags & EPHEMERAL]
        ids = [message.id for message in found]
        if around is not None:
            start = max(0, bisect.bisect_left(ids, around) - limit // 2)
            found = found[start : start + limit]
        elif after is not None:
            start = bisect.bisect_right(ids, after)
            found = found[start : start + limit]
        else:
            end = len(ids) if before is None else bisect.bisect_left(ids, before)
            found = found[max(0, end - limit) : end]
        return found[::-1]


@dataclass(frozen=True, slots=True)
class Attachment:
    """`content` is None where the wire keeps no uploads."""

    id: int
    filename: str
    description: str | None
    size: int
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Pings:
    """Who hears of a message. An edit never pings."""

    users: frozenset[int] = frozenset()
    roles: frozenset[int] = frozenset()
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """A message as it stood from `at` (`Clock.wall()`, seconds) until its next version."""

    message_id: int
    at: float
    content: str
    embeds: list[dict[str, Any]]
    components: list[dict[str, Any]]
    attachments: tuple[Attachment, ...]
    loading: bool


@dataclass(eq=False, slots=True)
class Message:
    """`versions` holds every state in order, the first one being the creation."""

    id: int
    channel: Channel
    author: User
    flags: int
    versions: list[Version]
    nonce: str | None = None
    pings: Pings = Pings()
    interaction: "Interaction | None" = None
    deleted: bool = False

    @property
    def now(self) -> Version:
        return self.versions[-1]

    @property
    def content(self) -> str:
        return self.now.content

    @property
    def embeds(self) -> list[dict[str, Any]]:
        return self.now.embeds

    @property
    def components(self) -> list[dict[str, Any]]:
        return self.now.components

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return self.now.attachments

    @property
    def edits(self) -> list[Version]:
        return self.versions[1:]

    @property
    def ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)

    @property
    def loading(self) -> bool:
        """Whether people still see "is thinking"."""
        return bool(self.flags & LOADING)


class State:
    """`token` is the bot's; while `revoked` nobody gets in with it."""

    def __init__(self, clock: Clock, *, token: str, keep_uploads: bool) -> None:
        self.clock = clock
        self.token = token
        self.revoked = False
        self.keep_uploads = keep_uploads
        self._last_id = 0
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.interactions: dict[int, Interaction] = {}
        self.by_token: dict[str, Interaction] = {}
        self.commands: list[dict[str, Any]] = []
        self.command_puts = 0
        self.changed = Signal()
        self._nonces: dict[tuple[int, str], tuple[float, Message]] = {}
        self.application_id = self.new_id()
        self.owner = self.add_user("owner")
        self.bot = self.add_user("songwright", bot=True)

    def new_id(self) -> int:
        """A snowflake of now; always greater than the ones before."""
        stamp = (int(self.clock.wall() * 1000) - EPOCH_MS) << 22
        self._last_id = max(stamp, self._last_id + 1)
        return self._last_id

    def add_user(self, name: str, *, bot: bool = False) -> User:
        user = User(self.new_id(), name, bot)
        self.users[user.id] = user
        return user

    def add_guild(self, name: str, *, premium_tier: int = 0) -> Guild:
        guild_id = self.new_id()
        guild = Guild(
            id=guild_id,
            name=name,
            owner=self.add_user(f"{name}-owner"),
            everyone=Role(guild_id, "@everyone", int(EVERYONE)),
            bot_role=Role(self.new_id(), self.bot.name, int(BOT)),
            premium_tier=premium_tier,
            upload_limit=UPLOAD_LIMITS[premium_tier],
        )
        guild.roles = {role.id: role for role in (guild.everyone, guild.bot_role)}
        self.guilds[guild_id] = guild
        self.add_member(guild, guild.owner)
        return guild

    def add_role(self, guild: Guild, name: str, permissions: int = 0) -> Role:
        role = Role(self.new_id(), name, permissions)
        guild.roles[role.id] = role
        return role

    def add_member(self, guild: Guild, user: User, roles: list[Role] | None = None) -> Member:
        member = Member(user, guild, roles or [])
        guild.members[user.id] = member
        return member

    def add_channel(
        self, guild: Guild, name: str, permissions: int, kind: int = TEXT_CHANNEL
    ) -> Channel:
        channel = Channel(self.new_id(), name, kind, guild, permissions=permissions)
        guild.channels[channel.id] = self.channels[channel.id] = channel
        return channel

    def add_thread(
        self, parent: Channel, name: str, kind: int = PUBLIC_THREAD, *, has_bot: bool = True
    ) -> Channel:
        thread = Channel(
            self.new_id(),
            name,
            kind,
            parent.guild,
            parent=parent,
            permissions=parent.permissions,
            has_bot=has_bot,
        )
        assert parent.guild is not None
        parent.guild.channels[thread.id] = self.channels[thread.id] = thread
        return thread

    def direct_channel(self, user: User) -> Channel:
        for channel in self.channels.values():
            if channel.recipient is user:
                return channel
        channel = Channel(
            self.new_id(), user.name, DM_CHANNEL, recipient=user, permissions=int(ALL)
        )
        self.channels[channel.id] = channel
        return channel

    def delete_channel(self, channel: Channel) -> None:
        del self.channels[channel.id]
        if channel.guild is not None:
            del channel.guild.channels[channel.id]
            for thread in [c for c in channel.guild.channels.values() if c.parent is channel]:
                self.delete_channel(thread)

    def add_interaction(self, interaction: "Interaction") -> None:
        self.interactions[interaction.id] = interaction
        self.by_token[interaction.token] = interaction

    def new_token(self, interaction_id: int) -> str:
        return f"aW50ZXJhY3Rpb24{interaction_id}-{secrets.token_urlsafe(48)}"

    def new_attachment(self, filename: str, description: str | None, content: bytes) -> Attachment:
        return Attachment(
            id=self.new_id(),
            filename=filename,
            description=description,
            size=len(content),
            content=content if self.keep_uploads else None,
        )

    def find_nonce(self, author: User, nonce: str) -> Message | None:
        """The author's message of the last minutes that was sent with the same nonce."""
        at, message = self._nonces.get((author.id, nonce), (0.0, None))
        return message if self.clock.now() - at < NONCE_SECONDS else None

    def keep_nonce(self, message: Message) -> None:
        if message.nonce is None:
            return
        self._nonces[(message.author.id, message.nonce)] = (self.clock.now(), message)
        while len(self._nonces) > NONCES_KEPT:
            del self._nonces[next(iter(self._nonces))]

    def add_message(self, message: Message) -> None:
        message.channel.messages[message.id] = message
        self.keep_nonce(message)
        if message.interaction is not None:
            message.interaction.messages.append(message)
        self.notify(message)

    def notify(self, message: Message) -> None:
        """Wake those who wait for this message, its channel, its interaction, or anything."""
        if message.interaction is not None:
            message.interaction.changed.notify()
        message.channel.changed.notify()
        self.changed.notify()

    def delete_message(self, message: Message) -> None:
        message.deleted = True
        message.channel.messages.pop(message.id, None)
        self.notify(message)
