"""/credits and /help."""

from tests.world import World, said, text_of


async def test_a_newcomer_has_the_days_allowance(world: World) -> None:
    result = await world.alice.slash(world.channel, "credits")
    assert result.ephemeral
    text = text_of(result.response)
    assert "You have 10 credits" in text
    assert "10 of today's 10, refilled <t:1767312000:R>" in text
    assert "Granted" not in text
    assert "Held" not in text


async def test_what_is_held_counts_as_spent_and_is_shown(world: World) -> None:
    await world.song(seconds=60)
    text = text_of((await world.alice.slash(world.channel, "credits")).response)
    assert "You have 8 credits" in text
    assert "8 of today's 10" in text
    assert "Held for songs under way: 2 credits" in text
    assert "`-2` song #1 <t:" in text


async def test_what_was_given_back_is_shown(world: World) -> None:
    asked = await world.song(seconds=60)
    await world.alice.click(said(asked), label="Cancel")
    await world.spawner.rest()
    text = text_of((await world.alice.slash(world.channel, "credits")).response)
    assert "You have 10 credits" in text
    assert "`+2` given back #1" in text
    assert "Held" not in text


async def test_grants_are_shown_with_their_reasons(world: World) -> None:
    await world.mona.slash(
        world.channel, "quota grant", member=world.alice, amount=5, reason="for *winning* @everyone"
    )
    text = text_of((await world.alice.slash(world.channel, "credits")).response)
    assert "You have 15 credits" in text
    assert "Granted: 5 credits, don't expire" in text
    assert "`+5` granted: for \\*winning\\* @\u200beveryone" in text


async def test_each_has_credits_of_their_own(world: World) -> None:
    await world.song(world.alice, seconds=60)
    text = text_of((await world.bob.slash(world.channel, "credits")).response)
    assert "You have 10 credits" in text


async def test_help_tells_the_shortest_way(world: World) -> None:
    result = await world.alice.slash(world.channel, "help")
    assert result.ephemeral
    for words in ("Type `/song`", "`/queue`", "`/history`", "`/credits`", "`/quota`"):
        assert words in text_of(result.response)
