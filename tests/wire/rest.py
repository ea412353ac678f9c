"""REST v10: one function a route. https://docs.discord.com/developers/reference"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import payloads, rules
from .calls import Answer, Call, refusal
from .interactions import AUTOCOMPLETE, COMPONENT, MODAL, Interaction
from .limits import CALLBACK, RateLimiter
from .permissions import Permission
from .state import (
    COMPONENTS_V2,
    DM_CHANNEL,
    EPHEMERAL,
    LOADING,
    MIB,
    OF_POSTS,
    THREADS,
    Attachment,
    Channel,
    Guild,
    Message,
    State,
    Version,
)

TOKEN_SECONDS = 15 * 60.0
REPLY, THINK, DEFER_UPDATE, UPDATE, CHOICES, FORM = 4, 5, 6, 7, 8, 9

Handler = Callable[[Call], Answer]
ME = "/users/@me"
GUILD = "/guilds/{guild_id}"
ENTRY_POINT = 4
COMMANDS = "/applications/{application_id}/commands"
CHANNEL = "/channels/{channel_id}"
MESSAGES = f"{CHANNEL}/messages"
WEBHOOK = "/webhooks/{webhook_id}/{webhook_token}"
WEBHOOK_ORIGINAL = f"{WEBHOOK}/messages/@original"
WEBHOOK_MESSAGE = f"{WEBHOOK}/messages/{{message_id}}"
# Routes that are entered by an interaction's token instead of the bot's.
TOKENLESS = (CALLBACK, WEBHOOK, WEBHOOK_ORIGINAL, WEBHOOK_MESSAGE)


class Rest:
    """`gateway_url` is where `GET /gateway/bot` sends the bot."""

    def __init__(self, state: State, limiter: RateLimiter, *, shards: int) -> None:
        self.state = state
        self.limiter = limiter
        self.shards = shards
        self.gateway_url = ""
        self.identifies_left = 1000

    def routes(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", ME): self.get_me,
            ("POST", f"{ME}/channels"): self.open_direct_channel,
            ("GET", "/users/{user_id}"): self.get_user,
            ("GET", "/oauth2/applications/@me"): self.get_application,
            ("GET", "/gateway/bot"): self.get_gateway,
            ("GET", COMMANDS): self.get_commands,
            ("PUT", COMMANDS): self.put_commands,
            ("GET", f"{GUILD}/members/{{user_id}}"): self.get_member,
            ("GET", CHANNEL): self.get_channel,
            ("GET", MESSAGES): self.get_messages,
            ("POST", MESSAGES): self.post_message,
            ("POST", CALLBACK): self.call_back,
            ("POST", WEBHOOK): self.follow_up,
            ("GET", WEBHOOK_ORIGINAL): self.get_by_token,
            ("PATCH", WEBHOOK_ORIGINAL): self.patch_by_token,
            ("GET", WEBHOOK_MESSAGE): self.get_by_token,
            ("PATCH", WEBHOOK_MESSAGE): self.patch_by_token,
        }

    def authorize(self, call: Call) -> None:
        """Raises Refusal (401) for any token but the bot's."""
        if call.route in TOKENLESS:
            return
        if self.state.revoked or call.authorization != f"Bot {self.state.token}":
            raise refusal(401, 0, "401: Unauthorized")

    # The bot itself

    def get_me(self, call: Call) -> Answer:
        return Answer(body=payloads.own_user(self.state.bot))

    def get_user(self, call: Call) -> Answer:
        user = self.state.users.get(call.id("user_id"))
        if user is None:
            raise refusal(404, 10013, "Unknown User")
        return Answer(body=payloads.user(user))

    def get_application(self, call: Call) -> Answer:
        return Answer(body=payloads.application(self.state))

    def get_gateway(self, call: Call) -> Answer:
        limit = {
            "total": 1000,
            "remaining": self.identifies_left,
            "reset_after": 86_400_000,
            "max_concurrency": 1,
        }
        body = {"url": self.gateway_url, "shards": self.shards, "session_start_limit": limit}
        return Answer(body=body)

    # Commands

    def get_commands(self, call: Call) -> Answer:
        self._own_application(call)
        return Answer(body=self.state.commands)

    def put_commands(self, call: Call) -> Answer:
        self._own_application(call)
        known = {command["name"]: command["id"] for command in self.state.commands}
        given = {str(command.get("id")) for command in call.body or []}
        for command in self.state.commands:
            if command["type"] == ENTRY_POINT and command["id"] not in given:
                raise refusal(400, 50240, "You cannot remove this app's Entry Point command")
        self.state.commands = [
            self._register(command, known.get(command["name"])) for command in call.body or []
        ]
        self.state.command_puts += 1
        return Answer(body=self.state.commands)

    def _own_application(self, call: Call) -> None:
        if call.id("application_id") != self.state.application_id:
            raise refusal(403, 20012, "You are not authorized to perform this action")

    def _register(self, command: dict[str, Any], known_id: str | None) -> dict[str, Any]:
        permissions = command.get("default_member_permissions")
        return {
            "type": 1,
            "description": "",
            "nsfw": False,
            **{name: value for name, value in command.items() if value is not None},
            "id": known_id or str(self.state.new_id()),
            "application_id": str(self.state.application_id),
            "version": str(self.state.new_id()),
            "default_member_permissions": None if permissions is None else str(permissions),
        }

    # Guilds and channels

    def get_member(self, call: Call) -> Answer:
        guild = self._guild(call)
        if call.id("user_id") == self.state.bot.id:
            return Answer(body=payloads.bot_member(guild, self.state.bot))
        member = guild.members.get(call.id("user_id"))
        if member is None:
            raise refusal(404, 10007, "Unknown Member")
        return Answer(body=payloads.member(member))

    def _guild(self, call: Call) -> Guild:
        guild = self.state.guilds.get(call.id("guild_id"))
        if guild is None:
            raise refusal(404, 10004, "Unknown Guild")
        if not guild.joined:
            raise refusal(403, 50001, "Missing Access")
        return guild

    def open_direct_channel(self, call: Call) -> Answer:
        user = self.state.users.get(int(call.body["recipient_id"]))
        if user is None or user.bot:
            raise refusal(400, 50033, "Invalid Recipient(s)")
        channel = self.state.direct_channel(user)
        return Answer(body=payloads.channel(channel, self.state.bot))

    def get_channel(self, call: Call) -> Answer:
        return Answer(body=payloads.channel(self._channel(call), self.state.bot))

    def _channel(self, call: Call) -> Channel:
        channel = self.state.channels.get(call.id("channel_id"))
        if channel is None:
            raise refusal(404, 10003, "Unknown Channel")
        if channel.guild is not None and not (channel.guild.joined and channel.visible):
            raise refusal(403, 50001, "Missing Access")
        return channel

    # Messages of a channel

    def get_messages(self, call: Call) -> Answer:
        channel = self._channel(call)
        bounds = {n: int(call.query[n]) for n in ("before", "after", "around") if n in call.query}
        limit = int(call.query.get("limit", 50))
        if not 1 <= limit <= 100:
            raise rules.invalid({"limit": {"_errors": [{"code": "NUMBER_TYPE_RANGE"}]}})
        if not channel.allows(Permission.READ_MESSAGE_HISTORY):
            return Answer(body=[])
        found = channel.history(limit=limit, **bounds)
        return Answer(body=[payloads.message(m, self.state) for m in found])

    def post_message(self, call: Call) -> Answer:
        channel = self._channel(call)
        body = call.body or {}
        self._check_may_send(channel, body, call)
        self._check_uploads(call, channel)
        flags = int(body.get("flags") or 0) & ~(EPHEMERAL | LOADING)
        self._check_message(body, flags, call)
        nonce = None if body.get("nonce") is None else str(body["nonce"])
        if body.get("enforce_nonce") and nonce:
            earlier = self.state.find_nonce(self.state.bot, nonce)
            if earlier is not None:
                return Answer(body=payloads.message(earlier, self.state))
        message = self._make(call, channel, flags, nonce=nonce)
        channel.archived = False  # a message opens a thread again
        return Answer(body=payloads.message(message, self.state))

    def _check_may_send(self, channel: Channel, body: dict[str, Any], call: Call) -> None:
        if channel.type == DM_CHANNEL:
            if channel.recipient is None or not channel.recipient.dms_open:
                raise refusal(403, 50007, "Cannot send messages to this user")
            return
        if channel.type in OF_POSTS:
            raise refusal(400, 40058, "Cannot send a message in a forum channel")
        if channel.locked and not channel.allows(Permission.MANAGE_THREADS):
            raise refusal(403, 160005, "Thread is locked")
        needed = int(
            Permission.SEND_MESSAGES_IN_THREADS
            if channel.type in THREADS
            else Permission.SEND_MESSAGES
        )
        if body.get("embeds"):
            needed |= Permission.EMBED_LINKS
        if call.uploads:
            needed |= Permission.ATTACH_FILES
        if not channel.allows(needed):
            raise refusal(403, 50013, "Missing Permissions")

    def _check_uploads(self, call: Call, channel: Channel) -> None:
        """The limit is for each file: https://docs.discord.com/developers/reference#uploading-files."""
        limit = 10 * MIB if channel.guild is None else channel.guild.upload_limit
        if any(len(upload.content) > limit for upload in call.uploads):
            raise refusal(413, 40005, "Request entity too large")

    def _check_message(self, body: dict[str, Any], flags: int, call: Call) -> None:
        has_files = bool(call.uploads or body.get("attachments"))
        v2 = bool(flags & COMPONENTS_V2)
        rules.check_message(body, components_v2=v2, has_files=has_files)

    # Making and changing

    def _make(
        self,
        call: Call,
        channel: Channel,
        flags: int,
        *,
        nonce: str | None = None,
        interaction: Interaction | None = None,
        body: dict[str, Any] | None = None,
    ) -> Message:
        body = body if body is not None else call.body or {}
        content, components = body.get("content") or "", body.get("components") or []
        message_id = self.state.new_id()
        version = Version(
            message_id=message_id,
            at=self.state.clock.wall(),
            content=content,
            embeds=body.get("embeds") or [],
            components=rules.completed(components),
            attachments=self._new_attachments(call, body),
            loading=bool(flags & LOADING),
        )
        message = Message(
            id=message_id,
            channel=channel,
            author=self.state.bot,
            flags=flags,
            versions=[version],
            nonce=nonce,
            pings=rules.pings(content, components, body.get("allowed_mentions"), channel),
            interaction=interaction,
        )
        self.state.add_message(message)
        return message

    def _new_attachments(self, call: Call, body: dict[str, Any]) -> tuple[Attachment, ...]:
        listed = {int(a["id"]): a for a in body.get("attachments") or []}
        made = []
        for upload in sorted(call.uploads, key=lambda u: u.index):
            about = listed.get(upload.index, {})
            name = about.get("filename") or upload.filename
            made.append(self.state.new_attachment(name, about.get("description"), upload.content))
        return tuple(made)

    def _edit(self, message: Message, call: Call, *, is_callback: bool = False) -> Answer:
        """What the body leaves out stays. The first edit of a loading message ends its loading.

        Of edits that follow each other there may be few: neither that one, which is the message's
        beginning, nor a callback that updates its message counts, since callbacks have no limits.
        """
        body = call.body or {}
        if not (is_callback or message.loading):
            self.limiter.count_edit(message.id)
        self._check_uploads(call, message.channel)
        before = message.now
        flags = message.flags | (int(body.get("flags") or 0) & COMPONENTS_V2)
        edited: dict[str, Any] = {"content": before.content, "embeds": before.embeds}
        edited |= {"components": before.components, "attachments": before.attachments} | body
        self._check_message(edited, flags, call)
        kept = before.attachments
        if body.get("attachments") is not None:
            listed = {int(a["id"]) for a in body["attachments"]}
            kept = tuple(a for a in kept if a.id in listed)
        was_loading = message.loading
        message.flags = flags & ~LOADING
        content, components = edited["content"] or "", edited["components"] or []
        if was_loading:  # filling a "thinking" message notifies as a new one does
            allowed = body.get("allowed_mentions")
            message.pings = rules.pings(content, components, allowed, message.channel)
        message.versions.append(
            Version(
                message_id=message.id,
                at=self.state.clock.wall(),
                content=content,
                embeds=edited["embeds"] or [],
                components=rules.completed(components),
                attachments=kept + self._new_attachments(call, body),
                loading=False,
            )
        )
        self.state.notify(message)
        return Answer(body=payloads.message(message, self.state))

    # Interactions

    def call_back(self, call: Call) -> Answer:
        """https://docs.discord.com/developers/interactions/receiving-and-responding"""
        interaction = self.state.interactions.get(call.id("interaction_id"))
        if interaction is None or interaction.token != call.params["interaction_token"]:
            raise refusal(404, 10062, "Unknown interaction")
        if interaction.callback is not None:
            raise refusal(400, 40060, "Interaction has already been acknowledged.")
        if call.arrived - interaction.dispatched > self.limiter.limits.acknowledgement:
            raise refusal(404, 10062, "Unknown interaction")
        kind = self._callback_kind(call, interaction)
        made = self._respond(kind, call, interaction)
        interaction.callback = kind
        interaction.acknowledged_in = call.arrived - interaction.dispatched
        interaction.changed.notify()
        self.state.changed.notify()
        if call.query.get("with_response", "").lower() not in {"1", "true"}:
            return Answer(204)
        answer = payloads.callback(interaction.id, kind, interaction.type, made, self.state)
        return Answer(body=answer)

    def _callback_kind(self, call: Call, interaction: Interaction) -> int:
        kind = (call.body or {}).get("type")
        allowed = {REPLY, THINK}
        if interaction.type == AUTOCOMPLETE:
            allowed = {CHOICES}
        elif interaction.type == MODAL:
            allowed |= {DEFER_UPDATE, UPDATE} if interaction.message else set()
        else:
            allowed |= {FORM}
            allowed |= {DEFER_UPDATE, UPDATE} if interaction.type == COMPONENT else set()
        if kind not in allowed:
            text = f"Value of field must be one of {tuple(sorted(allowed))}."
            error = {"code": "BASE_TYPE_CHOICES", "message": text}
            raise rules.invalid({"type": {"_errors": [error]}})
        return int(kind)

    def _respond(self, kind: int, call: Call, interaction: Interaction) -> Message | None:
        data = call.body.get("data") or {}
        if kind == CHOICES:
            rules.check_choices(data, interaction.focused_type)
            interaction.choices = data.get("choices") or []
            return None
        if kind == FORM:
            rules.check_modal(data)
            interaction.modal = {**data, "components": rules.completed(data["components"])}
            return None
        if kind in {DEFER_UPDATE, UPDATE}:
            interaction.original = interaction.message
            if kind == UPDATE and interaction.message is not None:
                self._edit(interaction.message, replace(call, body=data), is_callback=True)
            return interaction.message
        interaction.original = self._reply(kind, call, interaction, data)
        return interaction.original

    def _reply(
        self, kind: int, call: Call, interaction: Interaction, data: dict[str, Any]
    ) -> Message:
        flags = int(data.get("flags") or 0) & (EPHEMERAL | COMPONENTS_V2)
        if kind == THINK:
            flags, data = flags | LOADING, {}
        else:
            self._check_uploads(call, interaction.channel)
            self._check_message(data, flags, call)
        return self._make(call, interaction.channel, flags, interaction=interaction, body=data)

    def follow_up(self, call: Call) -> Answer:
        interaction = self._by_token(call)
        original = interaction.original
        if original is not None and original.loading and not original.deleted:
            # Discord lets the first follow-up of a thinking interaction fill its message.
            return self._edit(original, call)
        self._check_uploads(call, interaction.channel)
        body = call.body or {}
        flags = int(body.get("flags") or 0) & (EPHEMERAL | COMPONENTS_V2)
        self._check_message(body, flags, call)
        message = self._make(call, interaction.channel, flags, interaction=interaction)
        return Answer(body=payloads.message(message, self.state))

    def get_by_token(self, call: Call) -> Answer:
        return Answer(body=payloads.message(self._message_by_token(call), self.state))

    def patch_by_token(self, call: Call) -> Answer:
        return self._edit(self._message_by_token(call), call)

    def _by_token(self, call: Call) -> Interaction:
        interaction = self.state.by_token.get(call.params["webhook_token"])
        unknown = interaction is None or call.id("webhook_id") != self.state.application_id
        if interaction is None or unknown or interaction.callback is None:
            raise refusal(404, 10015, "Unknown Webhook")
        if call.arrived - interaction.dispatched > TOKEN_SECONDS:
            raise refusal(401, 50027, "Invalid Webhook Token")
        return interaction

    def _message_by_token(self, call: Call) -> Message:
        interaction = self._by_token(call)
        message = interaction.original
        if "message_id" in call.params:
            wanted = call.id("message_id")
            reachable = [*interaction.messages, *([message] if message else [])]
            message = next((m for m in reachable if m.id == wanted), None)
        if message is None or message.deleted:
            raise refusal(404, 10008, "Unknown Message")
        return message
