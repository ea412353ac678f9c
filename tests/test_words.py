"""Words that the project's own vocabulary replaced, and that must not come back.

The vocabulary is the glossary of CONTRIBUTING.md.
"""

import re
from collections.abc import Iterable
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
    "80 %": "80%",
    "alone with it": "locked",
    "anew": "again",
    "as good as": "almost",
    "asked for": "requested",
    "asked_at": "requested_at",
    "asker": "requester",
    "canary": "probe",
    "ceiling": "budget",
    "ceilings": "budgets",
    "ever more seldom": "with growing delays",
    "fitted": "transcoded",
    "fitter": "transcoder",
    "floor": "layer",
    "for good": "permanently",
    "given back": "refunded",
    "held against": "checked against",
    "in other hands": "locked",
    "in vain": "unsuccessfully",
    "is_lost": "outcome_unknown",
    "it wants": "expected",
    "manager log": "audit log",
    "mend": "fix",
    "mended": "fixed",
    "mends": "fixes",
    "nonsense": "malformed",
    "of its own": "separate",
    "of their own": "separate",
    "on trial": "probed",
    "request budget": "rate limiter",
    "rulebook": "settings",
    "sitting out": "waiting for recovery",
    "surely": "certainly",
    "taken in": "accepted",
    "thrown out": "removed from the server",
    "told": "notified",
    "under way": "in progress",
    "untold": "pending",
}
"""What is not written any more, and what is instead."""


def files(patterns: Iterable[str]) -> list[Path]:
    found = (file for pattern in patterns for file in ROOT.glob(pattern))
    return [file for file in found if file.name not in EXEMPT]


def uses(text: str, words: Iterable[str] = REPLACED) -> list[str]:
    """Find the replaced words in a text: also in parts of names, and across lines."""
    running = re.sub(r"\s+(?:(?:#|--|-|\|)\s+)?", " ", text)
    return [
        word
        for word in words
        if re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", running, re.IGNORECASE)
    ]


def findings(patterns: Iterable[str], words: Iterable[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}: {word} (use {REPLACED[word]})"
        for file in files(patterns)
        for word in uses(file.read_text(encoding="utf-8"), words)
    ]


def test_replaced_words_are_found() -> None:
    assert uses("sitting\n    # out, with a `ceiling_of`") == ["ceiling", "sitting out"]
    assert uses("flooring") == []


def test_replaced_words_do_not_come_back() -> None:
    assert findings(DOCUMENTS, REPLACED) == []
    assert findings(PRODUCT, REPLACED) == []
