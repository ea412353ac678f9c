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
TESTS = ("tests/**/*.py", "benchmarks/*.py", "playground/*.py")
DOCUMENTS = (
    *("*.md", "docs/*.md", "benchmarks/*.md", "Makefile", ".env.example"),
    *("docs/decisions/003[1-9]-*.md", "docs/decisions/00[4-9]?-*.md"),
)
"""Decisions up to 0030 keep the names of their day."""
EXEMPT = ("CHANGELOG.md", "test_words.py")
"""They say how things were, and list the words."""

REPLACED = {
    "80 %": "80%",
    "alone with it": "locked",
    "anew": "again",
    "as good as": "almost",
    "asked for": "requested",
    "asked_at": "requested_at",
    "asker": "requester",
    "askers": "requesters",
    "canaries": "probes",
    "canary": "probe",
    "ceiling": "budget",
    "ceilings": "budgets",
    "ever more seldom": "with growing delays",
    "fitted": "transcoded",
    "fitter": "transcoder",
    "floor": "layer",
    "for good": "permanently",
    "gave back": "refunded",
    "give back": "refund",
    "given back": "refunded",
    "gives back": "refunds",
    "giving back": "refunding",
    "held against": "checked against",
    "hold against": "check against",
    "in other hands": "locked",
    "in passing": "transiently",
    "in vain": "unsuccessfully",
    "is_lost": "outcome_unknown",
    "it wants": "expected",
    "look at": "poll",
    "look for": "find",
    "looked at": "polled",
    "looked for": "searched",
    "looking at": "polling",
    "looking for": "searching",
    "looks at": "polls",
    "looks for": "searches",
    "manager log": "audit log",
    "mend": "fix",
    "mended": "fixed",
    "mending": "fixing",
    "mends": "fixes",
    "nonsense": "malformed",
    "of its own": "separate",
    "of their own": "separate",
    "on trial": "probed",
    "ordeal": "test",
    "ordeals": "tests",
    "other hands": "locked",
    "request budget": "rate limiter",
    "rulebook": "settings",
    "seldom": "rarely",
    "sits out": "waits for recovery",
    "sitting out": "waiting for recovery",
    "surely": "certainly",
    "taken in": "accepted",
    "tell": "notify",
    "telling": "notifying",
    "tells": "notifies",
    "throw out": "remove from the server",
    "thrown out": "removed from the server",
    "throws out": "removes from the server",
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
    # Names of tests in documents are checked where they are defined.
    spaced = re.sub(r"\.py::\w+", "", running).replace("_", " ")
    return [
        word
        for word in words
        if re.search(
            rf"(?<![a-z]){re.escape(word)}(?![a-z])",
            running if "_" in word else spaced,
            re.IGNORECASE,
        )
    ]


def findings(patterns: Iterable[str], words: Iterable[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}: {word} (use {REPLACED[word]})"
        for file in files(patterns)
        for word in uses(file.read_text(encoding="utf-8"), words)
    ]


def test_replaced_words_are_found() -> None:
    assert uses("sitting\n    # out, with a `ceiling_of`") == ["ceiling", "sitting out"]
    assert uses("def is_given_back") == ["given back"]
    assert uses("flooring, `tests/test_x.py::test_given_back`") == []


def test_replaced_words_do_not_come_back() -> None:
    assert findings(DOCUMENTS, REPLACED) == []
    assert findings(PRODUCT, REPLACED) == []
    assert findings(TESTS, REPLACED) == []
