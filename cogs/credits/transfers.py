"""Giving and taking: /quota grant, take and reset."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import discord
from discord import app_commands, ui
from discord.app_commands import Range

from cogs.client.answers import acknowledged
from cogs.client.components import ID, Persistent, Row
from cogs.client.people import manager_of, member_of
from cogs.client.quota import (
    QuotaCommands,
    check_no_bot,
    check_role_exists,
    complete_moment,
    moment_of,
    quota_of,
)
from cogs.client.texts import credits_text, each_of, plain, shown
from db.records import Draft, RoleGrant
from services.amounts import MAX_AMOUNT, MAX_REASON, check_reason
from services.credits.transfers import Moved, ResetPlan
from services.errors import InvalidRequest, NotPossible
from services.moments import LONGEST_TYPED
from services.settings.catalogue import CATALOGUE, About, Setting
from services.settings.server_settings import Manager

What = Literal["granted credits", "settings", "everything"]
GRANTED, SETTINGS, EVERYTHING = get_args(What)
RESET_REASON = "All that was granted was reset"
SEEN = "the next time that I see them use a command here"
EITHER = "Please choose either a `member` or a `role`."
NO_LIST = "I don't read the server's list of members."

NOTHING_TO_RESET = {
    GRANTED: "nothing is left of what was granted",
    SETTINGS: "the defaults hold",
    EVERYTHING: "the defaults hold, and nothing is left of what was granted",
}


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
        """Give a member, or each member with a role, credits besides the allowance."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        if member is not None and role is None:
            if ends is not None:
                raise InvalidRequest("`ends` is for roles. To let credits expire, use `expires`.")
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
            said = _granted_text(member, moved, reason, expires_at)
        elif role is not None and member is None:
            check_role_exists(role)
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
            said = _role_grant_text(role_grant)
        else:
            raise InvalidRequest(EITHER)
        await interaction.followup.send(said, ephemeral=True)

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
        by = manager_of(interaction)
        await acknowledged(interaction)
        known = self
        if member is not None and role is None:
            whose = member_of(interaction, member)
            moved = await known.transfers.take(
                whose,
                take_id=interaction.id,
                actor_id=by.actor_id,
                amount=amount,
                reason=reason,
            )
            standing = await known.credits.statement(whose, entries=0)
            said = _taken_text(member, moved, amount, reason, held=standing.held)
        elif role is not None and member is None:
            check_role_exists(role)
            role_grant = await known.transfers.role_grant(
                by, role.id, role_grant_id=interaction.id, kind="take", amount=amount, reason=reason
            )
            said = _role_grant_text(role_grant)
        else:
            raise InvalidRequest(EITHER)
        await interaction.followup.send(said, ephemeral=True)

    # --- /quota reset -----------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        what="What is to be as it was in the beginning",
        reason="Why granted credits are taken back; their members see it in /credits",
    )
    async def reset(
        self,
        interaction: discord.Interaction,
        what: What,
        reason: Range[str, 1, MAX_REASON] | None = None,
    ) -> None:
        """See what a reset would change, and then decide."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        if what == SETTINGS and reason is not None:
            raise InvalidRequest(
                "Settings are reset without a reason: please leave it out. It is for granted "
                "credits, whose members see it."
            )
        why = RESET_REASON if reason is None else check_reason(reason)
        would = await _would_reset(self, by.server_id, what)
        if not would:
            nothing = f"There is nothing to reset: {NOTHING_TO_RESET[what]}."
            await interaction.followup.send(nothing, ephemeral=True)
            return
        # The reason may be long: it waits for the press where the options of forms do.
        draft = Draft(interaction.id, by.server_id, by.actor_id, json.dumps({"reason": why}))
        await self.songs.keep_draft(draft)
        view = Row()
        view.add_item(ResetButton(what, interaction.id))
        said = "\n".join(("This would be reset:", *would, "Nothing has changed yet."))
        await interaction.followup.send(said, view=view, ephemeral=True)


class ResetButton(
    Persistent,
    ui.DynamicItem[ui.Button[Any]],
    template=rf"quota:reset:(?P<what>{'|'.join(get_args(What))}):(?P<draft_id>{ID})",
):
    """Resets what was shown. Its draft is the interaction that showed it, which also has the why.

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
        reason = await self._reason(interaction, by)
        known, said = quota_of(interaction), []
        if self.what != SETTINGS:
            done = await known.transfers.reset(by, reset_id=self.draft_id, reason=reason)
            said.append(_reset_text(done))
        # Last, since the log channel is a setting too, and hears of all the rest.
        if self.what != GRANTED:
            said.append(_settings_text(await known.server_settings.reset_all(by)))
        await interaction.edit_original_response(content=" ".join(said), view=None)

    async def _reason(self, interaction: discord.Interaction[Any], by: Manager) -> str:
        try:
            draft = await quota_of(interaction).songs.draft(
                self.draft_id, server_id=by.server_id, member_id=by.actor_id
            )
        except NotPossible:
            raise NotPossible(
                "What this showed is an hour old, or was shown to somebody else: please use "
                "`/quota reset` again. Nothing was changed."
            ) from None
        return str(json.loads(draft.options)["reason"])


PERSISTENT = (ResetButton,)
"""What the bot has to know of to answer presses on messages from before a restart."""


# --- words ----------------------------------------------------------------------------------------


def _granted_text(
    member: discord.Member | discord.User, moved: Moved, reason: str, expires_at: datetime | None
) -> str:
    expires = f" What was given expires {shown(expires_at)}." if expires_at else ""
    return (
        f"<@{member.id}> got {credits_text(moved.amount)} ({plain(reason)}) and has "
        f"{moved.balance.free:,} now.{expires}"
    )


def _taken_text(
    member: discord.Member | discord.User, moved: Moved, asked: int, reason: str, *, held: int
) -> str:
    taken, why = moved.amount, plain(reason)
    if taken == 0:
        said = f"Nothing was taken from <@{member.id}>: they have no credits that are free."
    else:
        all_of_it = "" if taken == asked else ", which is all that was free,"
        said = (
            f"<@{member.id}> lost {credits_text(taken)}{all_of_it} ({why}) and has "
            f"{moved.balance.free:,} now."
        )
    stay = "stays" if held == 1 else "stay"
    return f"{said} {credits_text(held)} {stay} held for songs in progress." if held else said


def _role_grant_text(role_grant: RoleGrant) -> str:
    whom = each_of(role_grant.role_id, role_grant.server_id).capitalize()
    why = plain(role_grant.reason or "")
    if role_grant.kind == "take":
        return (
            f"{whom} loses up to {credits_text(role_grant.amount)} ({why}) once: {SEEN}, until "
            f"{shown(role_grant.ends_at)}. What is spent or held by then stays. {NO_LIST}"
        )
    expires = f" It expires {shown(role_grant.expires_at)}." if role_grant.expires_at else ""
    return (
        f"{whom} gets {credits_text(role_grant.amount)} ({why}) once: {SEEN}, until "
        f"{shown(role_grant.ends_at)}.{expires} {NO_LIST}"
    )


async def _would_reset(known: QuotaCommands, server_id: int, what: str) -> list[str]:
    """What a reset would change, line by line."""
    lines = []
    if what != SETTINGS:
        plan = await known.transfers.plan_reset(server_id)
        if plan.credits:
            lines.append(
                f"- {credits_text(plan.credits)} of {_members(plan.members)}: all that is left of "
                "what was granted, given or returned to them. The allowances stay, and so does "
                "what is spent or held."
            )
        if plan.role_grants:
            lines.append(
                f"- {_role_grants(plan.role_grants)} to members with a role, still open: whoever "
                "was not seen yet neither gets nor loses anything by it."
            )
    if what != GRANTED:
        found = await known.server_settings.to_reset(server_id)
        if found:
            lines.append(
                f"- {_count(len(found))}: {_settings_listed(found)}. Each can be taken back with "
                "`/quota history`."
            )
    return lines


def _settings_listed(found: Sequence[tuple[Setting[Any], int]]) -> str:
    """`allowance, 3 role allowances`."""
    counts = Counter(setting for setting, _ in found)
    return ", ".join(
        setting.label.lower()
        if setting.about is About.SERVER
        else f"{count:,} {setting.label.lower()}{'' if count == 1 else 's'}"
        for setting, count in sorted(counts.items(), key=lambda each: CATALOGUE.index(each[0]))
    )


def _reset_text(done: ResetPlan) -> str:
    said = []
    if done.credits:
        were = "was" if done.credits == 1 else "were"
        said.append(
            f"{credits_text(done.credits)} {were} taken back from {_members(done.members)}."
        )
    if done.role_grants:
        said.append(f"Ended: {_role_grants(done.role_grants)} to members with a role.")
    return " ".join(said) or "Of what was granted there is nothing left to take back."


def _settings_text(count: int) -> str:
    if not count:
        return "All settings are the defaults already."
    return f"Back to the defaults: {_count(count)}. `/quota history` can take each back."


def _role_grants(count: int) -> str:
    return "1 grant" if count == 1 else f"{count:,} grants"


def _members(count: int) -> str:
    return "1 member" if count == 1 else f"{count:,} members"


def _count(settings: int) -> str:
    return "1 setting" if settings == 1 else f"{settings:,} settings"
