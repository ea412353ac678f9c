"""Every use of private parts of simcord, the simulated Discord."""

import asyncio
from collections.abc import Mapping
from typing import Any

import simcord
from simcord.enums import InteractionType


def serialise_actions(page: Any, lock: asyncio.Lock) -> None:  # noqa: ANN401 - simcord's preview
    """Let no refresh come between a click and what it was made on.

    simcord rejects an action whose page was refreshed meanwhile, and has no public way to wait.
    """
    act = page._action  # noqa: SLF001

    async def action(context_id: str | None, body: Mapping[str, Any]) -> Any:  # noqa: ANN401
        async with lock:
            if isinstance(body, dict) and "published_revision" in body:
                revision = page._get_page(context_id).revision  # noqa: SLF001
                body = {**body, "published_revision": revision}
            return await act(context_id, body)

    page._action = action  # noqa: SLF001


async def dispatch(
    member: simcord.MemberActor,
    kind: InteractionType,
    channel: simcord.ChannelHandle,
    data: Mapping[str, Any],
    **options: Any,  # noqa: ANN401 - simcord's
) -> simcord.InteractionResult:
    """Send any interaction, also one that simcord's public methods would refuse."""
    return await member._dispatch_interaction(kind, channel, dict(data), **options)  # noqa: SLF001
