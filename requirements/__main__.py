"""Writes the pinned files: `python -m requirements` (needs uv, which the dev set holds).

One universal file for each set, with hashes and without index addresses, so that plain
`pip install --require-hashes -r` takes it on any platform. The largest set is resolved first and
constrains the others: a server runs the very versions that were tested.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SETS = {"dev": ("play", "dev"), "play": ("play",), "run": ()}


def main() -> None:
    for name, extras in SETS.items():
        constraint = [] if name == "dev" else ["--constraint", "requirements/dev.txt"]
        command = [
            *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml"),
            *("--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"),
            *("--no-header", "--no-emit-index-url", "--no-annotate", "--no-strip-extras"),
            *(word for extra in extras for word in ("--extra", extra)),
            *constraint,
            *("--output-file", f"requirements/{name}.txt"),
        ]
        subprocess.run(command, check=True, cwd=HERE.parent)  # noqa: S603 - our own words only


if __name__ == "__main__":
    main()
