"""Words that the project's own vocabulary replaced, and that must not come back.

The vocabulary is the glossary of CONTRIBUTING.md.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRODUCT = (
    "bot.py",
    "cogs/**/*.py",
    "commands/**/*.py",
    "services/**/*.py",
    "db/**/*.py",
    "db/**/*.sql",
)
DOCUMENTS = ("*.md", "docs/*.md", "benchmarks/*.md", "Makefile", ".env.example")
EXEMPT = ("CHANGELOG.md",)
"""It says how things were. So do the pages of docs/decisions, which keep the names of their day."""

REPLACED = {
    "asked_at": "requested_at",
    "asker": "requester",
    "canary": "probe",
    "ceiling": "budget",
    "ceilings": "budgets",
    "floor": "layer",
    "is_lost": "outcome_unknown",
    "request budget": "rate limiter",
    "rulebook": "settings",
    "sitting out": "waiting for recovery",
}
"""What is not written any more, and what is instead."""


def files() -> list[Path]:
    found = (file for pattern in (*PRODUCT, *DOCUMENTS) for file in ROOT.glob(pattern))
    return [file for file in found if file.name not in EXEMPT]


def uses(text: str) -> list[str]:
    """Find the replaced words in a text: also in parts of names, and across lines."""
    running = re.sub(r"\s+(?:(?:#|--|-|\|)\s+)?", " ", text)
    return [
        word
        for word in REPLACED
        if re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", running, re.IGNORECASE)
    ]


def test_replaced_words_are_found() -> None:
    assert uses("sitting\n    # out, with a `ceiling_of`") == ["ceiling", "sitting out"]
    assert uses("flooring") == []


def test_replaced_words_do_not_come_back() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {word} (use {REPLACED[word]})"
        for file in files()
        for word in uses(file.read_text(encoding="utf-8"))
    ]
    assert found == []
