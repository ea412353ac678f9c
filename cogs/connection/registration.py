"""Registers the commands with Discord, globally, and only when they changed."""

import hashlib
import json
import logging
from typing import Any

from cogs.connection.client import Client
from db import operations
from db.database import Database

log = logging.getLogger(__name__)


async def register_commands(client: Client, database: Database) -> bool:
    """Bring Discord's commands up to date; whether that took a change.

    What was given is kept as a digest for each application, together with what Discord made of it
    (ids and versions). So a change on either side is seen, and an unchanged start costs one GET.
    """
    application_id = client.application_id
    if application_id is None:
        raise RuntimeError("the bot is not logged in")
    ours = [command.to_dict(client.tree) for command in client.tree.get_commands()]
    theirs = await client.http.get_global_commands(application_id)
    known = await operations.command_digest(database.reader, application_id)
    if known == digest(ours, theirs):
        return False
    theirs = await client.http.bulk_upsert_global_commands(application_id, payload=ours)
    async with database.write() as connection:
        await operations.set_command_digest(connection, application_id, digest(ours, theirs))
    log.info("registered %d commands", len(ours))
    return True


def digest(ours: Any, theirs: Any) -> str:  # noqa: ANN401 - JSON
    """One hash over what we give and what Discord says it has."""
    versions = sorted((str(command["id"]), str(command.get("version"))) for command in theirs)
    text = json.dumps([ours, versions], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
