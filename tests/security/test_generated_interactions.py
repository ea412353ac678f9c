"""Every option, every completion, every form and every `custom_id`, with generated inputs.

After each input: it was answered, exactly once, by nothing that Discord would refuse, and the bot
has logged no error, which is what the apology with a number does. After each example, a handful of
inputs in a row: the database agrees with itself, ledger, balances, holds and songs.

All is drawn from a seed that is printed where something is found, with the inputs.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis.strategies import SearchStrategy

from tests.security import inputs
from tests.security.examples import rows
from tests.security.inputs import Pressed, Sent, Used
from tests.security.population import Population, places_of_forms, population
from tests.wire import Interaction
from tests.wire.interactions import AUTOCOMPLETE, COMMAND

IN_A_ROW = 10
"""Inputs of one example, which begins from the same database each time."""
SHORT, LONG = 150, 15_000
"""Inputs of each kind."""

Input = Used | Pressed | Sent


@dataclass
class Trial:
    """The population, in a separate loop: Hypothesis calls no coroutines."""

    here: Population
    runner: asyncio.Runner
    forms: set[tuple[str, int, int]]
    """The places in the code that open one, read with the code."""

    def check(self, row: Sequence[Input]) -> None:
        self.runner.run(self._check(row))

    async def _check(self, row: Sequence[Input]) -> None:
        await self.here.begin()
        for one in row:
            interaction = await self._do(one)
            bot = self.here.bot
            assert not bot.log.errors, f"{one!r}: {bot.log.errors}"
            assert not bot.session.refused, f"{one!r}: Discord refuses {bot.session.refused}"
            assert interaction.callback is not None, f"{one!r}: it was not answered"
        assert await self.here.bot.wrong() == [], row

    async def _do(self, one: Input) -> Interaction:
        match one:
            case Used():
                kind = AUTOCOMPLETE if one.focused else COMMAND
                return await self.here.command(
                    one.who, one.leaf, [dict(option) for option in one.options], kind=kind
                )
            case Pressed():
                return await self.here.press(
                    one.who, one.custom_id, one.component_type, list(one.values), shown=one.shown
                )
            case Sent():
                return await self.here.send_form(
                    one.who, one.custom_id, [dict(f) for f in one.fields], shown=one.shown
                )


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    forms = places_of_forms()
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        around = population(tmp_path_factory.mktemp("population"), patch)
        here = runner.run(around.__aenter__())
        yield Trial(here, runner, forms)
        runner.run(around.__aexit__(None, None, None))


KINDS: dict[str, Callable[[Population], SearchStrategy[Any]]] = {
    "commands": inputs.commands,
    "completions": inputs.completions,
    "buttons": inputs.presses,
    "forms": inputs.forms,
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_input_breaks_anything(
    probe: Trial, kind: str, figure: Callable[[str], None], *, long: bool
) -> None:
    count = LONG if long else SHORT
    tried = rows(KINDS[kind](probe.here), probe.check, count=count, in_a_row=IN_A_ROW)
    figure(f"{tried:,} generated {kind}: each answered once, no error, the money adds up")


def test_every_form_is_among_them(probe: Trial) -> None:
    """A form that the cogs open elsewhere fails here until `population` opens it too."""
    opened = probe.here.opened_at
    assert {
        (file, first)
        for file, first, last in probe.forms
        if not any(file == at and first <= line <= last for at, line in opened)
    } == set()
