"""What members do: commands, completions, buttons, forms; and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import payloads
from .permissions import Permission
from .rules import BUTTON, LABEL, ROW, TEXT_INPUT, text_limit, walk
from .signals import PATIENCE, Signal
from .state import Channel, Member, Message, Role, State, User, Version

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER = range(1, 11)


@dataclass(eq=False, slots=True)
class Interaction:
    """One interaction, from its dispatch to all that was made of it.

    `dispatched` is `Clock.now()`. `acknowledged_in` is seconds from there to the arrival of the
    accepted callback, `callback` its type; `modal` and `choices` are what it carried.
    `delivered`: whether a gateway session took the event (at once, or to be replayed).
    """

    id: int
    token: str
    type: int
    member: Member
    channel: Channel
    payload: dict[str, Any]
    dispatched: float
    message: Message | None = None
    focused_type: int = STRING
    delivered: bool = False
    acknowledged_in: float | None = None
    callback: int | None = None
    modal: dict[str, Any] | None = None
    choices: list[dict[str, Any]] | None = None
    original: Message | None = None
    messages: list[Message] = field(default_factory=list)
    changed: Signal = field(default_factory=Signal)

    @property
    def versions(self) -> list[Version]:
        """All its messages and their edits, in the order in which they were made."""
        every = [version for message in self.messages for version in message.versions]
        return sorted(every, key=lambda version: version.at)

    async def acknowledged(self, within: float = PATIENCE) -> "Interaction":
        """Raises TimeoutError after `within` seconds."""
        await self.changed.until(
            lambda: self.callback is not None, within, lambda: f"no callback for {self}"
        )
        return self

    async def wait_message(
        self, predicate: Callable[[Message], bool] = bool, within: float = PATIENCE
    ) -> Message:
        """The first message of this interaction that satisfies `predicate`, now or later.

        Raises TimeoutError after `within` seconds, with the messages that there are.
        """

        def find() -> Message | None:
            return next((m for m in self.messages if not m.deleted and predicate(m)), None)

        return await self.changed.until(
            find, within, lambda: f"among {[m.now for m in self.messages]}"
        )

    def __repr__(self) -> str:
        return f"<Interaction {self.id} type={self.type} by {self.member.user.name}>"


def new_interaction(
    state: State,
    kind: int,
    member: Member,
    channel: Channel,
    data: dict[str, Any],
    message: Message | None = None,
) -> Interaction:
    """Raises PermissionError where the member could not do it: not in this guild or channel."""
    if channel.guild is not member.guild:
        raise PermissionError(f"{member.user.name} is not in the server of #{channel.name}")
    interaction_id = state.new_id()
    token = state.new_token(interaction_id)
    guild = member.guild
    payload: dict[str, Any] = {
        "id": str(interaction_id),
        "application_id": str(state.application_id),
        "type": kind,
        "data": data,
        "guild_id": str(guild.id),
        "guild": {"id": str(guild.id), "locale": payloads.LOCALE, "features": []},
        "channel_id": str(channel.id),
        "channel": payloads.interacting_channel(channel, member, state.bot),
        "member": payloads.interacting_member(member),
        "token": token,
        "version": 1,
        "app_permissions": str(int(channel.permissions)),
        "locale": payloads.LOCALE,
        "guild_locale": payloads.LOCALE,
        "entitlements": [],
        "authorizing_integration_owners": {"0": str(guild.id)},
        "context": 0,
        "attachment_size_limit": guild.upload_limit,
    }
    if message is not None:
        payload["message"] = payloads.message(message, state)
    interaction = Interaction(
        interaction_id, token, kind, member, channel, payload, state.clock.now(), message
    )
    state.add_interaction(interaction)
    return interaction


def slash(
    state: State, member: Member, channel: Channel, command: str, options: Mapping[str, object]
) -> Interaction:
    """`command` is what is typed after the slash: "song", "quota member set".

    Raises LookupError for a command or option that is not registered, ValueError for a value
    that Discord's own form would not let through, PermissionError where it is not offered.
    """
    registered, leaf, path = find_command(state, command)
    check_offered(registered, member)
    missing = [o["name"] for o in leaf_options(leaf) if o.get("required")]
    if absent := [name for name in missing if name not in options]:
        raise ValueError(f"/{command} needs {absent}")
    resolved: dict[str, dict[str, Any]] = {}
    given = [
        option_value(find_option(leaf, name), value, resolved) for name, value in options.items()
    ]
    data = _command_data(registered, path, given)
    if resolved:
        data["resolved"] = resolved
    return new_interaction(state, COMMAND, member, channel, data)


def autocomplete(
    state: State,
    member: Member,
    channel: Channel,
    command: str,
    focused: str,
    typed: str,
    options: Mapping[str, object],
) -> Interaction:
    """Raises LookupError where the command or the option is not there or does not complete."""
    registered, leaf, path = find_command(state, command)
    check_offered(registered, member)
    option = find_option(leaf, focused)
    if not option.get("autocomplete"):
        raise LookupError(f"{focused} of /{command} does not complete")
    given = [option_value(find_option(leaf, name), v, {}) for name, v in options.items()]
    given.append({"name": focused, "type": option["type"], "value": typed, "focused": True})
    data = _command_data(registered, path, given)
    interaction = new_interaction(state, AUTOCOMPLETE, member, channel, data)
    interaction.focused_type = option["type"]
    return interaction


def find_command(state: State, command: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """(The registered command, the part of it that is called, the names on the way to it.)"""
    name, *path = command.split()
    registered = next((c for c in state.commands if c["name"] == name), None)
    if registered is None:
        raise LookupError(f"/{name} is not registered: {[c['name'] for c in state.commands]}")
    leaf = registered
    for step in path:
        leaf = find_option(leaf, step)
    if any(o["type"] in {SUBCOMMAND, GROUP} for o in leaf.get("options") or []):
        raise LookupError(f"/{command} has subcommands and can't be called itself")
    return registered, leaf, path


def check_offered(registered: dict[str, Any], member: Member) -> None:
    needed = int(registered.get("default_member_permissions") or 0)
    held = member.permissions
    if not held & Permission.ADMINISTRATOR and held & needed != needed:
        raise PermissionError(f"/{registered['name']} is not offered to {member.user.name}")


def leaf_options(leaf: dict[str, Any]) -> list[dict[str, Any]]:
    return [o for o in leaf.get("options") or [] if o["type"] not in {SUBCOMMAND, GROUP}]


def find_option(leaf: dict[str, Any], name: str) -> dict[str, Any]:
    for option in leaf.get("options") or []:
        if option["name"] == name:
            found: dict[str, Any] = option
            return found
    raise LookupError(f"{leaf['name']} has no option {name}")


def _command_data(
    registered: dict[str, Any], path: list[str], given: list[dict[str, Any]]
) -> dict[str, Any]:
    kinds = {1: [SUBCOMMAND], 2: [GROUP, SUBCOMMAND]}.get(len(path), [])
    for name, kind in zip(reversed(path), reversed(kinds), strict=True):
        given = [{"name": name, "type": kind, "options": given}]
    return {"id": registered["id"], "name": registered["name"], "type": 1, "options": given}


def option_value(
    option: dict[str, Any], value: object, resolved: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Raises ValueError for what Discord's form does not let through."""
    kind = option["type"]
    sent = _send_value(kind, value, resolved)
    if sent is None or not _within(option, sent):
        raise ValueError(f"Discord would not take {value!r} for {option['name']}")
    return {"name": option["name"], "type": kind, "value": sent}


def _send_value(kind: int, value: object, resolved: dict[str, dict[str, Any]]) -> object:
    match kind, value:
        case 3, str():
            return value
        case 5, bool():
            return value
        case ((4 | 10), bool()):
            return None
        case 4, int():
            return value
        case 10, (int() | float()):
            return value
        case ((6 | 9), Member()):
            resolved.setdefault("users", {})[str(value.id)] = payloads.user(value.user)
            within = payloads.interacting_member(value)
            del within["user"]
            resolved.setdefault("members", {})[str(value.id)] = within
            return str(value.id)
        case 6, User():
            resolved.setdefault("users", {})[str(value.id)] = payloads.user(value)
            return str(value.id)
        case 7, Channel():
            resolved.setdefault("channels", {})[str(value.id)] = {
                "id": str(value.id),
                "name": value.name,
                "type": value.type,
                "permissions": str(int(value.permissions)),
                "parent_id": None,
            }
            return str(value.id)
        case ((8 | 9), Role()):
            resolved.setdefault("roles", {})[str(value.id)] = payloads.role(value)
            return str(value.id)
    return None


def _within(option: dict[str, Any], value: Any) -> bool:
    if choices := option.get("choices"):
        return value in [choice["value"] for choice in choices]
    if isinstance(value, str) and option["type"] == STRING:
        least, most = option.get("min_length") or 0, option.get("max_length") or 6000
        return bool(max(least, 1) <= len(value) <= most)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        least, most = option.get("min_value"), option.get("max_value")
        return (least is None or value >= least) and (most is None or value <= most)
    return True


def press(
    state: State, member: Member, message: Message, custom_id: str, *, forged: bool
) -> Interaction:
    """Raises LookupError where there is no such button, or it is disabled, unless `forged`."""
    button = {"id": 1} if forged else _find_button(message, member, custom_id)
    data = {"custom_id": custom_id, "component_type": BUTTON, "id": button["id"]}
    return new_interaction(state, COMPONENT, member, message.channel, data, message)


def _find_button(message: Message, member: Member, custom_id: str) -> dict[str, Any]:
    if message.deleted:
        raise LookupError("the message is gone")
    seen_by = None if message.interaction is None else message.interaction.member
    if message.ephemeral and seen_by is not member:
        raise LookupError(f"{member.user.name} does not see this message")
    buttons = [c for c in walk(message.components) if c.get("type") == BUTTON]
    for button in buttons:
        if button.get("custom_id") == custom_id and not button.get("disabled"):
            return button
    raise LookupError(f"no {custom_id} that can be used among {buttons}")


def submit(
    state: State, member: Member, opened: Interaction, values: Mapping[str, str]
) -> Interaction:
    """Send off the form that `opened` was answered with; fields not in `values` stay as they are.

    Raises LookupError where no form was opened or it lacks a field, ValueError for a text that
    the form would not send off.
    """
    if opened.modal is None:
        raise LookupError(f"{opened} opened no form")
    modal = opened.modal
    fields = {c["custom_id"] for c in walk(modal["components"]) if c["type"] == TEXT_INPUT}
    if unknown := values.keys() - fields:
        raise LookupError(f"the form has no {unknown}, only {fields}")
    data = {
        "custom_id": modal["custom_id"],
        "components": [_submitted(c, values) for c in modal["components"]],
    }
    return new_interaction(state, MODAL, member, opened.channel, data, opened.message)


def _submitted(component: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    kind = component["type"]
    sent: dict[str, Any] = {"type": kind, "id": component["id"]}
    if kind == ROW:
        return sent | {"components": [_submitted(c, values) for c in component["components"]]}
    if kind == LABEL:
        return sent | {"component": _submitted(component["component"], values)}
    if kind != TEXT_INPUT:
        return sent
    text = values.get(component["custom_id"], component.get("value") or "")
    least = component.get("min_length") or (1 if component.get("required", True) else 0)
    if not (least <= len(text) <= text_limit(component)) and (text or least):
        raise ValueError(f"the form would not send {len(text)} characters for {component}")
    return sent | {"custom_id": component["custom_id"], "value": text}
