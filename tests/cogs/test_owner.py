"""Direct messages to whoever runs the bot."""

import pytest

from cogs.owner import OwnerMessages
from tests.cogs.test_announcer import Stage, stage
from tests.wire import Fault

__all__ = ["stage"]  # a fixture


async def test_the_owner_is_told(stage: Stage) -> None:
    assert await OwnerMessages(stage.client).tell("x" * 3_000)
    (message,) = stage.wire.direct_messages(stage.wire.state.owner)
    assert message.content == "x" * 2_000


async def test_of_a_team_its_owner_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    application = await stage.client.application_info()
    leader = stage.wire.state.add_user("leader")

    class Team:
        owner_id: int | None = leader.id

    async def info() -> object:
        return application

    monkeypatch.setattr(application, "team", Team)
    monkeypatch.setattr(stage.client, "application_info", info)
    assert await OwnerMessages(stage.client).tell("The disk is full.")
    assert len(stage.wire.direct_messages(leader)) == 1
    monkeypatch.setattr(Team, "owner_id", None)
    assert not await OwnerMessages(stage.client).tell("The disk is full.")


async def test_what_does_not_go_out_is_said(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    owner = stage.wire.state.owner
    owner.dms_open = False
    assert not await OwnerMessages(stage.client).tell("The disk is full.")
    assert "could not be told" in caplog.text
    stage.wire.faults.plan(Fault(cut="before"), route="/oauth2/applications/@me", times=2)
    assert not await OwnerMessages(stage.client).tell("The disk is full.")
    owner.dms_open = True
    stage.client._ready.clear()
    assert not await OwnerMessages(stage.client).tell("The disk is full.")
    stage.client._ready.set()
    assert await OwnerMessages(stage.client).tell("The disk is full.")
