"""Messages to the operator."""

from typing import Any

import pytest

from cogs.client import Client
from cogs.operator import OwnerMessages
from tests.cogs.conftest import World


def belongs_to(
    monkeypatch: pytest.MonkeyPatch, world: World, *, owner: int, team_owner: int | None = None
) -> None:
    """What Discord says of the application."""
    ask = world.client.http.application_info

    async def application_info() -> Any:
        answer: Any = dict(await ask())
        answer["owner"] = {"id": str(owner), "username": "o", "discriminator": "0", "avatar": None}
        if team_owner is not None:
            answer["team"] = {
                "id": "5",
                "name": "team",
                "icon": None,
                "owner_user_id": str(team_owner),
                "members": [],
            }
        return answer

    monkeypatch.setattr(world.client.http, "application_info", application_info)


async def test_the_owner_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    olga = world.env.create_user("olga")
    belongs_to(monkeypatch, world, owner=olga.id)
    assert await OwnerMessages(world.client).tell("The disk is full.")
    assert [message.content for message in olga.dm_channel.history()] == ["The disk is full."]


async def test_of_a_team_its_owner_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    olga = world.env.create_user("olga")
    belongs_to(monkeypatch, world, owner=1, team_owner=olga.id)
    assert await OwnerMessages(world.client).tell("The disk is full.")
    assert len(olga.dm_channel.history()) == 1


async def test_a_message_that_does_not_go_out_is_said_to_have_not(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    olga = world.env.create_user("olga")
    belongs_to(monkeypatch, world, owner=olga.id)
    world.env.inject_error("POST", "/channels/*/messages", status=403, code=50_007)
    assert not await OwnerMessages(world.client).tell("The disk is full.")
    assert "the operator could not be told" in caplog.text


async def test_before_the_bot_is_ready_nobody_is_told() -> None:
    async def prepare(client: Client) -> None:
        """Never called: it does not log in."""

    assert not await OwnerMessages(Client(prepare)).tell("The disk is full.")
