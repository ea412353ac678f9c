"""Records as Discord writes them in JSON."""

import mimetypes
from datetime import UTC, datetime
from typing import Any

from .permissions import ALL, Permission
from .state import (
    DM_CHANNEL,
    EPHEMERAL,
    EPOCH_MS,
    OF_POSTS,
    THREADS,
    VOICE,
    Attachment,
    Channel,
    Guild,
    Member,
    Message,
    Role,
    State,
    User,
)

LOCALE = "en-US"
JOINED = "2026-01-01T00:00:00+00:00"
CDN = "https://cdn.discordapp.com"


def nulls(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names)


def zeros(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, 0)


def empty(*names: str) -> dict[str, Any]:
    return {name: [] for name in names}


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def created(snowflake: int) -> str:
    return timestamp(((snowflake >> 22) + EPOCH_MS) / 1000)


def user(u: User) -> dict[str, Any]:
    return {
        "id": str(u.id),
        "username": u.name,
        "global_name": None if u.bot else u.name.title(),
        "discriminator": "0",
        "bot": u.bot,
        **zeros("public_flags", "flags"),
        **nulls("avatar", "primary_guild"),
    }


def own_user(u: User) -> dict[str, Any]:
    return {
        **user(u),
        "mfa_enabled": True,
        "verified": True,
        "locale": LOCALE,
        "premium_type": 0,
        "email": None,
    }


def role(r: Role, *, managed_by: User | None = None) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "id": str(r.id),
        "name": r.name,
        "permissions": str(int(r.permissions)),
        "position": 0 if r.name == "@everyone" else 1,
        "colors": {"primary_color": 0, **nulls("secondary_color", "tertiary_color")},
        "hoist": False,
        "managed": managed_by is not None,
        "mentionable": False,
        **zeros("color", "flags"),
        **nulls("description", "icon", "unicode_emoji"),
    }
    if managed_by is not None:
        payload["tags"] = {"bot_id": str(managed_by.id)}
    return payload


def member(m: Member) -> dict[str, Any]:
    return {
        "user": user(m.user),
        "roles": [str(r.id) for r in m.roles],
        "joined_at": JOINED,
        **nulls("premium_since", "communication_disabled_until", "nick", "avatar", "banner"),
        **dict.fromkeys(("pending", "deaf", "mute"), False),
        "flags": 0,
    }


def bot_member(guild: Guild, bot: User) -> dict[str, Any]:
    return member(Member(bot, guild, [guild.bot_role]))


def channel(c: Channel, bot: User) -> dict[str, Any]:
    if c.type == DM_CHANNEL:
        assert c.recipient is not None
        recipients = [user(c.recipient)]
        payload = {"id": str(c.id), "type": c.type, "flags": 0, "recipients": recipients}
        return payload | nulls("last_message_id")
    assert c.guild is not None
    payload = {
        "id": str(c.id),
        "type": c.type,
        "guild_id": str(c.guild.id),
        "name": c.name,
        "parent_id": None if c.parent is None else str(c.parent.id),
        "last_message_id": None,
        **zeros("rate_limit_per_user", "flags"),
    }
    if c.type in THREADS:
        return payload | _thread_fields(c, bot)
    if c.type in VOICE:
        payload |= {"bitrate": 64_000, "user_limit": 0, "rtc_region": None}
    if c.type in OF_POSTS:
        payload |= nulls("default_reaction_emoji", "default_sort_order")
        payload |= {"available_tags": [], "default_forum_layout": 0}
    allow, deny = str(int(c.permissions)), str(int(ALL) & ~int(c.permissions))
    overwrites = [{"id": str(bot.id), "type": 1, "allow": allow, "deny": deny}]
    if c.hidden:
        deny = str(int(Permission.VIEW_CHANNEL))
        overwrites.append({"id": str(c.guild.id), "type": 0, "allow": "0", "deny": deny})
    payload |= {"position": 0, "nsfw": c.nsfw, "topic": None}
    return payload | {"permission_overwrites": overwrites}


def _thread_fields(c: Channel, bot: User) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "owner_id": str(bot.id),
        "message_count": len(c.messages),
        "member_count": 1,
        "total_message_sent": len(c.messages),
        "thread_metadata": {
            "archived": c.archived,
            "archive_timestamp": created(c.id),
            "auto_archive_duration": 4320,
            "locked": c.locked,
            "create_timestamp": created(c.id),
        },
    }
    if c.has_bot:
        fields["member"] = thread_member(c, bot)
    return fields


def thread_member(c: Channel, bot: User) -> dict[str, Any]:
    """The bot's own membership."""
    return {
        "id": str(c.id),
        "user_id": str(bot.id),
        "join_timestamp": created(c.id),
        "flags": 0,
    }


def guild(g: Guild, bot: User) -> dict[str, Any]:
    """As `GET /guilds/{id}` gives it."""
    return {
        "id": str(g.id),
        "name": g.name,
        "owner_id": str(g.owner.id),
        "region": "us-west",
        "roles": [role(r, managed_by=bot if r is g.bot_role else None) for r in g.roles.values()],
        "preferred_locale": LOCALE,
        "premium_tier": g.premium_tier,
        "afk_timeout": 300,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        **dict.fromkeys(("widget_enabled", "premium_progress_bar_enabled", "nsfw"), False),
        **empty("features", "emojis", "stickers"),
        **zeros("system_channel_flags", "verification_level", "default_message_notifications"),
        **zeros("mfa_level", "explicit_content_filter", "premium_subscription_count", "nsfw_level"),
        **nulls("icon", "description", "home_header", "splash", "discovery_splash", "banner"),
        **nulls("application_id", "afk_channel_id", "system_channel_id", "widget_channel_id"),
        **nulls("max_presences", "vanity_url_code", "rules_channel_id", "safety_alerts_channel_id"),
        **nulls("public_updates_channel_id", "incidents_data"),
    }


def guild_create(g: Guild, bot: User, *, known: bool) -> dict[str, Any]:
    """As the gateway gives it to a bot without the members intent: the bot is the only member.

    A server that the bot already knew as unavailable says that it no longer is; one that the bot
    has just joined says nothing of it. So discord.py distinguishes the two.
    """
    channels = list(g.channels.values())
    threads = [c for c in channels if c.type in THREADS and c.visible and not c.archived]
    return {
        **guild(g, bot),
        "joined_at": JOINED,
        "large": False,
        **({"unavailable": False} if known else {}),
        "member_count": len(g.members) + 1,
        "members": [bot_member(g, bot)],
        "channels": [channel(c, bot) for c in channels if c.type not in THREADS],
        "threads": [channel(c, bot) for c in threads],
        **empty("presences", "voice_states", "stage_instances", "guild_scheduled_events"),
        **empty("soundboard_sounds"),
    }


def application(state: State) -> dict[str, Any]:
    return {
        "id": str(state.application_id),
        "name": state.bot.name,
        "description": "",
        "bot": user(state.bot),
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": 0,
        "flags_new": "0",
        "owner": user(state.owner),
        "approximate_guild_count": sum(g.joined for g in state.guilds.values()),
        **zeros("approximate_user_install_count", "approximate_user_authorization_count"),
        "explicit_content_filter": 0,
        **empty("redirect_uris", "rpc_origins", "eligible_oauth2_scopes"),
        **nulls("icon", "type", "interactions_endpoint_url", "team"),
        "role_connections_verification_url": None,
    }


def attachment(a: Attachment, of: Message) -> dict[str, Any]:
    path = f"attachments/{of.channel.id}/{a.id}/{a.filename}"
    payload = {
        "id": str(a.id),
        "filename": a.filename,
        "size": a.size,
        "url": f"{CDN}/{path}",
        "proxy_url": f"https://media.discordapp.net/{path}",
        "content_type": mimetypes.guess_type(a.filename)[0] or "application/octet-stream",
        "ephemeral": of.ephemeral,
    }
    if a.description is not None:
        payload["description"] = a.description
    return payload


def message(m: Message, state: State) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "id": str(m.id),
        "type": 0 if m.interaction is None else 20 if m.interaction.type == 2 else 19,
        "channel_id": str(m.channel.id),
        "author": user(m.author),
        "content": m.content,
        "embeds": [{"type": "rich", **embed} for embed in m.embeds],
        "components": m.components,
        "attachments": [attachment(a, m) for a in m.attachments],
        "mentions": [user(state.users[u]) for u in sorted(m.pings.users) if u in state.users],
        "mention_roles": [str(r) for r in sorted(m.pings.roles)],
        "mention_everyone": m.pings.everyone,
        "timestamp": created(m.id),
        "edited_timestamp": timestamp(m.now.at) if m.edits else None,
        "flags": m.flags,
        "pinned": False,
        "tts": False,
    }
    if m.nonce is not None:
        payload["nonce"] = m.nonce
    if m.interaction is not None:
        payload["application_id"] = payload["webhook_id"] = str(state.application_id)
        payload["interaction_metadata"] = {
            "id": str(m.interaction.id),
            "type": m.interaction.type,
            "user": user(m.interaction.member.user),
            "authorizing_integration_owners": {"0": str(m.interaction.member.guild.id)},
        }
    return payload


def callback(
    interaction_id: int, kind: int, of_type: int, made: Message | None, state: State
) -> dict[str, Any]:
    """The answer to an interaction's callback that was sent with `with_response`."""
    about: dict[str, Any] = {"id": str(interaction_id), "type": of_type}
    if made is not None:
        about["response_message_id"] = str(made.id)
        about["response_message_loading"] = made.loading
        about["response_message_ephemeral"] = bool(made.flags & EPHEMERAL)
    payload: dict[str, Any] = {"interaction": about}
    if made is not None and kind in {4, 7}:
        payload["resource"] = {"type": kind, "message": message(made, state)}
    return payload


def interacting_member(m: Member) -> dict[str, Any]:
    permissions = m.permissions
    if permissions & Permission.ADMINISTRATOR:
        permissions |= int(ALL)
    return {**member(m), "permissions": str(int(permissions))}


def interacting_channel(c: Channel, m: Member, bot: User) -> dict[str, Any]:
    """Discord does not say here whether the bot is in a thread."""
    payload = {**channel(c, bot), "permissions": str(int(m.permissions))}
    payload.pop("member", None)
    return payload
