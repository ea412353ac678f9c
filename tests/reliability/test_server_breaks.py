"""The bot loses its server, a channel, permissions or its token while songs are in progress."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from playground.song_api import Fault as ApiFault
from tests.reliability.fault_run import (
    BEFORE,
    DURING,
    LONG,
    READY,
    SHORT,
    FaultRun,
    Outcome,
    all_refused,
    check_guarantees,
    member,
    refusals,
    release_songs,
    request_after,
    request_before,
    states,
    until_all_over,
)
from tests.reliability.faults import During, FaultGates, Length, fault_gates
from tests.wire import Permission
from tests.wire.permissions import BOT
from tests.world.clock import BotClock
from tests.world.sockets import World, until

PERMISSIONS = {
    "View Channel": Permission.VIEW_CHANNEL,
    "Send Messages": Permission.SEND_MESSAGES,
    "Embed Links": Permission.EMBED_LINKS,
    "Attach Files": Permission.ATTACH_FILES,
    "Read Message History": Permission.READ_MESSAGE_HISTORY,
}
REFUSED = 2
"""The bot's exit status where a setting is at fault."""
UNDELIVERED = "SELECT * FROM songs WHERE state = 'undelivered'"


async def all_delivered(world: World, length: Length) -> None:
    """What could not be posted has been posted late."""
    await until(lambda: not world.rows(UNDELIVERED), length.patience)


# --- the channel ----------------------------------------------------------------------------------


async def test_the_channel_is_deleted(fault_run: FaultRun, figure: Callable[[str], None]) -> None:
    """What was to be posted there is undelivered, and `/show` in another channel gives it."""
    outcome = await fault_run(_channel_deleted, then=_shown)
    assert outcome.handed_over == BEFORE
    assert outcome.posted == outcome.requested - BEFORE
    figure(str(outcome))


@contextlib.asynccontextmanager
async def _channel_deleted(gates: FaultGates, length: Length) -> AsyncIterator[None]:
    world = gates.world
    gone, world.channel = world.channel, world.wire.channel(world.guild, "other songs")
    world.wire.delete_channel(gone)
    yield


async def _shown(world: World, length: Length) -> None:
    """Each member requests what they did not get."""
    for row in world.rows(UNDELIVERED):
        owner = world.guild.members[row["member_id"]]
        shown = await world.wire.slash(owner, world.channel, "show", song=str(row["number"]))
        answer = await shown.wait_message(lambda m: bool(m.attachments), length.patience)
        assert answer.ephemeral
    await all_delivered(world, length)


@pytest.mark.parametrize("permission", PERMISSIONS)
async def test_a_permission_is_withdrawn(
    fault_run: FaultRun, permission: str, figure: Callable[[str], None]
) -> None:
    """Nobody spends anything there until it is granted again; then all that was made is posted."""
    outcome = await fault_run(_withdrawn(PERMISSIONS[permission]), then=all_delivered)
    assert outcome.posted == outcome.requested - outcome.not_accepted
    # To post for the first time, nothing has to be read.
    assert bool(outcome.late) is (permission != "Read Message History")
    texts = refusals(fault_run.world)
    assert len(texts) == outcome.not_accepted == DURING
    assert all(permission in text and "Nothing was spent" in text for text in texts), texts
    figure(str(outcome))


def _withdrawn(permission: Permission) -> During:
    @contextlib.asynccontextmanager
    async def during(gates: FaultGates, length: Length) -> AsyncIterator[None]:
        world = gates.world
        world.wire.permit(world.channel, BOT & ~permission)
        yield
        await all_refused(world, length)
        await until(lambda: not states(world)["posting"], length.patience)
        world.wire.permit(world.channel, BOT)

    return during


# --- the server -----------------------------------------------------------------------------------


async def test_bot_is_removed_and_invited_again(
    fault_run: FaultRun, figure: Callable[[str], None]
) -> None:
    """What waits is cancelled, what runs is undelivered; another server's songs go on meanwhile."""
    outcome = await fault_run(_bot_removed, then=all_delivered)
    world = fault_run.world
    assert outcome.cancelled
    assert outcome.late >= READY
    assert outcome.posted + outcome.cancelled == outcome.requested
    assert world.rows("SELECT 1 FROM songs WHERE genres = ''") == []
    figure(str(outcome))


@contextlib.asynccontextmanager
async def _bot_removed(gates: FaultGates, length: Length) -> AsyncIterator[None]:
    """Members of another server request songs meanwhile."""
    world = gates.world
    guild, channel = world.guild, world.channel
    world.guild = world.wire.guild("Two")
    world.channel = world.wire.channel(world.guild, "songs")
    await remove_bot(gates, length)
    yield
    world.guild, world.channel = guild, channel
    world.wire.invite_bot(guild)


async def remove_bot(gates: FaultGates, length: Length) -> None:
    """Remove it from the songs' server; wait until those that wait there are cancelled.

    Nothing ends at the API meanwhile, so that none of them can be started.
    """
    gates.at_api = lambda call: ApiFault(503) if call.path.endswith("/status") else None
    (guild,) = {song.member.guild for song in gates.world.requested.values()}
    gates.world.wire.remove_bot(guild)
    waiting = "SELECT 1 FROM songs WHERE state = 'waiting'"
    await until(lambda: not gates.world.rows(waiting), length.patience)
    gates.at_api = None


async def test_bot_is_removed_and_not_invited_again(
    fault_run: FaultRun,
    bots_clock: BotClock,
    monkeypatch: pytest.MonkeyPatch,
    figure: Callable[[str], None],
) -> None:
    """After a day each price is back, after 30 days the server's texts and settings are gone."""
    for interval in ("songs.delivery.EVERY", "operations.housekeeping.INTERVAL"):
        monkeypatch.setattr(f"services.{interval}", 0.05)
    # The clock of a process can't be set alone: in both forms the bot runs here.
    fault_run, world = replace(fault_run, long=False), fault_run.world
    async with fault_gates(world) as gates:
        fault_run.prepare()
        async with fault_run.bot() as bot:
            manager = world.wire.member(world.guild, "manager", manage_guild=True)
            await world.wire.slash(manager, world.channel, "quota server", allowance=77)
            await until(lambda: world.rows("SELECT 1 FROM settings"))
            await request_before(world, SHORT)
            await remove_bot(gates, SHORT)
            release_songs(world, SHORT.running)
            gates.release()
            await until_all_over(world, SHORT)
            undelivered = len(world.rows(UNDELIVERED))
            bots_clock.moved = timedelta(hours=25)
            began = time.monotonic()
            await all_delivered(world, SHORT)
            outcome = Outcome.of(world, until_over=time.monotonic() - began)
            spent = "SELECT sum(amount) FROM ledger WHERE song_id IS NOT NULL"
            assert world.rows(spent)[0][0] == 0
            assert world.rows("SELECT 1 FROM settings")
            assert not world.rows("SELECT 1 FROM songs WHERE genres = ''")
            bots_clock.moved = timedelta(days=31)
            await until(lambda: not world.rows("SELECT 1 FROM songs WHERE genres != ''"))
            assert not world.rows("SELECT 1 FROM settings")
            assert len(world.rows("SELECT 1 FROM ledger WHERE song_id IS NOT NULL")) == (
                2 * outcome.cancelled + 3 * outcome.compensated
            )
        await check_guarantees(world, bot)
    assert outcome.compensated == undelivered > 0
    assert undelivered + outcome.cancelled == outcome.requested
    figure(str(outcome))


# --- the token ------------------------------------------------------------------------------------


async def test_the_token_is_revoked(
    fault_run: FaultRun, capsys: pytest.CaptureFixture[str], figure: Callable[[str], None]
) -> None:
    """The bot ends and says why; with the new token it goes on where it was."""
    world, length = fault_run.world, LONG if fault_run.long else SHORT
    async with fault_gates(world) as gates:
        fault_run.prepare()
        async with fault_run.bot(status=REFUSED) as before:
            await request_before(world, length)
            release_songs(world, length.running)
            world.wire.revoke_token()
            gates.release()
            await before.ended(REFUSED)
        output = before.log() if fault_run.long else capsys.readouterr().err
        assert "DISCORD_TOKEN is refused by Discord: it was reset meanwhile." in output
        assert not world.posts
        await world.song(member(world, BEFORE))  # Discord says that the bot did not respond
        world.settings["DISCORD_TOKEN"] = "wire.bot.another"
        world.wire.new_token(world.settings["DISCORD_TOKEN"])
        async with fault_run.bot() as after:
            began = time.monotonic()
            await request_after(world, length)
            until_over = time.monotonic() - began
            await after.check_health()
            await after.stop()
        await check_guarantees(world, before, after)
    outcome = Outcome.of(world, until_over=until_over)
    assert (outcome.posted, outcome.not_accepted) == (outcome.requested - 1, 1)
    figure(str(outcome))
