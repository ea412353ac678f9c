"""How child processes of the bot run beside a suite that leaves no processor idle.

`python -m tests.children FOLDER ...` is `python bot.py ...` in that folder, with such children.
"""

import importlib
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

PROGRAM = Path(__file__).resolve().parents[1] / "bot.py"


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


def main() -> None:
    """`bot.py` as it is, but for that."""
    _, folder, *arguments = sys.argv
    let_none_starve(importlib.import_module("services.child_process"), setattr)
    os.chdir(folder)
    sys.argv = [str(PROGRAM), *arguments]
    runpy.run_path(str(PROGRAM), run_name="__main__")


if __name__ == "__main__":
    main()
