"""How child processes of the bot run beside a suite that leaves no processor idle."""

from collections.abc import Callable
from types import ModuleType


def let_none_starve(
    child_process: ModuleType, patch: Callable[[ModuleType, str, object], None]
) -> None:
    """An encoder that runs only where nobody else wants to would wait for the tests beside it.

    `child_process` is handed in, since whoever rewrites the product imports it later.
    """
    step_back: Callable[..., None] = vars(child_process)["_step_back"]

    def less_far(pid: int, *, niceness: int, idle: bool) -> None:
        step_back(pid, niceness=niceness, idle=False)

    patch(child_process, "_step_back", less_far)
