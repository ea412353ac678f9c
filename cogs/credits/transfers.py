"""/quota grant, take and reset."""

import json
from typing import Any, Literal, get_args

import discord
from discord import app_commands, ui
from discord.app_commands import Range

from cogs.client.components import ID, Persistent, Row
from cogs.client.people import manager_of, member_of
from cogs.client.quota import (
    QuotaCommands,
    acknowledged_manager,
    check_no_bot,
    check_role,
    complete_moment,
    moment_of,
    quota_of,
)
from cogs.credits import texts
from db.records import Draft
from services.amounts import MAX_AMOUNT, MAX_REASON, check_reason
from services.credits.transfers import ResetPlan
from services.errors import InvalidRequest, NotPossible
from services.moments import LONGEST_TYPED

Resettable = Literal["granted credits", "settings", "everything"]


class GrantCommands(QuotaCommands):
    """The part of /quota that moves credits."""

    # --- /quota grant -----------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        amount="How many credits",
        reason="Why; whoever gets them sees it in /credits",
        member="Who gets them",
        role="Or: each member with this role gets them, once",
        expires="When they expire: 7d, 3 months, 2026-12-31 (never)",
        ends="For a role: until when its members may get them (30 days)",
    )
    @app_commands.autocomplete(expires=complete_moment, ends=complete_moment)
    async def grant(
        self,
        interaction: discord.Interaction,
        amount: Range[int, 1, MAX_AMOUNT],
        reason: Range[str, 1, MAX_REASON],
        member: discord.User | None = None,
        role: discord.Role | None = None,
        expires: Range[str, 1, LONGEST_TYPED] | None = None,
        ends: Range[str, 1, LONGEST_TYPED] | None = None,
    ) -> None:
        """Give credits to a member, or to each member with a role."""
        by = await acknowledged_manager(interaction)
        if member is not None and role is None:
            if ends is not None:
                raise InvalidRequest(texts.ENDS_IS_FOR_ROLES)
            expires_at = await moment_of(interaction, expires)
            check_no_bot(member)
            moved = await self.transfers.grant(
                member_of(interaction, member),
                grant_id=interaction.id,
                actor_id=by.actor_id,
                amount=amount,
                reason=reason,
                expires_at=expires_at,
            )
            answer = texts.granted(member.mention, moved, reason, expires_at)
        elif role is not None and member is None:
            check_role(role.guild, role.id, everyone=True)
            role_grant = await self.transfers.role_grant(
                by,
                role.id,
                role_grant_id=interaction.id,
                kind="grant",
                amount=amount,
                reason=reason,
                ends_at=await moment_of(interaction, ends),
                expires_at=await moment_of(interaction, expires),
            )
            answer = texts.role_granted(role_grant)
        else:
            raise InvalidRequest(texts.MEMBER_OR_ROLE)
        await interaction.followup.send(answer, ephemeral=True)

    # --- /quota take ------------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        amount="How many credits, at most; what is spent or held stays",
        reason="Why; whoever loses them sees it in /credits",
        member="Who loses them",
        role="Or: each member with this role loses them, once",
    )
    async def take(
        self,
        interaction: discord.Interaction,
        amount: Range[int, 1, MAX_AMOUNT],
        reason: Range[str, 1, MAX_REASON],
        member: discord.User | None = None,
        role: discord.Role | None = None,
    ) -> None:
        """Take credits from a member, or from each member with a role."""
        by = await acknowledged_manager(interaction)
        if member is not None and role is None:
            whose = member_of(interaction, member)
            moved = await self.transfers.take(
                whose, take_id=interaction.id, actor_id=by.actor_id, amount=amount, reason=reason
            )
            held = (await self.credits.statement(whose, entries=0)).held
            answer = texts.taken(member.mention, moved, amount, reason, held=held)
        elif role is not None and member is None:
            check_role(role.guild, role.id, everyone=True)
            role_grant = await self.transfers.role_grant(
                by, role.id, role_grant_id=interaction.id, kind="take", amount=amount, reason=reason
            )
            answer = texts.role_granted(role_grant)
        else:
            raise InvalidRequest(texts.MEMBER_OR_ROLE)
        await interaction.followup.send(answer, ephemeral=True)

    # --- /quota reset -----------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        what="What to reset",
        reason="Why granted credits are taken back; their members see it in /credits",
    )
    async def reset(
        self,
        interaction: discord.Interaction,
        what: Resettable,
        reason: Range[str, 1, MAX_REASON] | None = None,
    ) -> None:
        """Reset granted credits or settings, after a preview."""
        by = await acknowledged_manager(interaction)
        if what == texts.SETTINGS and reason is not None:
            raise InvalidRequest(texts.SETTINGS_NEED_NO_REASON)
        why = texts.RESET_REASON if reason is None else check_reason(reason)
        plan, found = ResetPlan(0, 0), []
        if what != texts.SETTINGS:
            plan = await self.transfers.plan_reset(by.server_id)
        if what != texts.GRANTED:
            found = await self.server_settings.to_reset(by.server_id)
        preview = texts.reset_preview(what, plan, found)
        if not (plan.credits or plan.role_grants or found):
            await interaction.followup.send(preview, ephemeral=True)
            return
        # The reason may be long: it waits for the press where the options of forms do.
        draft = Draft(interaction.id, by.server_id, by.actor_id, json.dumps({"reason": why}))
        await self.songs.save_draft(draft)
        view = Row(ResetButton(what, interaction.id))
        await interaction.followup.send(preview, view=view, ephemeral=True)


class ResetButton(
    Persistent,
    ui.DynamicItem[ui.Button[Any]],
    template=rf"quota:reset:(?P<what>{'|'.join(get_args(Resettable))}):(?P<draft_id>{ID})",
):
    """Reset what the preview showed. Its draft is the interaction that showed it.

    The reset goes by the draft's id, so that it is done once, however often it is pressed.
    """

    def __init__(self, what: str, draft_id: int) -> None:
        self.what = what
        self.draft_id = draft_id
        super().__init__(
            ui.Button(
                label=f"Reset {what}",
                style=discord.ButtonStyle.danger,
                custom_id=f"quota:reset:{what}:{draft_id}",
            )
        )

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        by = manager_of(interaction)
        await interaction.response.defer()
        quota, answers = quota_of(interaction), []
        try:
            draft = await quota.songs.draft(
                self.draft_id, server_id=by.server_id, member_id=by.actor_id
            )
        except NotPossible:
            raise NotPossible(texts.RESET_EXPIRED) from None
        if self.what != texts.SETTINGS:
            reason = str(json.loads(draft.options)["reason"])
            done = await quota.transfers.reset(by, reset_id=self.draft_id, reason=reason)
            answers.append(texts.credits_reset(done))
        # Settings last: one of them is the log channel, which has to log the rest.
        if self.what != texts.GRANTED:
            answers.append(texts.settings_reset(await quota.server_settings.reset_all(by)))
        await interaction.edit_original_response(content=" ".join(answers), view=None)


PERSISTENT = (ResetButton,)
"""Registered at the start, to answer presses on messages from before a restart."""
