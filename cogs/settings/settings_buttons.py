"""The buttons, menus and forms of the settings: what each does, and how the page is shown anew.

What a `custom_id` says is never believed: on each press and with each form it is checked whether
the person manages the server, and only that server's settings are touched.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Self

import discord
from discord import ui

from cogs.client.answers import acknowledged
from cogs.client.client import Services
from cogs.client.errors import answer, check_alone, guarded, text_file
from cogs.client.people import data_of, manager_of, services
from cogs.settings.forms import Form, Now, Sent, Typed
from cogs.settings.log_channel import obstacle
from cogs.settings.member_view import member_view
from cogs.settings.people_forms import PEOPLE_FORMS, member_by_id
from cogs.settings.places import ID, PLACE, Page, Place, look_up_id
from cogs.settings.settings_forms import SETTINGS_FORMS
from cogs.settings.settings_view import (
    RULES_SHOWN,
    Layout,
    Settings,
    first_of,
    nearest,
    settings_view,
)
from services.errors import InvalidRequest, NotPossible
from services.settings.server_settings import Manager
from services.settings.settings import Member, Name, block_of, override_of

FORMS = SETTINGS_FORMS | PEOPLE_FORMS
FORM_ID = re.compile(rf"settings:form:(?P<form>[a-z]+):(?P<subject>{ID}):{PLACE}")

Act = Callable[[Services, Manager, int], Awaitable[object]]
ACTS: dict[str, Act] = {
    "pause": lambda known, by, _: known.server_settings.pause(by),
    "resume": lambda known, by, _: known.server_settings.resume(by),
    "gifts": lambda known, by, _: known.server_settings.set_gifts(by, allowed=True),
    "no-gifts": lambda known, by, _: known.server_settings.set_gifts(by, allowed=False),
    "leaderboard": lambda known, by, _: known.server_settings.set_leaderboard(by, allowed=True),
    "no-leaderboard": lambda known, by, _: known.server_settings.set_leaderboard(by, allowed=False),
    "role": lambda known, by, role_id: known.server_settings.drop_role(by, role_id),
    "unblock": lambda known, by, member_id: known.server_settings.unblock(by, member_id),
}
"""What is done at once. Each says what is to be, so that a second press changes nothing."""


# --- what is shown --------------------------------------------------------------------------------


async def view_of(interaction: discord.Interaction[Any], place: Place) -> Layout:
    """A page of the settings, or the explanation of one member's credits, as things stand.

    Raises:
        NotPermitted: the person lacks Manage Server.
    """
    by = manager_of(interaction)
    if place.page is Page.MEMBER:
        return await explained(interaction, await member_by_id(interaction, place.number))
    return settings_view(await _settings(interaction, by.server_id, place), place)


async def explained(interaction: discord.Interaction[Any], member: Member) -> Layout:
    """One member's credits, explained."""
    known = services(interaction)
    return member_view(await known.credits.standing(member, entries=0), at=known.clock())


async def _settings(
    interaction: discord.Interaction[Any], server_id: int, place: Place
) -> Settings:
    known, page = services(interaction), place.page
    rules, now = await known.server_settings.rules(server_id), known.clock()
    used = count = 0
    members: list[tuple[int, Any]] = []
    blocked: list[tuple[int, Any]] = []
    if page is Page.CREDITS:
        used = await known.budget.used(server_id, rules.timeline.period(now))
    elif page is Page.MEMBERS:
        members, count = await _about(known, server_id, Name.MEMBER, place)
    elif page is Page.BLOCKED:
        blocked, count = await _about(known, server_id, Name.BLOCK, place)
    elif page is Page.LIMITS:
        count = await known.server_settings.blocked(server_id)
    guild = interaction.guild
    return Settings(
        rules=rules,
        defaults=known.defaults,
        at=now,
        used=used,
        members=[(member_id, override_of(value)) for member_id, value in members],
        blocked=[(member_id, block_of(value)) for member_id, value in blocked],
        count=count,
        living=None
        if guild is None or guild.unavailable
        else frozenset(role.id for role in guild.roles),
        log_obstacle=obstacle(guild, rules.log_channel_id),
    )


async def _about(
    known: Services, server_id: int, name: Name, place: Place
) -> tuple[list[tuple[int, Any]], int]:
    """The rules about members that a page shows, and how many there are in all."""
    count = await known.server_settings.count(server_id, name)
    here, _ = nearest(place, count)
    found = await known.server_settings.about(
        server_id, name, limit=RULES_SHOWN, offset=first_of(here)
    )
    return found, count


async def _show(interaction: discord.Interaction[Any], place: Place) -> None:
    """Show a page where it was asked for, once the interaction is acknowledged."""
    view = await view_of(interaction, place)
    if interaction.message is None:
        await interaction.followup.send(view=view, ephemeral=True)
    else:
        await interaction.edit_original_response(view=view)


# --- buttons and menus ----------------------------------------------------------------------------


class SettingsButton(ui.DynamicItem[ui.Button[Any]], template=rf"settings:(?:tab|turn):{PLACE}"):
    """Opens a page."""

    def __init__(self, button: ui.Button[Any], place: Place) -> None:
        self.place = place
        super().__init__(button)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Made anew for each press."""
        assert isinstance(item, ui.Button)  # noqa: S101 - discord.py compares the types
        return cls(item, Place.parse(match["page"], match["number"]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Pressed."""
        await guarded(interaction, self._open(interaction))

    async def _open(self, interaction: discord.Interaction[Any]) -> None:
        manager_of(interaction)
        await interaction.response.defer()
        await _show(interaction, self.place)


class ActButton(
    ui.DynamicItem[ui.Button[Any]],
    template=rf"settings:act:(?P<act>[a-z-]+):(?P<subject>{ID}):{PLACE}",
):
    """Changes a setting at once."""

    def __init__(self, button: ui.Button[Any], match: re.Match[str]) -> None:
        self.act = match["act"]
        self.subject_id = int(match["subject"])
        self.place = Place.parse(match["page"], match["number"])
        super().__init__(button)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Made anew for each press."""
        assert isinstance(item, ui.Button)  # noqa: S101 - discord.py compares the types
        return cls(item, match)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Pressed."""
        await guarded(interaction, self._act(interaction))

    async def _act(self, interaction: discord.Interaction[Any]) -> None:
        by = manager_of(interaction)
        act = _known(ACTS, self.act)
        await interaction.response.defer()
        await act(services(interaction), by, self.subject_id)
        await _show(interaction, self.place)


class FormButton(ui.DynamicItem[ui.Button[Any]], template=FORM_ID):
    """Opens a form, filled in with what stands."""

    def __init__(self, button: ui.Button[Any], match: re.Match[str]) -> None:
        self.form = match["form"]
        self.subject_id = int(match["subject"])
        super().__init__(button)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Made anew for each press."""
        assert isinstance(item, ui.Button)  # noqa: S101 - discord.py compares the types
        return cls(item, match)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Pressed."""
        await guarded(interaction, self._open(interaction))

    async def _open(self, interaction: discord.Interaction[Any]) -> None:
        by = manager_of(interaction)
        form, known = _known(FORMS, self.form), services(interaction)
        # Of a role's id there are no rules about a member.
        rules = await known.credits.rules(by.server_id, self.subject_id)
        now = Now(rules, known.defaults, known.clock(), self.subject_id, interaction.guild)
        await interaction.response.send_modal(form.open(str(self.item.custom_id), now))


class MemberMenu(ui.DynamicItem[ui.UserSelect[Any]], template=look_up_id()):
    """Explains what one member has."""

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Made anew for each choice."""
        assert isinstance(item, ui.UserSelect)  # noqa: S101 - discord.py compares the types
        return cls(item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Chosen."""
        await guarded(interaction, self._explain(interaction))

    async def _explain(self, interaction: discord.Interaction[Any]) -> None:
        manager_of(interaction)
        chosen = Typed(
            {"member": data_of(interaction).get("values")},
            data_of(interaction).get("resolved") or {},
        )
        member_id = next(iter(chosen.ids("member")), 0)
        if not member_id or chosen.is_bot(member_id):
            raise InvalidRequest("Bots make no songs: please choose a member.")
        await interaction.response.defer()
        await _show(interaction, Place(Page.MEMBER, member_id))


# --- forms ----------------------------------------------------------------------------------------


async def form_sent(interaction: discord.Interaction[Any], match: re.Match[str]) -> None:
    """A form came: do what it says and show the page that it was opened from."""
    form, typed = FORMS.get(match["form"]), Typed.of(data_of(interaction))
    try:
        await _apply(interaction, match, typed)
    except Exception as error:  # noqa: BLE001 - the one handler answers and logs it
        await answer(interaction, error, file=_kept(form, typed))


async def _apply(interaction: discord.Interaction[Any], match: re.Match[str], typed: Typed) -> None:
    check_alone(interaction)
    by, form = manager_of(interaction), _known(FORMS, match["form"])
    if interaction.message is None:
        await acknowledged(interaction)
    else:
        await interaction.response.defer()
    known = services(interaction)
    await form.apply(Sent(interaction, known, by, int(match["subject"]), typed))
    await _show(interaction, Place.parse(match["page"], match["number"]))


def _kept(form: Form | None, typed: Typed) -> discord.File | None:
    """What was long to type is never lost: it comes back with the sentence."""
    text = typed.text(form.keep) if form is not None and form.keep is not None else ""
    return text_file(text, f"{form.keep}.txt") if form and text else None


def _known(named: dict[str, Any], name: str) -> Any:  # noqa: ANN401
    """A form or an act by its name.

    Raises:
        NotPossible: there is none (any more).
    """
    if name not in named:
        raise NotPossible("That button is not in use any more: please open `/quota show` again.")
    return named[name]


PERSISTENT = (SettingsButton, ActButton, FormButton, MemberMenu)
"""What the bot has to know of to answer presses on messages from before a restart."""
