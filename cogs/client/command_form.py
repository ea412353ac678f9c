"""Whether a command came in the form in which it is registered.

Discord's clients keep the commands of an older version for a while, and discord.py hands on
whatever came with them: a text where there is a number now, an id where there was a member.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import discord
from discord import AppCommandOptionType, app_commands

_NESTED = (AppCommandOptionType.subcommand, AppCommandOptionType.subcommand_group)
_RESOLVED = {
    AppCommandOptionType.user: "users",
    AppCommandOptionType.role: "roles",
    AppCommandOptionType.channel: "channels",
}
"""Where Discord sends what an id stands for ("Resolved Data Structure")."""


def is_current(interaction: discord.Interaction[Any]) -> bool:
    """Whether the command exists, and takes the options that came, in their types, and no less.

    While somebody is typing, what is required may still be missing, and Discord does not yet send
    what an id stands for.
    """
    command = interaction.command
    if not isinstance(command, app_commands.Command):
        return False
    data = cast("Mapping[str, Any]", interaction.data or {})
    given = _options(data)
    taken = {parameter.display_name: parameter for parameter in command.parameters}
    if not all(_fits(option, taken.get(option["name"])) for option in given):
        return False
    if interaction.type is discord.InteractionType.autocomplete:
        return True
    resolved = data.get("resolved") or {}
    return all(
        _is_offered(option, taken[option["name"]]) and _is_resolved(option, resolved)
        for option in given
    ) and all(
        any(option["name"] == name for option in given)
        for name, parameter in taken.items()
        if parameter.required
    )


def _options(data: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Those of the command itself, however deep in its groups it is."""
    options: Sequence[Mapping[str, Any]] = data.get("options") or ()
    while options and options[0]["type"] in [kind.value for kind in _NESTED]:
        options = options[0].get("options") or ()
    return options


def _fits(option: Mapping[str, Any], parameter: app_commands.Parameter | None) -> bool:
    return parameter is not None and option["type"] == parameter.type.value


def _is_offered(option: Mapping[str, Any], parameter: app_commands.Parameter) -> bool:
    """Whether it is one of the choices, where there are some: another version had others."""
    offered = [choice.value for choice in parameter.choices]
    return not offered or option["value"] in offered


def _is_resolved(option: Mapping[str, Any], resolved: Mapping[str, Mapping[str, Any]]) -> bool:
    kind = _RESOLVED.get(AppCommandOptionType(option["type"]))
    return kind is None or str(option["value"]) in (resolved.get(kind) or {})
