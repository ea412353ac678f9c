"""The ways that a song can go, each as often as needed in one world.

What goes wrong in a scenario does so for each of its songs, and again after a restart.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from playground.song_api import Call as ApiCall
from playground.song_api import Fault as ApiFault
from services.audio import transcoder
from tests.music import COPYING_ENCODER, short
from tests.reliability.killable_bot import Constants
from tests.wire import Call, Fault, Interaction
from tests.wire.rest import MESSAGES
from tests.world.sockets import SOON, SUBMIT, World

PROGRAM = "services.audio.transcoder._PROGRAM"
QUICK: Constants = {
    # Most of what a song costs; it does nothing that a kill of the bot could break.
    PROGRAM: COPYING_ENCODER,
    # Discord's own limit of edits is lifted with it.
    "cogs.songs.announcer.BETWEEN_EDITS": 0.05,
    # What is expected of a song of a minute, before anything is learnt: 0.4 s for one of 10 s.
    "services.providers.run_times.PAGE_SECONDS": 1.0,
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way of a song.

    `refused` and `lost`: how many submits the API defers, and of how many the answer never comes.
    `ends` are the states in which a song may end that was killed once.
    """

    ask: Callable[[World], Awaitable[object]]
    arrange: Callable[[World], None] = lambda world: None
    settings: Mapping[str, str] = field(default_factory=dict)
    constants: Constants = field(default_factory=dict)
    refused: int = 0
    lost: int = 0
    ends: frozenset[str] = frozenset({"COMPLETED"})
    after_another: bool = False
    """A song is needed before the first one."""
    late: bool = False
    """What Discord refuses at first is posted in the end."""
    undelivered: bool = False
    """What Discord refuses is never posted."""
    may_wait: bool = False
    """A song whose cancellation was killed waits until the end of the world."""

    def prepare(self, world: World) -> None:
        """Prepare a world, before its first song."""
        world.wire.limits.edit_interval = None
        world.wire.limits.buckets = False
        world.api._compose = short
        world.settings |= {"DEFAULT_ALLOWANCE": "10000", "LOG_LEVEL": "DEBUG", **self.settings}
        self.arrange(world)


# --- what members do ------------------------------------------------------------------------------


async def ask(world: World, **options: Any) -> Interaction:
    """Each by a different member: whoever has three songs in progress gets no fourth."""
    member = world.wire.member(world.guild, f"member {len(world.requested)}")
    return await world.song(member, **options)


async def ask_by_form(world: World) -> None:
    seed = world.seeds()
    member = world.wire.member(world.guild, f"member {seed}")
    opened = await world.wire.slash(
        member, world.channel, "song", genres="funk, pop", seconds=10, seed=seed
    )
    await opened.acknowledged(SOON)
    sent = await world.wire.submit(member, opened, lyrics="[verse]\nMidnight train")
    world.requested[seed] = sent


async def _ask_and_press(world: World, action: str) -> None:
    song = await ask(world)
    button = f"song:{action}:{song.id}"
    status = await song.wait_message(lambda m: button in str(m.components), SOON)
    await world.wire.press(song.member, status, button)


async def ask_and_cancel(world: World) -> None:
    await _ask_and_press(world, "cancel")


async def ask_and_get(world: World) -> None:
    """Its member has the audio although it could not be posted."""
    await _ask_and_press(world, "get")


async def ask_for_what_fails(world: World) -> None:
    await ask(world, genres="fail")


# --- what goes wrong ------------------------------------------------------------------------------

F = TypeVar("F", ApiFault, Fault)


def _first_each(key: Callable[[Any], object], fault: F) -> Callable[[Any], F | None]:
    """The first call with each key meets the fault; calls whose key is None meet nothing."""
    met: set[object] = {None}

    def meet(call: Any) -> F | None:
        if (this := key(call)) in met:
            return None
        met.add(this)
        return fault

    return meet


def _seed(call: ApiCall) -> object:
    return call.body["seed"] if call.path == SUBMIT else None


def _polled(call: ApiCall) -> object:
    return call.path if call.path.endswith("/status") else None


def _nonce(call: Call) -> object:
    return call.body["nonce"] if (call.method, call.route) == ("POST", MESSAGES) else None


def lose_submit(world: World) -> None:
    world.api.fault = _first_each(_seed, ApiFault(cut="answer", carried_out=True))


def refuse_submit(world: World) -> None:
    world.api.fault = _first_each(_seed, ApiFault(status=429, headers={"Retry-After": "1"}))


def reject_submit(world: World) -> None:
    rejected = ApiFault(status=400, body='{"error": "no such genre"}')
    world.api.fault = lambda call: rejected if call.path == SUBMIT else None


def fail_first_poll(world: World) -> None:
    world.api.fault = _first_each(_polled, ApiFault(status=500))


def poll_early(world: World) -> None:
    """However late it comes: a song that really takes a while is done first on a busy machine."""
    processing = ApiFault(status=200, body='{"status": "PROCESSING"}')
    world.api.fault = _first_each(_polled, processing)


def make_noise(world: World) -> None:
    """What the API makes can't be played."""
    world.api._compose = lambda **_: b"RIFF\0, they said" * 1000


def _at_posts(world: World, meet: Callable[[Call], Fault | None]) -> None:
    async def hook(call: Call) -> Fault | None:
        return meet(call)

    world.wire.faults.hook = hook


def lose_post(world: World) -> None:
    """The answer to each song's first post; and Discord has forgotten its nonce."""
    _at_posts(world, _first_each(_nonce, Fault(cut="after")))


REFUSED = Fault(status=403, body={"code": 50013, "message": "Missing Permissions"})


def refuse_post(world: World) -> None:
    """A permission was withdrawn while the song was made."""
    _at_posts(world, lambda call: None if _nonce(call) is None else REFUSED)


def refuse_first_post(world: World) -> None:
    """As `refuse_post`, and the permission is granted again at once."""
    _at_posts(world, _first_each(_nonce, REFUSED))


def shrink_limit(world: World) -> None:
    """Discord takes less than the bot believes."""
    world.guild.upload_limit = len(short()) - 1


WAYS: Mapping[str, Scenario] = {
    "plain": Scenario(ask, poll_early),
    "sync": Scenario(ask, settings={"SEGMIND_MODE": "sync"}),
    "by form": Scenario(ask_by_form, settings={"SEGMIND_MODE": "sync"}),
    "fails at the API": Scenario(ask_for_what_fails, ends=frozenset({"FAILED"})),
    "submit lost": Scenario(ask, lose_submit, lost=1, ends=frozenset({"COMPLETED", "FAILED"})),
    "submit refused": Scenario(ask, refuse_submit, refused=1),
    "request rejected": Scenario(ask, reject_submit, ends=frozenset({"FAILED"})),
    "poll failed": Scenario(ask, fail_first_poll),
    "no song": Scenario(
        ask,
        make_noise,
        settings={"SEGMIND_MODE": "sync"},
        constants={PROGRAM: transcoder._PROGRAM},
        ends=frozenset({"FAILED"}),
    ),
    "post lost": Scenario(ask, lose_post, settings={"SEGMIND_MODE": "sync"}),
    "undelivered": Scenario(
        ask_and_get, refuse_post, settings={"SEGMIND_MODE": "sync"}, undelivered=True
    ),
    "posted late": Scenario(
        ask,
        refuse_first_post,
        settings={"SEGMIND_MODE": "sync"},
        constants={"services.songs.delivery.EVERY": 0.1},
        late=True,
    ),
    "too large": Scenario(
        ask,
        shrink_limit,
        settings={"SEGMIND_MODE": "sync"},
        constants={
            PROGRAM: transcoder._PROGRAM,
            "services.songs.poster.DEFAULT_UPLOAD_LIMIT": 70_000,
        },
    ),
    "cancelled": Scenario(
        ask_and_cancel,
        # The one call of a minute is used up, by the first song and by every start after it.
        settings={"SEGMIND_MODE": "sync", "SEGMIND_RPM": "1"},
        after_another=True,
        ends=frozenset({"CANCELLED", "COMPLETED"}),
        may_wait=True,
    ),
}
"""By name."""
