"""The history of changes: in its order, page by page, each posted once."""

from services.settings.catalogue import ALLOWANCE, BUDGET, LOG
from services.settings.changelog import PAGE, POSTED_AT_ONCE, as_json
from services.settings.server_settings import Manager
from tests.factories import NOON, SERVER
from tests.unit.services.credits.composed import BY, MANAGER, Product

CHANNEL, OTHER_CHANNEL = 91, 92


async def allow(product: Product, *credits: int) -> None:
    for n in credits:
        await product.server_settings.set(BY, ALLOWANCE, n)


async def test_the_history_goes_page_by_page_newest_first(product: Product) -> None:
    empty = await product.changelog.history(SERVER, page=3)
    assert (list(empty.changes), empty.number, empty.pages) == ([], 1, 1)
    await allow(product, *range(20, 20 + PAGE + 2))
    first = await product.changelog.history(SERVER, page=-5)
    assert [c.number for c in first.changes] == list(range(PAGE + 2, 2, -1))
    last = await product.changelog.history(SERVER, page=10**30)
    assert ([c.number for c in last.changes], last.number, last.pages) == ([2, 1], 2, 2)


async def test_servers_number_their_changes_for_themselves(product: Product) -> None:
    await allow(product, 20)
    other = await product.server_settings.set(Manager(SERVER + 1, MANAGER), ALLOWANCE, 5)
    assert other is not None
    assert other.number == 1
    assert len((await product.changelog.history(SERVER, page=1)).changes) == 1


async def test_changes_are_posted_in_the_log_channel_of_that_time(product: Product) -> None:
    await allow(product, 20)
    await product.server_settings.set(BY, LOG, CHANNEL)
    await allow(product, 30)
    await product.server_settings.set(BY, LOG, OTHER_CHANNEL)
    await product.server_settings.set(BY, LOG, None)  # its end is posted where the rest was
    await allow(product, 40)
    pending = await product.changelog.pending()
    assert [(c.number, c.log_channel_id) for c in pending] == [
        *((2, CHANNEL), (3, CHANNEL), (4, OTHER_CHANNEL), (5, OTHER_CHANNEL))
    ]
    assert [c.number for c in await product.changelog.pending(besides=[OTHER_CHANNEL])] == [2, 3]
    assert len(product.notified) == 6


async def test_a_posted_change_is_not_posted_again(product: Product) -> None:
    await product.server_settings.set(BY, LOG, CHANNEL)
    await allow(product, *range(20, 20 + POSTED_AT_ONCE))
    first = await product.changelog.pending()
    assert len(first) == POSTED_AT_ONCE
    assert await product.changelog.mark_notified(*first)
    assert not await product.changelog.mark_notified(first[0])
    (rest,) = await product.changelog.pending()
    assert rest.number == POSTED_AT_ONCE + 1
    assert await product.changelog.mark_notified(rest)
    assert await product.changelog.pending() == []


def test_one_value_is_one_text() -> None:
    assert as_json({"b": 1, "a": ["\u00fc", None]}) == '{"a":["\u00fc",null],"b":1}'
    assert as_json({"a": 1, "b": 2}) == as_json({"b": 2, "a": 1})


async def test_a_warning_has_no_actor(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 1)
    await product.create(1)
    (warning,) = [c for c in await product.changes() if c.name == "warning"]
    assert warning.actor_id is None
    assert warning.after == as_json(
        {"percent": 100, "used": 1, "budget": 1, "until": 1773532800000}
    )
    assert warning.at == NOON
