"""`bot.py grant`: give a member credits that don't expire, while the bot runs or not."""

import uuid

from cogs.client.texts import credits_text
from commands.database_services import opened
from commands.exit_status import reject
from db import servers
from services.config import Config
from services.settings.settings import Member


async def grant(config: Config, *, server_id: int, member_id: int, amount: int, reason: str) -> int:
    """Grant the credits, print the new balance and return the exit status.

    Raises:
        Refusal: the amount or the reason is out of bounds.
    """
    async with opened(config) as services:
        server = await servers.get_server(services.database.reader, server_id)
        if server is None:
            return reject(f"There is no server {server_id}: `bot.py servers` lists them.")
        if server.left_at is not None:  # a grant would make it seem as if the bot were there
            return reject(f"The bot has left server {server_id}: invite it there again first.")
        moved = await services.transfers.grant(
            # What their roles give them is added when they use a command.
            Member(server_id, member_id, roles=None),
            grant_id=f"operator:{uuid.uuid4()}",
            actor_id=None,
            amount=amount,
            reason=reason,
        )
    print(f"Member {member_id} got {credits_text(amount)} and has {moved.balance.free:,} now.")
    return 0
