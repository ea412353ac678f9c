"""Writes the pinned files: `python -m requirements` (needs uv, which the dev set holds).

One universal file for each set, with hashes and without index addresses, so that plain
`pip install --require-hashes -r` takes it on any platform. The largest set is resolved first and
constrains the others: a server runs the very versions that were tested. pip, which installs
the largest, has a file of its own.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TESTED = ("--constraint", "requirements/dev.txt")
SETS = {
    "dev": ("pyproject.toml", "--extra", "play", "--extra", "dev"),
    "play": ("pyproject.toml", "--extra", "play", *TESTED),
    "run": ("pyproject.toml", *TESTED),
    "pip": ("--group", "pip"),
}


def main() -> None:
    for name, asked_for in SETS.items():
        command = [
            *(sys.executable, "-m", "uv", "pip", "compile", *asked_for),
            *("--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"),
            *("--no-header", "--no-emit-index-url", "--no-annotate", "--no-strip-extras"),
            *("--output-file", f"requirements/{name}.txt"),
        ]
        subprocess.run(command, check=True, cwd=HERE.parent)  # noqa: S603 - our own words only


if __name__ == "__main__":
    main()
