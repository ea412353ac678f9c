"""The buttons, menus and forms of the panel: what each does, and how the page is shown again.

What a `custom_id` says is never trusted: on each press and with each form it is checked that the
person manages the server, and only that server's settings are touched.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import discord
from discord import ui
from discord.ext import commands

from cogs.client.answers import acknowledged
from cogs.client.components import ID, Persistent
from cogs.client.errors import answer, check_private, text_file
from cogs.client.people import data_of, manager_of
from cogs.client.quota import quota_of
from cogs.settings.channels import obstacle
from cogs.settings.forms import FORMS, Current, Form, Sent, Typed, member_by_id
from cogs.settings.member_view import member_view
from cogs.settings.panel import (
    LISTED,
    MEMBER,
    MEMBER_MENU,
    PAGE,
    ROWS_SHOWN,
    Layout,
    PanelData,
    PanelPage,
    act_id,
    form_id,
    nearest,
    panel,
    turn_id,
)
from services.errors import NotPossible
from services.settings import kinds
from services.settings.catalogue import BY_KEY, CATALOGUE, Topic
from services.settings.settings import Member

FORM_ID = re.compile(rf"settings:form:(?P<form>[a-z_]+):(?P<subject_id>{ID}):{PAGE}")
SHOWN_AT_ONCE_WITHIN = 1.0
"""Seconds in which a page is read before its button is acknowledged; Discord waits three."""
EXPIRED = "This button has expired. Run `/quota show` again."
ON = {kinds.Toggle: True, kinds.Reason: ""}
"""What a button turns a setting on with."""
ACTS = [
    *(("on", setting.key) for setting in CATALOGUE if type(setting.kind) in ON),
    *(("reset", setting.key) for setting in CATALOGUE),
]
"""What buttons do at once. Each says what is to be, so that a second press changes nothing."""


# --- what is shown --------------------------------------------------------------------------------


async def view_of(interaction: discord.Interaction[Any], page: PanelPage) -> Layout:
    """Return a page of the settings, or the explanation of one member's credits, as of now.

    Raises:
        NotPermitted: the person lacks Manage Server.
    """
    by = manager_of(interaction)
    if page.name == MEMBER:
        return await explained(interaction, await member_by_id(interaction, page.number))
    known, guild, topic = quota_of(interaction), interaction.guild, Topic(page.name)
    settings, now = await known.server_settings.read(by.server_id), known.clock()
    used = count = 0
    rows: Sequence[tuple[int, Any]] = ()
    if topic is Topic.CREDITS:
        used = await known.server_budget.used(by.server_id, settings.timeline.period(now))
    elif topic is Topic.LIMITS:
        count = await known.server_settings.blocked(by.server_id)
    elif topic in LISTED:
        found = await known.server_settings.of_setting(by.server_id, LISTED[topic])
        if topic is Topic.ROLES:  # the highest first, and unlimited before all
            found.sort(key=lambda row: (row[1] is not None, -(row[1] or 0)))
        count = len(found)
        first = (nearest(page, count)[0].number - 1) * ROWS_SHOWN
        rows = found[first : first + ROWS_SHOWN]
    roles = None if guild is None or guild.unavailable else guild.roles
    data = PanelData(
        *(settings, now, used, rows, count),
        living=None if roles is None else frozenset(role.id for role in roles),
        obstacles={
            setting: why
            for setting in CATALOGUE
            if isinstance(kind := setting.kind, kinds.Channel)
            and (why := obstacle(guild, settings[setting], songs=kind.takes_songs))
        },
    )
    return panel(data, page)


async def explained(interaction: discord.Interaction[Any], member: Member) -> Layout:
    """Explain one member's credits."""
    known = quota_of(interaction)
    return member_view(await known.credits.statement(member, entries=0), at=known.clock())


async def _show(interaction: discord.Interaction[Any], page: PanelPage) -> None:
    """Show a page where it was requested, once the interaction is acknowledged."""
    view = await view_of(interaction, page)
    if interaction.message is None:
        await interaction.followup.send(view=view, ephemeral=True)
    else:
        await interaction.edit_original_response(view=view)


# --- buttons and menus ----------------------------------------------------------------------------


class PageButton(
    Persistent, ui.DynamicItem[ui.Button[Any]], template=rf"settings:(?:tab|turn):{PAGE}"
):
    """Opens a page."""

    def __init__(self, page: str, number: int) -> None:
        self.page = PanelPage(page, number)
        super().__init__(ui.Button(custom_id=turn_id(self.page)))

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        reading = asyncio.ensure_future(view_of(interaction, self.page))
        try:
            await asyncio.wait([reading], timeout=SHOWN_AT_ONCE_WITHIN)
            if reading.done():
                # By the callback: unlike edits, it has no rate limit.
                await interaction.response.edit_message(view=reading.result())
            else:
                await interaction.response.defer()
                await interaction.edit_original_response(view=await reading)
        finally:
            reading.cancel()


class ActButton(
    Persistent,
    ui.DynamicItem[ui.Button[Any]],
    template=rf"settings:act:(?P<act>on|reset):(?P<key>[a-z_]+):(?P<subject_id>{ID}):{PAGE}",
):
    """Changes a setting at once."""

    def __init__(self, act: str, key: str, subject_id: int, page: str, number: int) -> None:
        self.act = act
        self.key = key
        self.subject_id = subject_id
        self.page = PanelPage(page, number)
        super().__init__(ui.Button(custom_id=act_id(act, key, self.page, subject_id)))

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        by = manager_of(interaction)
        if (self.act, self.key) not in ACTS:
            raise NotPossible(EXPIRED)
        await interaction.response.defer()
        setting, server_settings = BY_KEY[self.key], quota_of(interaction).server_settings
        if self.act == "on":
            await server_settings.set(by, setting, ON[type(setting.kind)])
        else:
            await server_settings.reset(by, setting, self.subject_id)
        await _show(interaction, self.page)


class FormButton(Persistent, ui.DynamicItem[ui.Button[Any]], template=FORM_ID):
    """Opens a form, filled in with the values in force."""

    def __init__(self, form: str, subject_id: int, page: str, number: int) -> None:
        self.form = form
        self.subject_id = subject_id
        custom_id = form_id(form, PanelPage(page, number), subject_id)
        super().__init__(ui.Button(custom_id=custom_id))

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        by, known = manager_of(interaction), quota_of(interaction)
        form = _form(self.form)
        # Of a role's id there are no settings about a member.
        settings = await known.server_settings.read(by.server_id, self.subject_id)
        current = Current(settings, known.clock(), self.subject_id, interaction.guild)
        await interaction.response.send_modal(form.open(str(self.item.custom_id), current))


class MemberMenu(Persistent, ui.DynamicItem[ui.UserSelect[Any]], template=MEMBER_MENU):
    """Explains what one member has."""

    def __init__(self) -> None:
        super().__init__(ui.UserSelect(custom_id=MEMBER_MENU))

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        manager_of(interaction)
        data = data_of(interaction)
        chosen = Typed({"member": data.get("values")}, data.get("resolved") or {})
        member_id = chosen.member_id("member")
        await interaction.response.defer()
        await _show(interaction, PanelPage(MEMBER, member_id))


# --- forms ----------------------------------------------------------------------------------------


class PanelForms(commands.Cog):
    """Handles forms that were sent: no form needs to be in memory."""

    @commands.Cog.listener("on_interaction")
    async def settings_form_sent(self, interaction: discord.Interaction) -> None:
        """Apply a form of the settings and show the page that it was opened from."""
        if interaction.type is not discord.InteractionType.modal_submit:
            return
        match = FORM_ID.fullmatch(str(data_of(interaction).get("custom_id", "")))
        if match is None:
            return
        typed, name = Typed.of(data_of(interaction)), match["form"]
        try:
            check_private(interaction)
            by, form = manager_of(interaction), _form(name)
            if interaction.message is None:
                await acknowledged(interaction)
            else:
                await interaction.response.defer()
            subject_id = int(match["subject_id"])
            await form.apply(Sent(interaction, quota_of(interaction), by, subject_id, typed))
            await _show(interaction, PanelPage(match["page"], int(match["number"])))
        except Exception as error:  # noqa: BLE001 - the one handler answers and logs it
            # What was long to type is never lost: it comes back with the refusal.
            field = FORMS[name].returned if name in FORMS else None
            text = typed.text(field) if field else ""
            file = text_file(text, f"{field}.txt") if text else None
            await answer(interaction, error, file=file)


def _form(name: str) -> Form:
    if name not in FORMS:
        raise NotPossible(EXPIRED)
    return FORMS[name]


PERSISTENT = (PageButton, ActButton, FormButton, MemberMenu)
"""What the bot has to know of to answer presses on messages from before a restart."""
