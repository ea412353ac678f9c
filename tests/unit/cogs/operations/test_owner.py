"""Direct messages to whoever runs the bot."""

import pytest

from cogs.operations.owner import OwnerMessages
from tests.unit.cogs.songs.test_announcer import Stage, stage
from tests.wire import Fault

__all__ = ["stage"]  # a fixture


async def test_the_owner_is_notified(stage: Stage) -> None:
    assert await OwnerMessages(stage.client).send("The disk is full.")
    (message,) = stage.wire.direct_messages(stage.wire.state.owner)
    assert message.content == "The disk is full."


async def test_foreign_text_is_not_markdown(stage: Stage) -> None:
    says = "401\n[fix it](https://evil.example) @everyone" + "*" * 3_000
    assert await OwnerMessages(stage.client).send("The key is refused.", detail=says)
    (message,) = stage.wire.direct_messages(stage.wire.state.owner)
    first, quoted = message.content.split("\n")
    assert first == "The key is refused."
    assert quoted.startswith("> 401 \\[fix it\\](https:\u200b//evil.example) @\u200beveryone\\*")
    assert len(message.content) <= 2_000


async def test_a_teams_owner_is_notified(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    application = await stage.client.application_info()
    leader = stage.wire.state.add_user("leader")

    class Team:
        owner_id: int | None = leader.id

    async def info() -> object:
        return application

    monkeypatch.setattr(application, "team", Team)
    monkeypatch.setattr(stage.client, "application_info", info)
    assert await OwnerMessages(stage.client).send("The disk is full.")
    assert len(stage.wire.direct_messages(leader)) == 1
    monkeypatch.setattr(Team, "owner_id", None)
    assert not await OwnerMessages(stage.client).send("The disk is full.")


async def test_unsent_message_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    owner = stage.wire.state.owner
    owner.dms_open = False
    assert not await OwnerMessages(stage.client).send("The disk is full.")
    assert "could not be notified" in caplog.text
    stage.wire.faults.plan(Fault(cut="before"), route="/oauth2/applications/@me", times=2)
    assert not await OwnerMessages(stage.client).send("The disk is full.")
    owner.dms_open = True
    stage.client._ready.clear()
    assert not await OwnerMessages(stage.client).send("The disk is full.")
    stage.client._ready.set()
    assert await OwnerMessages(stage.client).send("The disk is full.")
