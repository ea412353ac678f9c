"""The log channel, through discord.py and real sockets."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import discord
import pytest

import bot
from cogs.settings import audit_log as module
from cogs.settings.audit_log import AuditLog, joined
from db import budgets
from db.records import Change
from services.credits.budgets import ServerBudgetExceeded
from services.retry import Backoff
from services.settings.catalogue import ALLOWANCE, BLOCK, BLOCKED_WORDS, BUDGET, LOG, ROLE_ALLOWANCE
from services.settings.changelog import POSTED_AT_ONCE, Changelog, as_json
from services.settings.server_settings import Manager
from services.settings.settings import Block, Defaults
from services.songs.scheduler import spawn
from tests.factories import NOON, SettableClock, make_song
from tests.wire import Channel, DiscordWire, Fault, Guild, Limits, Permission
from tests.wire.permissions import BOT
from tests.world.sockets import local_config

SOON = 10.0
MESSAGES = "/channels/{channel_id}/messages"
MONA, ROLE = 3_000_000_000_000_000_000, 4_000_000_000_000_000_000


@dataclass
class Stage:
    """A bot that is logged in, and managers of two servers. Only `running` runs the log."""

    application: bot.Application
    wire: DiscordWire
    guild: Guild
    logs: Channel
    others: Channel

    @property
    def changelog(self) -> Changelog:
        return self.application.changelog

    def by(self, channel: Channel) -> Manager:
        assert channel.guild is not None
        return Manager(channel.guild.id, MONA)

    async def log_to(self, channel: Channel) -> None:
        await self.application.server_settings.set(self.by(channel), LOG, channel.id)

    async def allow(self, *amounts: int, channel: Channel | None = None) -> None:
        server_settings = self.application.server_settings
        for amount in amounts:
            await server_settings.set(self.by(channel or self.logs), ALLOWANCE, amount)

    @contextlib.asynccontextmanager
    async def running(self, log: AuditLog | None = None) -> AsyncIterator[None]:
        log = log or self.application.audit_log
        task = asyncio.create_task(log.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await log.stop(grace=SOON)

    async def all_posted(self) -> None:
        """Wait until every change is posted or given up."""
        async with asyncio.timeout(SOON):
            while await self.changelog.pending():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def text(self, channel: Channel | None = None) -> str:
        """Return what is posted in the channel, oldest first."""
        posts = sorted(self.wire.messages(channel or self.logs), key=lambda m: m.id)
        return "\n".join(embed["description"] for post in posts for embed in post.embeds)

    def answer(self, status: int, code: int = 0, times: int | None = 1) -> None:
        body = {"message": "scripted", "code": code, "retry_after": 0.001, "global": False}
        self.wire.faults.plan(
            Fault(status=status, body=body), method="POST", route=MESSAGES, times=times
        )

    def another_log(self) -> AuditLog:
        """Return the log that a restarted bot has."""
        return AuditLog(
            self.application.client,
            self.changelog,
            Defaults(),
            spawn=spawn,
            clock=self.application.audit_log._clock,
        )

    @property
    def sent(self) -> int:
        """How often a message was sent, including refused ones."""
        return sum((r.method, r.route) == ("POST", MESSAGES) for r in self.wire.requests)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(module, "AFTER_A_FAILURE", Backoff(first=0.01, longest=0.02))
    async with DiscordWire(limits=Limits.none()) as wire:
        guild = wire.guild("One")
        logs = wire.channel(guild, "logs")
        others = wire.channel(wire.guild("Two"), "logs")
        config = local_config(wire, tmp_path, monkeypatch)
        async with bot.composed(config) as application:
            await application.client.login(wire.token)
            yield Stage(application, wire, guild, logs, others)
            await application.client.close()


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# --- what is posted -------------------------------------------------------------------------------


async def test_changes_before_and_after_the_start_are_posted(stage: Stage) -> None:
    await stage.log_to(stage.logs)
    await stage.allow(20)
    async with stage.running():
        await stage.all_posted()
        assert len(stage.wire.messages(stage.logs)) == 1
        await stage.allow(30)
        await stage.all_posted()
    assert (
        f"**1. Log channel**: none (the default) → <#{stage.logs.id}> · <@{MONA}>" in stage.text()
    )
    assert "**2. Allowance**: 10 credits a period (the default) →" in stage.text()
    assert "20 credits a period → 30 credits a period" in stage.text()
    assert stage.text().count("\n") == 2


async def test_mentions_are_shown_and_ping_nobody(stage: Stage) -> None:
    services = stage.application
    member = stage.wire.member(stage.guild, "alice")
    await stage.log_to(stage.logs)
    await services.server_settings.set(stage.by(stage.logs), ROLE_ALLOWANCE, 50, ROLE)
    await services.server_settings.set(
        stage.by(stage.logs), BLOCK, Block(f"@everyone <@{member.id}> **wow**"), member.id
    )
    async with stage.running():
        await stage.all_posted()
    assert f"Role allowance of <@&{ROLE}>" in stage.text()
    assert f"Block of <@{member.id}>" in stage.text()
    assert "@\u200beveryone <\u200b@\u200b" in stage.text()
    (message,) = stage.wire.messages(stage.logs)
    assert not message.pings.users
    assert not message.pings.roles
    assert not message.pings.everyone
    assert message.content == ""


async def test_each_warning_of_a_budget_is_posted_once(stage: Stage) -> None:
    services = stage.application
    await stage.log_to(stage.logs)
    await services.server_settings.set(stage.by(stage.logs), BUDGET, 10)
    server_id = stage.by(stage.logs).server_id
    settings = await services.server_settings.read(server_id)
    period = settings.timeline.period(services.clock())
    budget = services.credits._budget
    async with stage.running():
        async with stage.application.database.write() as connection:
            await budgets.use(connection, server_id, period.start, credits=8, budget=10)
            for _ in range(2):
                await budget._warn(connection, server_id, period, 10, 8, percent=80)
        stage.changelog.notify()
        await stage.all_posted()
        reached = ServerBudgetExceeded(make_song(server_id=server_id, price=3), period)
        await budget.refused(reached)
        await budget.refused(reached)
        await stage.all_posted()
    opens = f"<t:{int(period.end.timestamp())}:R>"
    assert stage.text().count("Warning: 80% of the budget") == 1
    assert stage.text().count("Warning: 100% of the budget") == 1
    assert stage.text().count(f"the next period begins {opens}") == 2
    gold = discord.Colour.gold().value
    colours = [m.embeds[0]["color"] for m in stage.wire.messages(stage.logs)]
    assert colours.count(gold) == len(colours) - 1


async def test_many_changes_are_few_messages_in_their_order(stage: Stage) -> None:
    await stage.log_to(stage.logs)
    await stage.allow(*range(20, 20 + POSTED_AT_ONCE + 10))
    async with stage.running():
        await stage.all_posted()
    numbers = [line.partition(".")[0] for line in stage.text().split("\n")]
    assert numbers == [f"**{n}" for n in range(1, POSTED_AT_ONCE + 12)]
    assert len(stage.wire.messages(stage.logs)) < 10


def a_change(number: int, **fields: Any) -> Change:
    change = Change(
        *(2**63 - 1, number, ALLOWANCE.key, 0, None, as_json({"credits": number})),
        *(MONA, None, NOON, None, 1),
    )
    return replace(change, **fields)


def test_messages_are_within_discords_bounds() -> None:
    words = as_json([f"{n}{'*_' * 20}" for n in range(10)])
    changes = [a_change(10**6 + n, name=BLOCKED_WORDS.key, after=words) for n in range(50)]
    messages = list(joined(changes, Defaults()))
    assert [c for message in messages for c in message.changes] == changes
    assert all(len(message.embed) <= 4_096 for message in messages)
    assert all(len(message.changes) >= 6 for message in messages[:-1])
    assert all(len(message.nonce) <= 25 for message in messages)
    assert len({message.nonce for message in messages}) == len(messages)
    assert list(joined([], Defaults())) == []


def test_a_nonce_is_of_these_changes_alone() -> None:
    def nonce(*changes: Change) -> str:
        (message,) = joined(changes, Defaults())
        return message.nonce

    assert nonce(a_change(1)) == nonce(a_change(1))
    others = [nonce(a_change(2)), nonce(a_change(1), a_change(2)), nonce(a_change(1, server_id=9))]
    assert len({nonce(a_change(1)), *others}) == 4


async def test_changes_by_another_process_are_posted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bot.py grant` can't wake it."""
    monkeypatch.setattr(module, "POLL_EVERY", 0.02)
    await stage.log_to(stage.logs)
    monkeypatch.setattr(stage.changelog, "notify", lambda: None)
    async with stage.running():
        await stage.all_posted()
        await stage.allow(20)
        await stage.all_posted()
    assert "→ 20" in stage.text()


# --- what goes wrong ------------------------------------------------------------------------------


async def test_a_crash_between_sending_and_marking_does_not_double(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.log_to(stage.logs)
    marking = asyncio.Event()

    async def cut_short(*_: Change) -> bool:
        marking.set()
        return await asyncio.Future()

    with monkeypatch.context() as patched:
        patched.setattr(stage.changelog, "mark_notified", cut_short)
        running = asyncio.create_task(stage.application.audit_log.run())
        await asyncio.wait_for(marking.wait(), SOON)
        running.cancel()
        await stage.application.audit_log.stop(grace=0)
    assert await stage.changelog.pending()
    async with stage.running(stage.another_log()):
        await stage.all_posted()
    assert stage.sent == 2
    assert len(stage.wire.messages(stage.logs)) == 1


@pytest.mark.parametrize("trouble", ["cut", "503", "429", "401"])
async def test_transient_errors_are_retried(
    stage: Stage, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.log_to(stage.logs)
    if trouble == "cut":  # aiohttp repeats once by itself
        fault = Fault(cut="before")
        stage.wire.faults.plan(fault, method="POST", route=MESSAGES, times=2)
    else:
        stage.answer(int(trouble), times=5)  # as often as discord.py tries
    async with stage.running():
        await stage.all_posted()
    assert stage.text().count("Log channel") == 1
    assert "its message waits" in caplog.text


async def test_a_lost_answer_is_no_second_message(stage: Stage) -> None:
    await stage.log_to(stage.logs)
    stage.wire.faults.plan(Fault(cut="after"), method="POST", route=MESSAGES)
    async with stage.running():
        await until(lambda: stage.sent)
        await stage.allow(20)  # comes while the first is being repeated, and is not joined to it
        await stage.all_posted()
    assert stage.text().count("Log channel") == 1
    assert stage.text().count("→ 20") == 1


@pytest.mark.parametrize(("status", "code"), [(404, 10003), (400, 50035), (413, 40005)])
async def test_permanent_errors_are_given_up_with_a_warning(
    stage: Stage, status: int, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.log_to(stage.logs)
    await stage.allow(20)
    stage.answer(status, code)
    async with stage.running():
        await stage.all_posted()
        assert stage.sent == 1
        await stage.allow(30)
        await stage.all_posted()
    assert "→ 20" not in stage.text()
    assert "→ 30" in stage.text()
    (warning,) = [r for r in caplog.records if "can't be posted" in r.getMessage()]
    assert warning.levelname == "WARNING"
    assert f"log channel {stage.logs.id}: 2 changes" in warning.getMessage()


async def test_a_channel_that_is_gone_and_a_permission_that_is_withdrawn(stage: Stage) -> None:
    """As Discord itself answers. ub3r-b0t 27, yin-bot 37, DiscordBridge 8."""
    await stage.log_to(stage.logs)
    await stage.log_to(stage.others)
    stage.wire.delete_channel(stage.logs)
    stage.wire.permit(stage.others, BOT & ~Permission.SEND_MESSAGES)
    async with stage.running():
        await until(lambda: stage.sent > 3)
        await stage.allow(20, channel=stage.others)
        assert stage.wire.messages(stage.others) == []
        stage.wire.permit(stage.others, BOT)
        await stage.all_posted()
    numbers = [line.partition(".")[0] for line in stage.text(stage.others).split("\n")]
    assert numbers == ["**1", "**2"]  # in their order


async def test_refused_changes_are_retried_after_a_restart(stage: Stage) -> None:
    await stage.log_to(stage.logs)
    stage.wire.permit(stage.logs, BOT & ~Permission.VIEW_CHANNEL)
    async with stage.running():
        await until(lambda: stage.sent > 2)
    stage.wire.permit(stage.logs, BOT)
    async with stage.running(stage.another_log()):
        await stage.all_posted()
    assert stage.text().count("Log channel") == 1


async def test_a_change_refused_for_a_day_is_given_up_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = stage.application.audit_log
    await stage.log_to(stage.logs)
    await stage.allow(20)
    monkeypatch.setattr(module, "LONGEST", 1)  # each in a separate message
    first, second = (change.at for change in await stage.changelog.pending())
    assert first < second
    now = first + (second - first) / 2 + module.RETRIED_FOR
    monkeypatch.setattr(log, "_clock", SettableClock(now))
    stage.answer(403, 50013, times=None)
    async with stage.running():
        await until(lambda: stage.sent > 3)
        (left,) = await stage.changelog.pending()
        assert left.number == 2
        stage.wire.faults.clear()
        await stage.all_posted()
    assert "→ 20" in stage.text()
    assert "Log channel" not in stage.text()
    assert "1 changes can't be posted" in caplog.text


async def test_a_line_that_automod_blocks_takes_no_other_with_it(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.log_to(stage.logs)
    await stage.allow(20, 30)

    async def automod(call: Any) -> Fault | None:
        if call.method != "POST" or "→ 20" not in str(call.body):
            return None
        return Fault(status=400, body={"message": "blocked", "code": 200000})

    stage.wire.faults.hook = automod
    async with stage.running():
        await stage.all_posted()
    assert "Log channel" in stage.text()
    assert "→ 20" not in stage.text()
    assert "→ 30" in stage.text()
    assert "1 changes can't be posted" in caplog.text


async def test_nothing_is_sent_while_a_permission_is_known_to_be_missing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, known = stage.application.audit_log, ["I lack Send Messages there"] * 3
    monkeypatch.setattr(module, "obstacle", lambda *_: known.pop() if known else None)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(log, "_sleep", sleep)
    await stage.log_to(stage.logs)
    async with stage.running():
        await stage.all_posted()
    assert slept == [module.POLL_EVERY] * 3
    assert stage.sent == 1


async def test_of_many_messages_to_a_deleted_channel_only_one_is_sent(stage: Stage) -> None:
    """10,000 refused requests in ten minutes ban the machine's address."""
    await stage.log_to(stage.logs)
    await stage.allow(*range(20, 19 + POSTED_AT_ONCE))
    stage.answer(404, 10003, times=None)
    async with stage.running():
        await stage.all_posted()
    assert stage.sent == 1


async def test_a_channel_that_hangs_delays_no_other(stage: Stage) -> None:
    """Not even with more to post than is read at once."""
    await stage.log_to(stage.logs)
    await stage.allow(*range(20, 20 + 2 * POSTED_AT_ONCE))
    release = asyncio.Event()

    async def hang(call: Any) -> Fault | None:
        if str(stage.logs.id) in call.path and call.method == "POST":
            await release.wait()
        return None

    stage.wire.faults.hook = hang
    async with stage.running():
        await until(lambda: stage.application.audit_log._posting)
        await stage.log_to(stage.others)
        await until(lambda: stage.wire.messages(stage.others))
        assert stage.wire.messages(stage.logs) == []
        release.set()
        await stage.all_posted()
    assert f"→ {19 + 2 * POSTED_AT_ONCE}" in stage.text()


async def test_a_mark_that_fails_is_made_later_and_nothing_is_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.log_to(stage.logs)
    mark, failing = Changelog.mark_notified, [sqlite3.OperationalError("disk full")] * 2

    async def fail_first(changelog: Changelog, *changes: Change) -> bool:
        if failing:
            raise failing.pop()
        return await mark(changelog, *changes)

    monkeypatch.setattr(Changelog, "mark_notified", fail_first)
    async with stage.running():
        await stage.all_posted()
    assert stage.sent == 1
    assert caplog.text.count("disk full") >= 2


async def test_a_malformed_change_stops_no_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For example a grant without its facts."""
    await stage.log_to(stage.logs)
    async with stage.application.database.write() as connection:
        await stage.changelog.record(connection, stage.by(stage.logs).server_id, "grant")
    async with stage.running():
        await stage.all_posted()
        await stage.allow(20)
        await stage.all_posted()
    assert "→ 20" in stage.text()
    assert "can't be posted: " in caplog.text
    assert "Traceback" in caplog.text


async def test_a_stop_waits_for_messages_in_progress(stage: Stage) -> None:
    await stage.log_to(stage.logs)
    slow = Fault(answer_delay=0.1)
    stage.wire.faults.plan(slow, method="POST", route=MESSAGES)
    async with stage.running():
        await until(lambda: stage.sent)
    assert not stage.application.audit_log._posting
    assert await stage.changelog.pending() == []


async def test_a_database_that_cannot_be_read_ends_the_log(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends with it, as with every background loop."""

    async def fail(*_: object, **__: object) -> list[Change]:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(stage.changelog, "pending", fail)
    with pytest.raises(sqlite3.OperationalError):
        await asyncio.wait_for(stage.application.audit_log.run(), SOON)
