"""Generated inputs by the thousand, some in a row, from a seed; what fails is made small."""

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

SEED = 5
T = TypeVar("T")


def rows(
    one: SearchStrategy[T], judge: Callable[[list[T]], None], *, count: int, in_a_row: int
) -> int:
    """Have so many inputs judged; how many there were.

    What `judge` does not take is shown with its inputs, the fewest and smallest that it does not.
    """
    tried = 0

    @seed(SEED)
    @settings(
        max_examples=count // in_a_row,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(st.lists(one, min_size=in_a_row, max_size=in_a_row))
    def try_them(row: list[Any]) -> None:
        nonlocal tried
        tried += len(row)
        judge(row)

    try_them()
    return tried
