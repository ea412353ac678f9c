"""Apply each mutant to a copy of the project, and see that its tests fail."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.catalogue import MUTANTS, Mutant

PROJECT = Path(__file__).parents[2]
PRODUCT = ("bot.py", "commands", "cogs", "services", "db")
LONGEST = 300
"""Seconds that the tests of one mutant may take; a mutant that makes them hang is killed too."""
FAILED = 1
"""pytest's status where tests ran and failed. Any other than that and 0 is a mistake here."""


def main() -> int:
    """Run the mutants that are named, or all; 1 if one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if missing := set(names) - {mutant.name for mutant in chosen}:
        parser.error(f"no such mutant: {', '.join(sorted(missing))}")
    began = time.monotonic()
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = SimpleQueue[Path]()
        for number in range(workers):
            copies.put(_copy(Path(folder) / str(number) / "project"))
        copy = copies.get()
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        if _status(copy, tests) != 0:
            print("The tests fail without any mutant.")
            return 1
        copies.put(copy)
        with ThreadPoolExecutor(workers) as pool:
            survived = sum(pool.map(lambda mutant: _survives(mutant, copies), chosen))
    took = time.monotonic() - began
    print(f"{len(chosen) - survived} of {len(chosen)} mutants killed in {took:.0f} s")
    return 1 if survived else 0


def _copy(folder: Path) -> Path:
    """Copy the project, beside the same neighbours."""
    ignored = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copytree(PROJECT, folder, ignore=ignored)
    for name in ("shared",):
        (folder.parent / name).symlink_to(PROJECT.parent / name)
    return folder


def _survives(mutant: Mutant, copies: "SimpleQueue[Path]") -> bool:
    copy = copies.get()
    file = copy / mutant.path
    original = file.read_text()
    try:
        file.write_text(mutant.applied_to(original))
        status = _status(copy, mutant.tests)
    finally:
        file.write_text(original)
        copies.put(copy)
    verdict = {0: "SURVIVED", FAILED: "killed"}.get(status, f"pytest ended with {status}")
    print(f"{verdict:10} {mutant.name}: {mutant.guarantee}", flush=True)
    return status != FAILED


def _status(copy: Path, tests: "list[str] | tuple[str, ...]") -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    # Two files that differ in nothing but their text could have the same time and size.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            [*command, *tests],
            cwd=copy,
            env=environment,
            timeout=LONGEST,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ).returncode
    except subprocess.TimeoutExpired:
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
